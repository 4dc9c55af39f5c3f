"""One frame in all cameras: images as used for detection, targets, and projected particles."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image as Pillow

from pyptv.core.base.errors import FormatError, FrameError
from pyptv.core.experiment.folder import Experiment, ImageSettings
from pyptv.core.files.formats import PARTICLES, TARGET_COLUMNS, TARGETS
from pyptv.core.images.grey_values import decide
from pyptv.core.images.pixels import read_mask, read_views, subtract_mask
from pyptv.report.motion import within
from pyptv.report.sample import projected

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pyptv.core.files.formats import Rows

    Floats = NDArray[np.float64]
    Image = NDArray[np.uint8]

MOST_IMAGE_BYTES = 330_000
"""Maximum size of one image in the page."""

_WIDTHS = (1280, 1024, 800, 640, 480, 320)
_QUALITY = 80
DETAIL = (160, 120)
"""Width and height [px] of the part that is shown enlarged."""


@dataclass(frozen=True)
class Detail:
    """A part of an image at full resolution."""

    left: int
    top: int
    width: int
    height: int
    source: str
    """The image as a ``data:`` URI."""


@dataclass(frozen=True)
class Marks:
    """The results in a camera's image."""

    targets: Floats | None
    """(n, 2) x, y [px] of all targets; None if the file cannot be read."""
    matched: int
    """Number of targets that belong to a particle."""
    projected: Floats | None
    """(m, 2) x, y [px] of the projections of the particles that this camera sees; None for one camera."""
    distance: Floats | None
    """(m,) distances [px] between these and their targets."""

    @property
    def error(self) -> float:
        """Median distance [px] of particles and their targets; NaN if there are none."""
        return float(np.median(self.distance)) if self.distance is not None and len(self.distance) else float("nan")


@dataclass(frozen=True)
class View:
    """One camera's view of a frame."""

    camera: int
    """Counted from 1."""
    width: int
    """Size of the image [px]."""
    height: int
    marks: Marks
    source: str = ""
    """The image as a ``data:`` URI, reduced; empty if there is none."""
    problem: str = ""
    """Why there is no image."""
    detail: Detail | None = None


def read_views_of(experiment: Experiment, frame: int, bit_depth: int | str | None = None, page: int | None = None) -> list[View]:
    """The views of a frame in each camera; problems are stated in the views.

    Args:
        experiment: the experiment.
        frame: one of its frames.
        bit_depth: the run's option for reading the images; None: as in the parameters.
        page: likewise.

    Raises:
        FormatError: the frame's ``rt_is`` cannot be read.
    """
    particles = PARTICLES.read(experiment.result_path("rt_is", frame))
    positions = within(np.column_stack([particles[axis] for axis in "xyz"]))
    pixels = projected(experiment, positions) if experiment.num_cams > 1 else None
    images = _images(experiment, frame, decide(experiment, bit_depth, page).settings)
    middle = _middle(positions)
    views = []
    for camera in range(experiment.num_cams):
        marks = _marks(experiment, camera, frame, particles, None if pixels is None else pixels[camera])
        centre = None if pixels is None or middle is None else pixels[camera, middle]
        views.append(_view(experiment, camera, images[camera], centre, marks))
    return views


def _middle(positions: Floats) -> int | None:
    """The row of the most central particle, on which the enlarged parts are centred."""
    known = np.flatnonzero(np.isfinite(positions).all(axis=1))
    if not len(known):
        return None
    middle = np.median(positions[known], axis=0)
    return int(known[np.argmin(np.linalg.norm(positions[known] - middle, axis=1))])


def _marks(experiment: Experiment, camera: int, frame: int, particles: Rows, pixels: Floats | None) -> Marks:
    try:
        rows = TARGETS.read(experiment.targets_path(camera, frame))
    except FormatError:
        rows = None
    pointers = particles[TARGET_COLUMNS[camera]]
    seen = (pointers >= 0) & (pointers < (2**31 if rows is None else len(rows)))
    targets = None if rows is None else within(np.column_stack([rows["x"], rows["y"]]))
    matched = len(np.unique(pointers[seen]))
    if pixels is None:
        return Marks(targets, matched, None, None)
    pointers, pixels = pointers[seen], pixels[seen]
    known = np.isfinite(pixels).all(axis=1)
    distance = None if targets is None else np.linalg.norm(pixels[known] - targets[pointers[known]], axis=1)
    return Marks(targets, matched, pixels[known], distance)


