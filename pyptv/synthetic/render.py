"""Images of particles: Gaussian spots, background, shot noise, hot pixels, reflections."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pyptv.synthetic.settings import SHALLOW, Settings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Image = NDArray[np.float32]

_HOT_LEVEL = 255.0
_REFLECTION = 60.0
_DOT_DISTANCE = 10
_VIGNETTING = 0.3


@dataclass(frozen=True)
class Scene:
    """The image of a camera without particles: the same in every frame."""

    background: Image
    """(height, width) grey values, including reflections."""
    hot: NDArray[np.int64]
    """(n,) indices of the stuck pixels in the flattened image."""
    light: Image | None = None
    """(height, width) relative brightness of particles; None: uniform."""


def make_scene(settings: Settings, rng: np.random.Generator) -> Scene:
    """A background that falls off towards the corners, stuck pixels, and reflections if a mask is requested."""
    width, height = settings.image_size
    x = np.linspace(-1, 1, width, dtype=np.float32)
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    background = np.float32(settings.background) * (1 - np.float32(_VIGNETTING / 2) * (x**2 + y**2))
    if settings.mask:
        background = background + _reflections(x, y, rng)
    hot = rng.choice(width * height, min(settings.hot_pixels, width * height // 100), replace=False)
    if settings.unevenness == 0:
        return Scene(background, hot)
    light = 1 + np.float32(settings.unevenness) * _clouds(x, y, rng)
    return Scene(background * (1 + np.float32(settings.unevenness) * _clouds(x, y, rng)), hot, light)


def _clouds(x: Image, y: Image, rng: np.random.Generator) -> Image:
    """A smooth pattern between -1 and 1, a few waves; ``x`` (width,) and ``y`` (height, 1) go from -1 to 1."""
    pattern: Image = np.zeros((y.size, x.size), np.float32)
    for _ in range(4):
        across, down, phase = rng.uniform(-4, 4), rng.uniform(-4, 4), rng.uniform(0, 2 * np.pi)
        pattern += np.cos(np.float32(across) * x + np.float32(down) * y + np.float32(phase), dtype=np.float32)
    pattern /= np.float32(4)
    return pattern


def draw_spots(image: Image, centres: Array, peaks: Array, sigma: float | Array) -> None:
    """Add Gaussian spots to an image, in place.

    Args:
        image: (height, width) grey values.
        centres: (n, 2) x, y [px] in optv's convention: the middle of the first pixel is 0.5, 0.5. May be outside.
        peaks: (n,) grey values.
        sigma: standard deviation of the spots [px], one for all or (n,).
    """
    height, width = image.shape
    widths = np.broadcast_to(sigma, peaks.shape)
    reach = int(np.ceil(4 * widths.max(initial=0)))
    near = ((centres > -reach) & (centres < np.array([width, height]) + reach)).all(axis=1)
    centres, peaks, widths = centres[near], peaks[near], widths[near]
    first = np.floor(centres).astype(np.int64) - reach
    window = np.arange(2 * reach + 1)
    pixels = first[:, None, :] + window[None, :, None]  # (n, window, 2)
    profile = np.exp(-0.5 * ((pixels + 0.5 - centres[:, None, :]) / widths[:, None, None]) ** 2).astype(np.float32)
    inside = (pixels >= 0) & (pixels < np.array([width, height]))
    profile[~inside] = 0  # a pixel outside adds nothing, whatever its clipped index
    columns, rows = np.clip(pixels[..., 0], 0, width - 1), np.clip(pixels[..., 1], 0, height - 1)
    patches = profile[:, :, None, 1] * profile[:, None, :, 0] * peaks[:, None, None].astype(np.float32)
    np.add.at(image.reshape(-1), rows[:, :, None] * width + columns[:, None, :], patches)


def expose(
    settings: Settings, scene: Scene, centres: Array, peaks: Array, rng: np.random.Generator, *, sizes: Array | None = None
) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """The image of a camera in one frame.

    Args:
        settings: the options of the experiment.
        scene: the camera's image without particles.
        centres: (n, 2) spots in the image [px].
        peaks: (n,) peaks of the spots above the background [grey values of 255].
        rng: for the noise.
        sizes: (n,) sizes of the spots relative to the settings' size; None: all equal.

    Returns:
        (height, width) uint8, or uint16 with finer steps: 256 per grey value at 16 bits.
    """
    image = scene.background.copy()
    if scene.light is not None:
        column, row = np.clip(np.floor(centres), 0, np.array(image.shape[::-1]) - 1).astype(np.int64).T
        peaks = peaks * scene.light[row, column]
    draw_spots(image, centres, peaks, settings.sigma if sizes is None else settings.sigma * sizes)
    if settings.noise > 0 or settings.read_noise > 0:
        # photon statistics: the variance is proportional to the grey value
        deviation = np.sqrt(image)
        deviation *= np.float32(settings.noise / np.sqrt(max(settings.background, 1.0)))
        if settings.read_noise > 0:
            deviation = np.hypot(deviation, np.float32(settings.read_noise))
        deviation *= rng.standard_normal(image.shape, dtype=np.float32)
        image += deviation
    image.reshape(-1)[scene.hot] = _HOT_LEVEL
    return quantise(image, settings.depth, negative=settings.negative)


def quantise(image: Image, depth: int, *, negative: bool = False) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Grey values 0..255 as integers of 8 to 16 bits; the upper 8 bits are the 8-bit grey value."""
    steps, largest, kind = 1 << (depth - SHALLOW), (1 << depth) - 1, np.uint8 if depth == SHALLOW else np.uint16
    whole = np.clip(np.rint(image * np.float32(steps)), 0, largest)
    result: NDArray[np.uint8] | NDArray[np.uint16] = (largest - whole if negative else whole).astype(kind)
    return result


def _reflections(x: Image, y: Image, rng: np.random.Generator) -> Image:
    """Bright dots along a slanted band, a tenth of the image wide: a detector finds them like particles.

    ``x`` (width,) and ``y`` (height, 1) go from -1 to 1.
    """
    slope, offset = rng.uniform(-0.5, 0.5, 2)
    band = np.exp(-(((y - np.float32(slope) * x - np.float32(offset)) / np.float32(0.1)) ** 2))
    across, down = (0.5 + 0.5 * np.cos(2 * np.pi * np.arange(side.size) / _DOT_DISTANCE) for side in (x, y))
    dots = (across**4 * down[:, None] ** 4).astype(np.float32)
    reflections: Image = np.float32(_REFLECTION) * band * dots
    return reflections
