"""The parameters of an experiment, checked: frozen dataclasses that state meaning, unit and limits.

The dataclasses are the schema as well: each field's metadata says how it is called in the YAML dialect, its unit
and what values it may take. :func:`build_parameters` turns a raw tree (from either dialect) into :class:`Parameters`
and collects *every* problem, each with file and key.
"""

from __future__ import annotations

import math
import re
import reprlib
from collections.abc import Callable
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any, get_type_hints

from pyptv.core.attrdict import AttrDict
from pyptv.core.errors import InvalidExperimentError

MAX_CAMERAS = 4
"""optv's buffers and the rt_is format hold four cameras."""

HIGH_PASS_SPAN = 25
"""Half width [px] of the high-pass filter, as PyPTV has it."""

_MIN_IMAGE_SIDE = 2 * HIGH_PASS_SPAN + 1
_MAX_IMAGE_SIDE = 32_767  # optv keeps target coordinates in 16 bits while it grows a blob
_CONVERSION = re.compile(r"%(0?\d{0,2})[di]")


def _parameter(
    meaning: str,
    *,
    key: str | None = None,
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    default: Any = MISSING,
) -> Any:
    """A field of a parameter section: its meaning, name in the YAML dialect, unit, limits (``above`` excludes it)."""
    metadata = {"meaning": meaning, "key": key, "unit": unit, "low": low, "high": high, "above": above}
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
    mmp_n1: float = _parameter("refractive index before the glass", above=0)
    mmp_n2: float = _parameter("refractive index of the glass", above=0)
    mmp_n3: float = _parameter("refractive index behind the glass", above=0)
    mmp_d: float = _parameter("thickness of the glass", unit="mm", low=0)
    high_pass: bool = _parameter("kept for the record: the high-pass always runs, as in PyPTV", key="hp_flag", default=True)
    splitter: bool = _parameter("one image holds 2 x 2 views", default=False)
    negative: bool = _parameter("process 255 - image", default=False)


@dataclass(frozen=True)
class SequenceParameters:
    """Section ``sequence``: where the images are and which frames to process by default."""

    base_name: tuple[str, ...] = _parameter("image name of each camera, with %d for the frame number")
    first: int = _parameter("first frame", low=0)
    last: int = _parameter("last frame", low=0)


@dataclass(frozen=True)
class CriteriaParameters:
    """Section ``criteria``: the measuring volume and what makes targets correspond."""

    X_lay: tuple[float, float] = _parameter("x where the Z limits are given", unit="mm")
    Zmin_lay: tuple[float, float] = _parameter("lower Z limits at X_lay", unit="mm")
    Zmax_lay: tuple[float, float] = _parameter("upper Z limits at X_lay", unit="mm")
    cnx: float = _parameter("least ratio of the widths of matched targets", low=0)
    cny: float = _parameter("least ratio of the heights of matched targets", low=0)
    cn: float = _parameter("least ratio of the pixel counts of matched targets", low=0)
    csumg: float = _parameter("least ratio of the grey sums of matched targets", low=0)
    corrmin: float = _parameter("least quality of a correspondence")
    eps0: float = _parameter("width of the epipolar band", unit="mm on the sensor", above=0)


@dataclass(frozen=True)
class DetectionParameters:
    """Section ``targ_rec``: what is a target in an image."""

    gvthres: tuple[int, ...] = _parameter("grey value threshold of each camera", low=0, high=255)
    disco: int = _parameter("largest discontinuity of grey values in a target", low=0)
    nnmin: int = _parameter("least pixel count", unit="px", low=0)
    nnmax: int = _parameter("largest pixel count", unit="px", low=0)
    nxmin: int = _parameter("least width", unit="px", low=0)
    nxmax: int = _parameter("largest width", unit="px", low=0)
    nymin: int = _parameter("least height", unit="px", low=0)
    nymax: int = _parameter("largest height", unit="px", low=0)
    sumg_min: int = _parameter("least sum of grey values", low=0)
    cr_sz: int = _parameter("size of the crosses in PyPTV's windows; unused here", low=0, default=2)


