"""The options of synthetic experiments, with meaning, unit and limits."""

from __future__ import annotations

import math
from dataclasses import Field, dataclass, field, fields
from numbers import Integral, Real
from typing import Any

from pyptv.core.base.errors import ProcessingError
from pyptv.core.experiment.parameters.schema import MAX_CAMERAS

MIN_IMAGE_SIDE = 64
SHALLOW = 8
DEPTHS = (SHALLOW, 10, 12, 14, 16)
"""Bits of a grey value; those above 8 are stored in 16."""


def _option(default: Any, meaning: str, unit: str = "", low: float | None = None, high: float | None = None) -> Any:
    return field(default=default, metadata={"meaning": meaning, "unit": unit, "low": low, "high": high})


@dataclass(frozen=True)
class Settings:
    """Options of :func:`pyptv.synthetic.make_experiment`; the command line is made from the same list."""

    n_frames: int = _option(10, "number of frames", low=1, high=1_000_000)
    n_particles: int = _option(500, "mean number of particles in the measuring volume", low=0, high=100_000)
    n_cameras: int = _option(4, "number of cameras", low=1, high=MAX_CAMERAS)
    seed: int = _option(0, "same seed, same truth and same pixels", low=0)
    first_frame: int = _option(10_000, "number of the first frame", low=1, high=100_000_000)
    image_size: tuple[int, int] = _option((1280, 1024), "width and height of an image", "px", low=MIN_IMAGE_SIDE, high=8192)
    images: bool = _option(default=True, meaning="write images; otherwise only _targets files (Existing_Target)")
    depth: int = _option(SHALLOW, "bits of a grey value: 8, or 10, 12, 14, 16 in 16-bit images")
    splitter: bool = _option(default=False, meaning="one image per frame with 2 x 2 views (YAML dialect only)")
    negative: bool = _option(default=False, meaning="dark particles on a bright background (YAML dialect only)")
    mask: bool = _option(default=False, meaning="static reflections, and background images to subtract (YAML dialect only)")
    displacement: float = _option(0.1, "mean displacement per frame over the mean particle distance", low=0, high=2)
    spot_diameter: float = _option(2.5, "diameter of a spot at exp(-2) of its peak", "px", low=1, high=20)
    intensity: float = _option(150.0, "median peak of a spot above the background", "grey values", low=0, high=255)
    intensity_scatter: float = _option(0.2, "standard deviation of the logarithm of the peaks", low=0, high=1)
    background: float = _option(10.0, "grey value where there is no particle", "grey values", low=0, high=255)
    noise: float = _option(1.5, "standard deviation of the background; grows as shot noise", "grey values", low=0, high=50)
    read_noise: float = _option(0.0, "standard deviation of the sensor's own noise, the same everywhere", "grey values", 0, 100)
    dropout: float = _option(0.01, "chance that a camera does not see a particle in a frame", low=0, high=1)
    blinking: float = _option(0.0, "chance that no camera sees a particle in a frame", low=0, high=1)
    hot_pixels: int = _option(20, "number of stuck bright pixels of each camera", low=0, high=10_000)
    calibration_error_px: float = _option(0.0, "rms error of the written calibrations, in the image", "px", low=0, high=20)
    camera_spread: float = _option(1.0, "distance of the cameras from the axis, relative to test_cavity", low=0.5, high=2.5)
    size_scatter: float = _option(0.0, "standard deviation of the logarithm of particles' spot diameters", low=0, high=1)
    camera_scatter: float = _option(0.0, "standard deviation of the logarithm of the cameras' brightness", low=0, high=1)
    unevenness: float = _option(0.0, "maximum share by which light and background vary over the image", low=0, high=0.9)

    def __post_init__(self) -> None:
        """Raise :class:`ProcessingError` with the first option that is out of its limits."""
        for option in fields(self):
            value = getattr(self, option.name)
            for number in value if isinstance(value, tuple) else (value,):
                _check(option, number)
        if len(self.image_size) != 2:
            raise ProcessingError(f"image_size: found {self.image_size}, expected (width, height)")
        if self.depth not in DEPTHS:
            raise ProcessingError(f"depth: found {self.depth}, expected {', '.join(map(str, DEPTHS))} bits")
        if self.splitter and self.n_cameras != MAX_CAMERAS:
            raise ProcessingError(f"splitter: found {self.n_cameras} cameras, a split image holds {MAX_CAMERAS} views")
        if not self.images and (self.depth != SHALLOW or self.splitter or self.negative or self.mask):
            raise ProcessingError("images=False writes no images: depth, splitter, negative and mask cannot be combined with it")

    @property
    def last_frame(self) -> int:
        """Number of the last frame."""
        return self.first_frame + self.n_frames - 1

    @property
    def sigma(self) -> float:
        """Standard deviation of a spot [px]: a quarter of its diameter at exp(-2)."""
        return self.spot_diameter / 4

    @property
    def yaml_only(self) -> bool:
        """Whether an option is on that the legacy dialect cannot express."""
        return self.splitter or self.negative or self.mask

    @property
    def position_noise(self) -> float:
        """Standard deviation [px] of a target's position if no image is rendered: that of a median spot's centre.

        The centre is the mean of x weighted with the grey values, so its variance is sum(x^2 var) / sum(I)^2. With the
        sum of grey values S = 2 pi sigma^2 I of a spot of peak I, the background's noise s over a disc of radius 3 sigma
        gives (3^4 pi / 4) s^2 sigma^4 / S^2, the spot's own shot noise (s^2 / B) sigma^2 / S, B being the background.
        """
        peak = max(self.intensity, 1.0)
        from_background = 81 / (16 * math.pi) / peak**2
        from_spot = 1 / (2 * math.pi * peak * max(self.background, 1.0))
        return self.noise * math.sqrt(from_background + from_spot)


def _check(option: Field[Any], value: Any) -> None:
    meaning = option.metadata["meaning"]
    if isinstance(option.default, bool):
        if not isinstance(value, bool):
            raise ProcessingError(f"{option.name}: found {value!r}, expected True or False: {meaning}")
        return
    whole = not isinstance(option.default, float)
    if isinstance(value, bool) or not isinstance(value, Integral if whole else Real) or not math.isfinite(value):
        raise ProcessingError(f"{option.name}: found {value!r}, expected a {'whole ' if whole else ''}number: {meaning}")
    low, high = option.metadata["low"], option.metadata["high"]
    if (low is not None and value < low) or (high is not None and value > high):
        expected = f"at least {low}" if high is None else f"{low} to {high}"
        unit = f" [{option.metadata['unit']}]" if option.metadata["unit"] else ""
        raise ProcessingError(f"{option.name}: found {value}, expected {expected}: {meaning}{unit}")
