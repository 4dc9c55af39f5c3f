"""The parameters of an experiment, checked: frozen dataclasses that state meaning, unit and limits.

The dataclasses are also the schema: the metadata of each field give its name in the YAML dialect, its unit
and its valid values. :mod:`pyptv.core.experiment.parameters.checks` uses them to fill the dataclasses from a raw tree.
"""

from __future__ import annotations

from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any

from pyptv.core.base.options import BIT_DEPTHS, METHODS

MAX_CAMERAS = 4
"""optv's buffers and the rt_is format hold four cameras."""

HIGH_PASS_SPAN = 25
"""Half width [px] of the high-pass filter, as in PyPTV."""

SPLITTER_ORDER = (0, 1, 3, 2)
"""Quadrants of a split image in camera order, as in PyPTV's splitter plugin; 0 and 1 are the upper, 2 and 3 the lower ones."""

_MIN_IMAGE_SIDE = 2 * HIGH_PASS_SPAN + 1
_MAX_IMAGE_SIDE = 32_767  # optv keeps target coordinates in 16 bits while it grows a blob
_FARTHEST = 100_000
"""[mm] Beyond this, the last digits of positions are rounding errors, and the two engines round differently."""
_THINNEST, _DENSEST = 0.1, 10
"""Refractive indices: slightly below 1 for X-rays, 4 for germanium."""


def _parameter(
    meaning: str,
    *,
    key: str | None = None,
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    choices: tuple[int | str, ...] = (),
    default: Any = MISSING,
) -> Any:
    """A field of a parameter section: its meaning, name in the YAML dialect, unit, limits (``above`` excludes it), choices."""
    metadata = {"meaning": meaning, "key": key, "unit": unit, "low": low, "high": high, "above": above, "choices": choices}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class ControlParameters:
    """Section ``ptv``: cameras, sensor and the layers of air, glass and water."""

    calibration_images: tuple[str, ...] = _parameter("calibration image of each camera", key="img_cal")
    all_cameras: bool = _parameter("accept only particles seen by all cameras", key="allcam_flag")
    imx: int = _parameter("image width", unit="px", low=_MIN_IMAGE_SIDE, high=_MAX_IMAGE_SIDE)
    imy: int = _parameter("image height", unit="px", low=_MIN_IMAGE_SIDE, high=_MAX_IMAGE_SIDE)
    pix_x: float = _parameter("pixel width", unit="mm", above=0)
    pix_y: float = _parameter("pixel height", unit="mm", above=0)
    chfield: int = _parameter("interlaced field: 0 whole frame, 1 odd, 2 even lines", low=0, high=2)
    mmp_n1: float = _parameter("refractive index before the glass", low=_THINNEST, high=_DENSEST)
    mmp_n2: float = _parameter("refractive index of the glass", low=_THINNEST, high=_DENSEST)
    mmp_n3: float = _parameter("refractive index behind the glass", low=_THINNEST, high=_DENSEST)
    mmp_d: float = _parameter("thickness of the glass", unit="mm", low=0, high=_FARTHEST)
    high_pass: bool = _parameter("kept for the record: the high-pass always runs, as in PyPTV", key="hp_flag", default=True)
    splitter: bool = _parameter("one image holds 2 x 2 views", default=False)
    splitter_order: tuple[int, ...] = _parameter(
        "quadrant of each view of a split image: 0 top left, 1 top right, 2 bottom left, 3 bottom right",
        low=0,
        high=3,
        default=SPLITTER_ORDER,
    )
    negative: bool = _parameter("process 255 - image", default=False)
    bit_depth: int | str = _parameter(
        "bits of a grey value in images that store more than 8", choices=BIT_DEPTHS, default=BIT_DEPTHS[0]
    )
    page: int = _parameter("page of image files with several pages, counted from 1; 0: the files have one page", low=0, default=0)
    method: str = _parameter("how particles are found and linked", choices=METHODS, default=METHODS[0])


@dataclass(frozen=True)
class SequenceParameters:
    """Section ``sequence``: where the images are and which frames to process by default."""

    base_name: tuple[str, ...] = _parameter("image name of each camera, with %d for the frame number")
    first: int = _parameter("first frame", low=0)
    last: int = _parameter("last frame", low=0)
    frame_rate: float = _parameter("frames per second, for velocities per second; 0: not known", unit="1/s", low=0, default=0.0)