@dataclass(frozen=True)
class TrackingParameters:
    """Section ``track``: limits of displacement, turn and acceleration between frames."""

    dvxmin: float = _parameter("least displacement in x", unit="mm/frame")
    dvxmax: float = _parameter("largest displacement in x", unit="mm/frame")
    dvymin: float = _parameter("least displacement in y", unit="mm/frame")
    dvymax: float = _parameter("largest displacement in y", unit="mm/frame")
    dvzmin: float = _parameter("least displacement in z", unit="mm/frame")
    dvzmax: float = _parameter("largest displacement in z", unit="mm/frame")
    angle: float = _parameter("largest change of direction", unit="gon", low=0)
    dacc: float = _parameter("largest acceleration", unit="mm/frame^2", low=0)
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
class Parameters:
    """Everything a run needs from the parameter files, with ``num_cams`` from 1 to 4."""

    num_cams: int
    ptv: ControlParameters
    sequence: SequenceParameters
    criteria: CriteriaParameters
    targ_rec: DetectionParameters
    track: TrackingParameters
    pft_version: ExistingTargetParameters
    masking: MaskingParameters

    def as_tree(self) -> dict[str, Any]:
        """Nested plain dictionaries in the names of the YAML dialect: to compare, to hash, to write."""
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
}
REQUIRED_SECTIONS = ("ptv", "sequence", "criteria", "targ_rec", "track")

Locate = Callable[[str, str], str]
"""(section, key) -> where that value stands, for messages: ``"parameters/ptv.par, line 3 (imx)"``."""


def key_of(parameter: Field[Any]) -> str:
    """What a field is called in the YAML dialect."""
    return parameter.metadata["key"] or parameter.name


def build_parameters(tree: AttrDict, locate: Locate) -> Parameters:
    """Check a raw tree and freeze it.

    Raises:
        InvalidExperimentError: lists every missing or wrong value with its place, what was found and expected.
    """
    problems: list[str] = []
    num_cams = _num_cams(tree, locate, problems)
    sections = {name: _build_section(name, kind, tree, locate, problems) for name, kind in SECTIONS.items()}
    if not problems:
        parameters = Parameters(num_cams, **sections)
        problems = _contradictions(parameters, locate)
    if problems:
        raise InvalidExperimentError(*problems)
    return parameters


def expand(pattern: str, number: int) -> str:
    """A printf pattern with one ``%d`` (or ``%04d``) filled in; ``%%`` is a percent sign."""
    return pattern % number


def pattern_problem(pattern: str) -> str | None:
    """Why a printf pattern is not one that takes a single number, or None."""
    rest, conversions = _CONVERSION.subn("", pattern.replace("%%", ""))
    if conversions != 1 or "%" in rest:
        return f"found {reprlib.repr(pattern)}, expected a name with exactly one %d (or %04d) for the number"
    if "\0" in pattern or "\n" in pattern:
        return f"found {reprlib.repr(pattern)}, expected a file name on one line"
    return None


def _num_cams(tree: AttrDict, locate: Locate, problems: list[str]) -> int:
    value = tree.get("num_cams")
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_CAMERAS:
        problems.append(f"{locate('', 'num_cams')}: found {reprlib.repr(value)}, expected 1 to {MAX_CAMERAS} cameras")
        return 0
    return value


def _build_section(name: str, kind: type[Any], tree: AttrDict, locate: Locate, problems: list[str]) -> Any:
    raw = tree.get(name)
    if raw is None and name not in REQUIRED_SECTIONS:
        return kind()
    if not isinstance(raw, dict):
        found = "nothing" if raw is None else reprlib.repr(raw)
        problems.append(f"{locate(name, '')}: found {found}, expected the section {name!r}")
        return None
    hints = get_type_hints(kind)
    values: dict[str, Any] = {}
    before = len(problems)
    for parameter in fields(kind):
        key = key_of(parameter)
        value = raw.get(key)
        if value is None and parameter.name == "negative":
            value = raw.get("inverse")  # what some experiments call it
        if value is None and parameter.default is not MISSING:
            continue
        try:
            values[parameter.name] = _convert(value, hints[parameter.name], parameter)
        except ValueError as error:
            problems.append(f"{locate(name, key)}: {error}")
    return kind(**values) if len(problems) == before else None


