"""From a raw parameter tree to checked :class:`Parameters`: every problem is collected, each with file and key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, Field, fields
from typing import Any, get_type_hints

from pyptv.core.base.errors import InvalidExperimentError
from pyptv.core.experiment.image_names import as_folders, name_problem, pattern_problem
from pyptv.core.experiment.parameters.attrdict import AttrDict, shown
from pyptv.core.experiment.parameters.dialects import item_of
from pyptv.core.experiment.parameters.raw_values import as_flag, as_number, is_set
from pyptv.core.experiment.parameters.schema import MAX_CAMERAS, REQUIRED_SECTIONS, SECTIONS, SPLITTER_ORDER, Parameters, key_of
from pyptv.core.experiment.parameters.use import Use, splits_by_plugin

_CAMERA_KEYS = ("num_cams", "n_cam", "n_img")
"""Names of the number of cameras: today, in PyPTV's first YAML files, and in its sections."""

Locate = Callable[[str, str], str]
"""(section, key or item of a list) -> location of the value, for messages: ``"parameters/ptv.par, line 3 (imx)"``."""


def build_parameters(tree: AttrDict, locate: Locate) -> Parameters:
    """Check a raw tree and freeze it. Slots beyond the number of cameras are left out, and unused values are not checked.

    Raises:
        InvalidExperimentError: lists every missing or wrong value with its location, what was found and expected.
    """
    problems: list[str] = []
    if splits_by_plugin(tree):
        tree = AttrDict({**tree, "ptv": {**tree["ptv"], "splitter": True}})
    num_cams = _num_cams(tree, locate, problems)
    flags = (("pft_version", "Existing_Target"), ("ptv", "splitter"), ("masking", "mask_flag"))
    use = Use(num_cams, *(is_set(tree, section, key) for section, key in flags))
    # without the number of cameras the legacy files cannot be read any further: that is one problem, not three
    named = [name for name in SECTIONS if num_cams or name in tree]
    sections = {name: _build_section(name, SECTIONS[name], tree, locate, problems, use=use) for name in named}
    if not problems:
        parameters = Parameters(num_cams, **sections)
        problems = _contradictions(parameters, locate)
    if problems:
        raise InvalidExperimentError(*problems)
    return parameters


def volume_hints(parameters: Parameters, locate: Locate) -> list[str]:
    """Hints about an unusual measuring volume that a run can use."""
    criteria = parameters.criteria
    ends = zip(criteria.X_lay, criteria.Zmin_lay, criteria.Zmax_lay, strict=True)
    return [
        f"{locate('criteria', item_of('Zmin_lay', end))}: the measuring volume is a wedge: at x = {x} both Z limits are {low}"
        for end, (x, low, high) in enumerate(ends, start=1)
        if low == high
    ]


def _num_cams(tree: AttrDict, locate: Locate, problems: list[str]) -> int:
    places: list[tuple[str, str, dict[str, Any]]] = [("", key, tree) for key in _CAMERA_KEYS]
    if isinstance(ptv := tree.get("ptv"), dict):
        places += [("ptv", key, ptv) for key in _CAMERA_KEYS]
    section, key, value = next(((s, k, where[k]) for s, k, where in places if where.get(k) is not None), ("", "num_cams", None))
    number = as_number(value)
    if number is None or number != int(number) or not 1 <= number <= MAX_CAMERAS:
        found = "is missing" if value is None else f"found {shown(value)}"
        problems.append(f"{locate(section, key)}: {found}, expected 1 to {MAX_CAMERAS} cameras")
        return 0
    return int(number)


def _build_section(name: str, kind: type[Any], tree: AttrDict, locate: Locate, problems: list[str], *, use: Use) -> Any:
    raw = tree.get(name)
    if not raw and name not in REQUIRED_SECTIONS:
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
            value = raw.get("inverse")  # its name in some experiments
        if value is None and parameter.default is not MISSING:
            continue
        try:
            values[parameter.name] = _convert(value, hints[parameter.name], parameter, use.items(name, key))
        except _WrongError as error:
            if use.ignores(name, key):
                values[parameter.name] = _without_use(hints[parameter.name], parameter, use)
            else:
                problems.append(f"{locate(name, item_of(key, error.item) if error.item else key)}: {error}")
    return kind(**values) if len(problems) == before else None


class _WrongError(ValueError):
    """``"found ..., expected ..."``, and the item of a list that it concerns, from 1."""

    def __init__(self, message: str, item: int | None = None) -> None:
        super().__init__(message)
        self.item = item


def _without_use(kind: Any, parameter: Field[Any], use: Use) -> Any:
    """The replacement for a value that is wrong but not used."""
    if parameter.default is not MISSING:
        return parameter.default
    return (0,) * use.num_cams if getattr(kind, "__args__", None) else kind(0)


