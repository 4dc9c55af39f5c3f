"""How the innermost functions are compiled: those that read and write arrays that their caller holds, and make none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba

Function = TypeVar("Function", bound=Callable[..., Any])


def leaf(function: Function) -> Function:
    """For a function that only kernels call and that allocates nothing: part of its caller, without counting references.

    Counting them takes an atomic instruction for each array at each call, which in these functions is most of the time.
    """
    compiled: Function = numba.njit(error_model="numpy", forceinline=True, _nrt=False)(function)
    return compiled
