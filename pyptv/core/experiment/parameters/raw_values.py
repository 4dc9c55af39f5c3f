"""Raw values of parameter files as numbers and flags, in any notation."""

from __future__ import annotations

import math
from typing import Any

from pyptv.core.experiment.parameters.attrdict import AttrDict, shown

_LARGEST = 1e15
_TRUE, _FALSE = ("true", "yes", "on"), ("false", "no", "off")


def as_number(value: Any) -> float | int | None:
    """A finite number, or None. Text that is a number is accepted: PyYAML reads ``1e-3`` as text."""
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


def as_flag(value: Any) -> bool:
    """A flag: any whole number except 0 sets it, as in PyPTV; words are accepted as well.

    Raises:
        ValueError: it is neither.
    """
    word = value.strip().lower() if isinstance(value, str) else value
    if isinstance(word, bool) or word in (*_TRUE, *_FALSE):
        return word in (True, *_TRUE)
    number = as_number(word)
    if number is None or number != int(number):
        raise ValueError(shown(value))
    return number != 0


def is_set(tree: AttrDict, section: str, key: str) -> bool:
    """Whether a flag is set, as far as can be determined before the values are checked."""
    try:
        return as_flag(tree[section][key])
    except (KeyError, TypeError, ValueError):
        return False