def _convert(value: Any, kind: Any, parameter: Field[Any], used: int | None) -> Any:
    """``value`` as the field's type, of a list the first ``used`` items."""
    meaning = parameter.metadata["meaning"]
    if value is None:
        raise _WrongError(f"is missing, expected {meaning}{_unit(parameter)}")
    if parameter.metadata["choices"]:
        return _choice(value, parameter)
    arguments = getattr(kind, "__args__", None)
    if arguments is None:
        return _scalar(value, kind, parameter)
    if not isinstance(value, list | tuple):
        raise _WrongError(f"found {shown(value)}, expected a list: {meaning}")
    if arguments[-1] is not Ellipsis and len(value) != len(arguments):
        raise _WrongError(f"found {len(value)} values, expected {len(arguments)}: {meaning}")
    items = list(value)[:used]
    while arguments[-1] is Ellipsis and items and items[-1] is None:
        items.pop()  # PyYAML experiments written by PyPTV's windows pad lists of names with nulls
    if used is not None and len(items) < used:
        raise _WrongError(f"found {len(items)} values, expected one for each of {used} cameras: {meaning}")
    converted = []
    for number, item in enumerate(items, start=1):
        try:
            converted.append(_scalar(item, arguments[0], parameter))
        except _WrongError as error:
            raise _WrongError(str(error), number) from None
    return tuple(converted)


def _choice(value: Any, parameter: Field[Any]) -> Any:
    """One of a few numbers and words; a number may be written as text."""
    choices = parameter.metadata["choices"]
    meant = as_number(value)
    for choice in choices:
        if choice == value or (meant is not None and choice == meant):
            return choice
    raise _WrongError(f"found {shown(value)}, expected {', '.join(map(str, choices))}: {parameter.metadata['meaning']}")


def _scalar(value: Any, kind: type, parameter: Field[Any]) -> Any:
    found = f"found {shown(value)}, expected "
    meaning = f"{parameter.metadata['meaning']}{_unit(parameter)}"
    if kind is str:
        if not isinstance(value, str) or "\0" in value:
            raise _WrongError(f"{found}a text: {meaning}")
        return value
    if kind is bool:
        try:
            return as_flag(value)
        except ValueError:
            raise _WrongError(f"{found}true or false (1 or 0): {meaning}") from None
    number = as_number(value)
    if number is None or (kind is int and number != int(number)):
        raise _WrongError(f"{found}{'a whole number' if kind is int else 'a number'}: {meaning}")
    _check_limits(number, found, meaning, parameter)
    return kind(number)


def _check_limits(number: float, found: str, meaning: str, parameter: Field[Any]) -> None:
    low, high, above = (parameter.metadata[key] for key in ("low", "high", "above"))
    if low is not None and number < low:
        raise _WrongError(f"{found}at least {low}: {meaning}")
    if high is not None and number > high:
        raise _WrongError(f"{found}at most {high}: {meaning}")
    if above is not None and number <= above:
        raise _WrongError(f"{found}more than {above}: {meaning}")


def _contradictions(parameters: Parameters, locate: Locate) -> list[str]:
    """Problems of combinations of individually valid values."""
    return [
        *_splitter_problems(parameters, locate),
        *_name_problems(parameters, locate),
        *_volume_problems(parameters, locate),
        *_limit_problems(parameters, locate),
    ]


def _splitter_problems(parameters: Parameters, locate: Locate) -> list[str]:
    problems = []
    ptv = parameters.ptv
    if ptv.splitter and parameters.num_cams != MAX_CAMERAS:
        problems.append(
            f"{locate('ptv', 'splitter')}: found {parameters.num_cams} cameras, a split image holds {MAX_CAMERAS} views"
        )
    if ptv.splitter and sorted(ptv.splitter_order) != sorted(SPLITTER_ORDER):
        problems.append(
            f"{locate('ptv', 'splitter_order')}: found {list(ptv.splitter_order)}, expected each of the quadrants 0, 1, 2, 3 once"
        )
    return problems


def _name_problems(parameters: Parameters, locate: Locate) -> list[str]:
    """Problems of image names; with existing targets these only give the folder of the ``_targets`` files."""
    found = []
    if not parameters.pft_version.existing_target:
        names = enumerate(parameters.sequence.base_name, start=1)
        found = [(locate("sequence", item_of("base_name", item)), name_problem(name)) for item, name in names]
        if parameters.masking.enabled:
            found.append((locate("masking", "mask_base_name"), pattern_problem(as_folders(parameters.masking.base_name))))
    return [f"{place}: {problem}" for place, problem in found if problem]


def _volume_problems(parameters: Parameters, locate: Locate) -> list[str]:
    problems = []
    criteria = parameters.criteria
    if criteria.X_lay[0] == criteria.X_lay[1]:
        problems.append(f"{locate('criteria', item_of('X_lay', 2))}: found twice {criteria.X_lay[0]}, expected two different x")
    limits = list(zip(criteria.Zmin_lay, criteria.Zmax_lay, strict=True))
    flat = all(low == high for low, high in limits)
    for end, (low, high) in enumerate(limits, start=1):
        if low > high or flat:
            found = f"found Zmin_lay {low} and Zmax_lay {high}"
            problems.append(f"{locate('criteria', item_of('Zmin_lay', end))}: {found}, expected Zmin_lay < Zmax_lay")
    return problems


def _limit_problems(parameters: Parameters, locate: Locate) -> list[str]:
    problems = []
    sizes = [] if parameters.pft_version.existing_target else [("targ_rec", f"n{axis}") for axis in ("n", "x", "y")]
    pairs = sizes + [("track", f"dv{axis}") for axis in ("x", "y", "z")]
    for section, key in pairs:
        low, high = (getattr(getattr(parameters, section), key + end) for end in ("min", "max"))
        if low > high:
            problems.append(f"{locate(section, key + 'min')}: found {low}, expected at most {key}max = {high}")
    return problems


def _unit(parameter: Field[Any]) -> str:
    unit = parameter.metadata["unit"]
    return f" [{unit}]" if unit else ""
