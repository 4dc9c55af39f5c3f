"""The raw parameter tree: a dictionary whose keys are also attributes."""

from __future__ import annotations

import reprlib
from typing import Any


class _Shown(reprlib.Repr):
    """Short texts of any value in a parameter file, however large or deep."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 3

    def repr_int(self, x: int, level: int) -> str:
        """A whole number; Python refuses to write very long ones."""
        try:
            return super().repr_int(x, level)
        except ValueError:
            return f"a number of {x.bit_length()} bits"

    def repr_AttrDict(self, x: AttrDict, level: int) -> str:  # noqa: N802 -- reprlib finds it by the type's name
        """A mapping."""
        return super().repr_dict(x, level)


shown = _Shown().repr
"""A raw value for messages: shortened, on one line."""


class AttrDict(dict[str, Any]):
    """A ``dict`` with attribute access, nested dictionaries included.

    Both parameter dialects are read into such a tree; its values have not been checked yet
    (:mod:`pyptv.core.experiment.parameters.schema` does that).

    >>> tree = AttrDict(ptv={"imx": 1280})
    >>> tree.ptv.imx
    1280
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()
        for key, value in dict(*args, **kwargs).items():
            self[key] = value

    def __setitem__(self, key: str, value: Any) -> None:
        if isinstance(value, dict) and not isinstance(value, AttrDict):
            value = AttrDict(value)
        super().__setitem__(key, value)

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"no entry {name!r}; there are: {', '.join(map(str, self)) or 'none'}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __delattr__(self, name: str) -> None:
        try:
            del self[name]
        except KeyError:
            raise AttributeError(f"no entry {name!r} to delete") from None