@dataclass(frozen=True)
class CriteriaParameters:
    """Section ``criteria``: the measuring volume and what makes targets correspond."""

    X_lay: tuple[float, float] = _parameter("x where the Z limits are given", unit="mm", low=-_FARTHEST, high=_FARTHEST)
    Zmin_lay: tuple[float, float] = _parameter("lower Z limits at X_lay", unit="mm", low=-_FARTHEST, high=_FARTHEST)
    Zmax_lay: tuple[float, float] = _parameter("upper Z limits at X_lay", unit="mm", low=-_FARTHEST, high=_FARTHEST)
    cnx: float = _parameter("minimum ratio of the widths of matched targets", low=0)
    cny: float = _parameter("minimum ratio of the heights of matched targets", low=0)
    cn: float = _parameter("minimum ratio of the pixel counts of matched targets", low=0)
    csumg: float = _parameter("minimum ratio of the grey sums of matched targets", low=0)
    corrmin: float = _parameter("minimum quality of a correspondence")
    eps0: float = _parameter("width of the epipolar band", unit="mm on the sensor", above=0)


@dataclass(frozen=True)
class DetectionParameters:
    """Section ``targ_rec``: the definition of a target in an image."""

    gvthres: tuple[int, ...] = _parameter("grey value threshold of each camera", low=0, high=255)
    disco: int = _parameter("maximum discontinuity of grey values in a target", low=0)
    nnmin: int = _parameter("minimum pixel count", unit="px", low=0)
    nnmax: int = _parameter("maximum pixel count", unit="px", low=0)
    nxmin: int = _parameter("minimum width", unit="px", low=0)
    nxmax: int = _parameter("maximum width", unit="px", low=0)
    nymin: int = _parameter("minimum height", unit="px", low=0)
    nymax: int = _parameter("maximum height", unit="px", low=0)
    sumg_min: int = _parameter("minimum sum of grey values", low=0)
    cr_sz: int = _parameter("size of the crosses in PyPTV's windows; unused here", low=0, default=2)


@dataclass(frozen=True)
class TrackingParameters:
    """Section ``track``: limits of displacement, turn and acceleration between frames."""

    dvxmin: float = _parameter("minimum displacement in x", unit="mm/frame")
    dvxmax: float = _parameter("maximum displacement in x", unit="mm/frame")
    dvymin: float = _parameter("minimum displacement in y", unit="mm/frame")
    dvymax: float = _parameter("maximum displacement in y", unit="mm/frame")
    dvzmin: float = _parameter("minimum displacement in z", unit="mm/frame")
    dvzmax: float = _parameter("maximum displacement in z", unit="mm/frame")
    angle: float = _parameter("maximum change of direction", unit="gon", low=0)
    dacc: float = _parameter("maximum acceleration", unit="mm/frame^2", low=0)
    add: bool = _parameter("add particles that the tracker finds", key="flagNewParticles")


@dataclass(frozen=True)
class ExistingTargetParameters:
    """Section ``pft_version``."""

    existing_target: bool = _parameter("read the _targets files, do not detect", key="Existing_Target", default=False)


@dataclass(frozen=True)
class MaskingParameters:
    """Section ``masking`` (YAML dialect only)."""

    enabled: bool = _parameter("subtract a background image of each camera", key="mask_flag", default=False)
    base_name: str = _parameter("its name, with %d for the camera number", key="mask_base_name", default="")


@dataclass(frozen=True)
class DenseParameters:
    """Section ``dense`` (YAML dialect only): of the method ``dense``; the defaults rarely need a change."""

    self_calibration: bool = _parameter("measure the disparity between the cameras, and correct for it", default=True)
    min_track: int = _parameter("minimum length of a track whose particles are kept", unit="frame", low=1, high=10, default=3)
    passes: int = _parameter(
        "number of times that each frame is reconstructed; 0: 2, or 3 where spots are crowded", low=0, high=4, default=0
    )


@dataclass(frozen=True)
class Parameters:
    """All values that a run needs from the parameter files, with ``num_cams`` from 1 to 4."""

    num_cams: int
    ptv: ControlParameters
    sequence: SequenceParameters
    criteria: CriteriaParameters
    targ_rec: DetectionParameters
    track: TrackingParameters
    pft_version: ExistingTargetParameters
    masking: MaskingParameters
    dense: DenseParameters = DenseParameters()

    def as_tree(self) -> dict[str, Any]:
        """Nested plain dictionaries with the names of the YAML dialect: to compare, to hash, to write."""
        tree: dict[str, Any] = {"num_cams": self.num_cams}
        for name in SECTIONS:
            section = getattr(self, name)
            tree[name] = {key_of(f): _plain(getattr(section, f.name)) for f in fields(section)}
        return tree


SECTIONS: dict[str, type[Any]] = {
    "ptv": ControlParameters,
    "sequence": SequenceParameters,
    "criteria": CriteriaParameters,
    "targ_rec": DetectionParameters,
    "track": TrackingParameters,
    "pft_version": ExistingTargetParameters,
    "masking": MaskingParameters,
    "dense": DenseParameters,
}
REQUIRED_SECTIONS = ("ptv", "sequence", "criteria", "targ_rec", "track")


def key_of(parameter: Field[Any]) -> str:
    """The name of a field in the YAML dialect."""
    return parameter.metadata["key"] or parameter.name


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
