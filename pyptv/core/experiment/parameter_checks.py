"""From a raw parameter tree to checked :class:`Parameters`: every problem is collected, each with file and key."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import MISSING, Field, fields
from typing import Any, get_type_hints

from pyptv.core.base.errors import InvalidExperimentError
from pyptv.core.experiment.attrdict import AttrDict, shown
from pyptv.core.experiment.parameters import MAX_CAMERAS, REQUIRED_SECTIONS, SECTIONS, Parameters, key_of, pattern_problem

_LARGEST = 1e15

Locate = Callable[[str, str], str]
"""(section, key) -> where that value stands, for messages: ``"parameters/ptv.par, line 3 (imx)"``."""


def build_parameters(tree: AttrDict, locate: Locate) -> Parameters:
    """Check a raw tree and freeze it.

    Raises:
        InvalidExperimentError: lists every missing or wrong value with its place, what was found and expected.
    """
    problems: list[str] = []
    num_cams = _num_cams(tree, locate, problems)
    # without the number of cameras the legacy files cannot be read on: that is one problem, not three
    named = [name for name in SECTIONS if num_cams or name in tree]
    sections = {name: _build_section(name, SECTIONS[name], tree, locate, problems) for name in named}
    if not problems:
        parameters = Parameters(num_cams, **sections)
        problems = _contradictions(parameters, locate)
    if problems:
        raise InvalidExperimentError(*problems)
    return parameters


def _num_cams(tree: AttrDict, locate: Locate, problems: list[str]) -> int:
    value = tree.get("num_cams")
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_CAMERAS:
        problems.append(f"{locate('', 'num_cams')}: found {shown(value)}, expected 1 to {MAX_CAMERAS} cameras")
        return 0
    return value


def _build_section(name: str, kind: type[Any], tree: AttrDict, locate: Locate, problems: list[str]) -> Any:
    raw = tree.get(name)
    if raw is None and name not in REQUIRED_SECTIONS:
        return kind()
    if not isinstance(raw, dict):
        found = "nothing" if raw is None else shown(raw)
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
    if parameter.metadata["choices"]:
        return _choice(value, parameter)
    arguments = getattr(kind, "__args__", None)
    if arguments is None:
        return _scalar(value, kind, parameter)
    if not isinstance(value, list | tuple):
        raise ValueError(  # noqa: TRY004 -- caught above, with all other wrong values
            f"found {shown(value)}, expected a list: {parameter.metadata['meaning']}"
        )
    if arguments[-1] is not Ellipsis and len(value) != len(arguments):
        raise ValueError(f"found {len(value)} values, expected {len(arguments)}: {parameter.metadata['meaning']}")
    items = list(value)
    while arguments[-1] is Ellipsis and items and items[-1] is None:
        items.pop()  # PyYAML experiments written by PyPTV's windows pad lists of names with nulls
    return tuple(_scalar(item, arguments[0], parameter) for item in items)


def _choice(value: Any, parameter: Field[Any]) -> Any:
    """One of a few numbers and words; a number may be written as text."""
    choices = parameter.metadata["choices"]
    meant = _number(value)
    for choice in choices:
        if choice == value or (meant is not None and choice == meant):
            return choice
    raise ValueError(f"found {shown(value)}, expected {', '.join(map(str, choices))}: {parameter.metadata['meaning']}")


def _scalar(value: Any, kind: type, parameter: Field[Any]) -> Any:
    found = f"found {shown(value)}, expected "
    meaning = f"{parameter.metadata['meaning']}{_unit(parameter)}"
    if kind is str:
        if not isinstance(value, str) or "\0" in value:
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
    if not isinstance(value, int | float) or abs(value) > _LARGEST or not math.isfinite(value):
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
    return [
        *_list_problems(parameters, locate),
        *_pattern_problems(parameters, locate),
        *_volume_problems(parameters, locate),
        *_limit_problems(parameters, locate),
    ]


def _list_problems(parameters: Parameters, locate: Locate) -> list[str]:
    problems = []
    n, ptv, sequence = parameters.num_cams, parameters.ptv, parameters.sequence
    needed = {
        ("ptv", "img_cal"): (ptv.calibration_images, n),
        ("sequence", "base_name"): (sequence.base_name, 1 if ptv.splitter else n),
        ("targ_rec", "gvthres"): (parameters.targ_rec.gvthres, n),
    }
    for (section, key), (values, expected) in needed.items():
        if len(values) < expected:
            problems.append(f"{locate(section, key)}: found {len(values)} values, expected one for each of {expected} cameras")
    if ptv.splitter and n != MAX_CAMERAS:
        problems.append(f"{locate('ptv', 'splitter')}: found {n} cameras, a split image holds {MAX_CAMERAS} views")
    return problems


def _pattern_problems(parameters: Parameters, locate: Locate) -> list[str]:
    found = [("sequence", "base_name", pattern_problem(name)) for name in parameters.sequence.base_name]
    if parameters.masking.enabled:
        found.append(("masking", "mask_base_name", pattern_problem(parameters.masking.base_name)))
    return [f"{locate(section, key)}: {problem}" for section, key, problem in found if problem]


def _volume_problems(parameters: Parameters, locate: Locate) -> list[str]:
    problems = []
    criteria = parameters.criteria
    if criteria.X_lay[0] == criteria.X_lay[1]:
        problems.append(f"{locate('criteria', 'X_lay')}: found twice {criteria.X_lay[0]}, expected two different x")
    for layer in (0, 1):
        if criteria.Zmin_lay[layer] >= criteria.Zmax_lay[layer]:
            found = f"found Zmin_lay {criteria.Zmin_lay[layer]} and Zmax_lay {criteria.Zmax_lay[layer]}"
            problems.append(f"{locate('criteria', 'Zmin_lay')}: {found}, expected Zmin_lay < Zmax_lay")
    return problems


def _limit_problems(parameters: Parameters, locate: Locate) -> list[str]:
    problems = []
    pairs = [("targ_rec", f"n{axis}") for axis in ("n", "x", "y")] + [("track", f"dv{axis}") for axis in ("x", "y", "z")]
    for section, key in pairs:
        low, high = (getattr(getattr(parameters, section), key + end) for end in ("min", "max"))
        if low > high:
            problems.append(f"{locate(section, key + 'min')}: found {low}, expected at most {key}max = {high}")
    return problems


def _unit(parameter: Field[Any]) -> str:
    unit = parameter.metadata["unit"]
    return f" [{unit}]" if unit else ""
