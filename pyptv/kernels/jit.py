"""How kernels are compiled: the decorators, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np

from pyptv.kernels.cache import chosen_folder

Function = TypeVar("Function", bound=Callable[..., Any])


_ONLY_KERNELS_CALL = {"error_model": "numpy", "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
"""Without entrances from Python and C, which take an eighth of the time to compile: Python cannot call such a function."""


def inner(function: Function) -> Function:
    """For a function that only kernels call: compiled as part of them."""
    compiled: Function = numba.njit(**_ONLY_KERNELS_CALL)(function)
    return compiled


def leaf(function: Function) -> Function:
    """For one that, besides, allocates nothing: part of its caller, without counting references to arrays.

    Counting them takes an atomic instruction for each array at each call, which in small functions is most of the time.
    """
    compiled: Function = numba.njit(**_ONLY_KERNELS_CALL, forceinline=True, _nrt=False)(function)
    return compiled


def shared(function: Function) -> Function:
    """For one that allocates nothing and that several places call: a function of its own, which is compiled once."""
    compiled: Function = numba.njit(**_ONLY_KERNELS_CALL, _nrt=False)(function)
    return compiled


def part(function: Function) -> Function:
    """For one that is called in one place only: part of its caller before that is compiled, which is compiled once then.

    Taking frames and scenes apart to pass them to a function of its own takes longer to compile than most functions do.
    """
    compiled: Function = numba.njit(**_ONLY_KERNELS_CALL, inline="always", _nrt=False)(function)
    return compiled


_ANY_ORDER = {"contract", "nsz", "reassoc"}
"""Sums in whatever order is fastest. Not for what must give optv's numbers."""


def routine(function: Function) -> Function:
    """For one that allocates nothing either, and sums in whatever order is fastest: a function of its own."""
    compiled: Function = numba.njit(**_ONLY_KERNELS_CALL, fastmath=_ANY_ORDER, _nrt=False)(function)
    return compiled


def piece(function: Function) -> Function:
    """For a routine that one other function calls: part of it. Passing a dozen arrays on costs more than most of them do."""
    compiled: Function = numba.njit(**_ONLY_KERNELS_CALL, fastmath=_ANY_ORDER, _nrt=False, forceinline=True)(function)
    return compiled


@inner
def number(value: int) -> int:
    """A constant as a number like any other, to begin counting with or to pass on.

    numba compiles a function that is passed both a constant and a variable for both, one after the other.
    """
    return int(np.int64(value))


def entry(signature: str) -> Callable[[Function], Function]:
    """For a function that Python calls: importing its module loads it from the cache on disk, or compiles it."""

    def decorate(function: Function) -> Function:
        """Compile a function for the signature."""
        before = numba.config.CACHE_DIR
        numba.config.CACHE_DIR = str(chosen_folder())  # read where the function is decorated, so others keep theirs
        try:
            compiled: Function = numba.njit(signature, cache=True, error_model="numpy", no_cfunc_wrapper=True)(function)
        finally:
            numba.config.CACHE_DIR = before
        return compiled

    return decorate