def _view(experiment: Experiment, camera: int, image: Image | str, centre: Floats | None, marks: Marks) -> View:
    ptv = experiment.parameters.ptv
    if isinstance(image, str):
        return View(camera + 1, ptv.imx, ptv.imy, marks, problem=image)
    return View(camera + 1, ptv.imx, ptv.imy, marks, source=encoded(stretched(image)), detail=_detail(image, centre))


def _images(experiment: Experiment, frame: int, settings: ImageSettings) -> list[Image | str]:
    """The images as input of the high-pass filter, one per camera, or the reason why one is missing."""
    images: list[Image | str] = []
    for which in range(experiment.images_per_frame):
        try:
            images += read_views(experiment.image_path(which, frame), settings, which)[0]
        except FrameError as error:
            images += [str(error)] * (experiment.num_cams // experiment.images_per_frame)
    if not experiment.parameters.masking.enabled:
        return images
    for camera, image in enumerate(images):
        try:
            if not isinstance(image, str):
                images[camera] = subtract_mask(image, read_mask(experiment.mask_path(camera), settings, camera))
        except FrameError as error:
            images[camera] = str(error)
    return images


def stretched(image: Image, like: Image | None = None) -> Image:
    """Grey values from the background to the brightest spots stretched from black to white, with dark ones raised.

    ``like``: the image whose background and spots are used; None: the same image.
    """
    low, high = np.percentile(image if like is None else like, (1, 99.8))
    scaled = np.clip((image - low) / max(1.0, high - low), 0, 1) ** 0.7
    grey: Image = np.rint(255 * scaled).astype(np.uint8)
    return grey


def encoded(image: Image) -> str:
    """The image as a ``data:`` URI of limited size: reduced until it fits."""
    picture = Pillow.fromarray(image)
    data = b""
    for width in _WIDTHS:
        if width > picture.width and width != _WIDTHS[-1]:
            continue
        size = (min(width, picture.width), max(1, round(picture.height * min(1.0, width / picture.width))))
        buffer = io.BytesIO()
        picture.resize(size, Pillow.Resampling.LANCZOS).save(buffer, "JPEG", quality=_QUALITY, optimize=True)
        data = buffer.getvalue()
        if len(data) <= MOST_IMAGE_BYTES:
            break
    return _uri("jpeg", data)


def _detail(image: Image, centre: Floats | None) -> Detail:
    """The part around a point (2,) [px], or in the middle of the image, at full resolution."""
    height, width = image.shape
    wide, high = min(width, DETAIL[0]), min(height, DETAIL[1])
    if centre is None or not np.isfinite(centre).all():
        centre = np.array([width, height]) / 2
    left, top = (
        int(np.clip(c - side / 2, 0, most - side)) for c, side, most in zip(centre, (wide, high), (width, height), strict=True)
    )
    buffer = io.BytesIO()
    Pillow.fromarray(stretched(image[top : top + high, left : left + wide])).save(buffer, "PNG", optimize=True)
    return Detail(left, top, wide, high, _uri("png", buffer.getvalue()))


def _uri(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


# -- marks as SVG paths ------------------------------------------------------------------------------------------------


def rings(points: Floats, radius: float) -> str:
    """SVG path data of a ring around each point."""
    r = f"{radius:g}"
    arc = f"a{r} {r} 0 1 0 {2 * radius:g} 0a{r} {r} 0 1 0 {-2 * radius:g} 0"
    return "".join(f"M{x - radius:.1f} {y:.1f}{arc}" for x, y in _finite(points))


def crosses(points: Floats, arm: float) -> str:
    """SVG path data of an upright cross on each point."""
    whole = f"{2 * arm:g}"
    return "".join(f"M{x - arm:.1f} {y:.1f}h{whole}M{x:.1f} {y - arm:.1f}v{whole}" for x, y in _finite(points))


def inside(points: Floats | None, detail: Detail) -> int:
    """The number of points in a part of an image."""
    if points is None:
        return 0
    x, y = points.T - np.array([[detail.left], [detail.top]])
    return int(np.count_nonzero((x >= 0) & (x < detail.width) & (y >= 0) & (y < detail.height)))


def _finite(points: Floats) -> Sequence[tuple[float, float]]:
    kept: list[tuple[float, float]] = points[np.isfinite(points).all(axis=1)].tolist()
    return kept