def _convert(value: Any, kind: Any, parameter: Field[Any]) -> Any:
    """``value`` as the field's type, or ``ValueError("found ..., expected ...")``."""
    if value is None:
        raise ValueError(f"is missing, expected {parameter.metadata['meaning']}{_unit(parameter)}")
    arguments = getattr(kind, "__args__", None)
    if arguments is None:
        return _scalar(value, kind, parameter)
    if not isinstance(value, list | tuple):
        raise ValueError(f"found {reprlib.repr(value)}, expected a list: {parameter.metadata['meaning']}")
    if arguments[-1] is not Ellipsis and len(value) != len(arguments):
        raise ValueError(f"found {len(value)} values, expected {len(arguments)}: {parameter.metadata['meaning']}")
    # PyYAML experiments written by PyPTV's windows pad lists of names with nulls
    return tuple(_scalar(item, arguments[0], parameter) for item in value if item is not None)


def _scalar(value: Any, kind: type, parameter: Field[Any]) -> Any:
    found = f"found {reprlib.repr(value)}, expected "
    meaning = f"{parameter.metadata['meaning']}{_unit(parameter)}"
    if kind is str:
        if not isinstance(value, str):
            raise ValueError(f"{found}a text: {meaning}")
        return value
    if kind is bool:
        if value not in (0, 1, "0", "1"):
            raise ValueError(f"{found}true or false (1 or 0): {meaning}")
        return bool(int(value))
    number = _number(value)
    if number is None or (kind is int and number != int(number)):
        raise ValueError(f"{found}{'a whole number' if kind is int else 'a number'}: {meaning}")
    _check_limits(number, found, meaning, parameter)
    return kind(number)


def _number(value: Any) -> float | int | None:
    """A finite number, or None. Text counts where it is a number: PyYAML reads ``1e-3`` as text."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if not isinstance(value, int | float) or abs(value) > 1e15 or not math.isfinite(value):
        return None
    return value


def _check_limits(number: float, found: str, meaning: str, parameter: Field[Any]) -> None:
    low, high, above = (parameter.metadata[key] for key in ("low", "high", "above"))
    if low is not None and number < low:
        raise ValueError(f"{found}at least {low}: {meaning}")
    if high is not None and number > high:
        raise ValueError(f"{found}at most {high}: {meaning}")
    if above is not None and number <= above:
        raise ValueError(f"{found}more than {above}: {meaning}")


def _contradictions(parameters: Parameters, locate: Locate) -> list[str]:
    """What is wrong between values that are each fine."""
    problems = []
    n = parameters.num_cams
    ptv, criteria, sequence = parameters.ptv, parameters.criteria, parameters.sequence
    needed = {
        ("ptv", "img_cal"): (ptv.calibration_images, n),
        ("sequence", "base_name"): (sequence.base_name, 1 if ptv.splitter else n),
        ("targ_rec", "gvthres"): (parameters.targ_rec.gvthres, n),
    }
    for (section, key), (values, expected) in needed.items():
        if len(values) < expected:
            problems.append(f"{locate(section, key)}: found {len(values)} values, expected one for each of {expected} cameras")
    for name in sequence.base_name:
        if problem := pattern_problem(name):
            problems.append(f"{locate('sequence', 'base_name')}: {problem}")
    if parameters.masking.enabled and (problem := pattern_problem(parameters.masking.base_name)):
        problems.append(f"{locate('masking', 'mask_base_name')}: {problem}")
    if criteria.X_lay[0] == criteria.X_lay[1]:
        problems.append(f"{locate('criteria', 'X_lay')}: found twice {criteria.X_lay[0]}, expected two different x")
    for layer in (0, 1):
        if criteria.Zmin_lay[layer] >= criteria.Zmax_lay[layer]:
            found = f"found Zmin_lay {criteria.Zmin_lay[layer]} and Zmax_lay {criteria.Zmax_lay[layer]}"
            problems.append(f"{locate('criteria', 'Zmin_lay')}: {found}, expected Zmin_lay < Zmax_lay")
    pairs = [("targ_rec", f"n{axis}") for axis in ("n", "x", "y")] + [("track", f"dv{axis}") for axis in ("x", "y", "z")]
    for section, key in pairs:
        low, high = (getattr(getattr(parameters, section), key + end) for end in ("min", "max"))
        if low > high:
            problems.append(f"{locate(section, key + 'min')}: found {low}, expected at most {key}max = {high}")
    if ptv.splitter and n != MAX_CAMERAS:
        problems.append(f"{locate('ptv', 'splitter')}: found {n} cameras, a split image holds {MAX_CAMERAS} views")
    return problems


def _unit(parameter: Field[Any]) -> str:
    unit = parameter.metadata["unit"]
    return f" [{unit}]" if unit else ""


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
