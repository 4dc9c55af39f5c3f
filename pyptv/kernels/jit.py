"""The decorators for compiling kernels."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import numba
import numpy as np

from pyptv.kernels.cache import chosen_folder

Function = TypeVar("Function", bound=Callable[..., Any])

_compiled_here: set[str] = set()
"""Modules whose entries this process compiles; empty: all that it imports."""


def compile_only(modules: Iterable[str]) -> None:
    """For a process that compiles a group: entries of other modules are compiled by others at the same time."""
    _compiled_here.update(modules)


_ONLY_KERNELS_CALL = {"error_model": "numpy", "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
"""Without entry points from Python and C, which take an eighth of the compile time: Python cannot call such a function."""


def inner(function: Function) -> Function:
    """For a function called only by kernels: compiled as part of them."""
    compiled: Function = numba.njit(**_ONLY_KERNELS_CALL)(function)
    return compiled


def leaf(function: Function) -> Function:
    """For such a function that also allocates nothing: part of its caller, without reference counts of arrays.

    Reference counts take an atomic instruction per array and call, which is most of the time of small functions.
    """
    compiled: Function = numba.njit(**_ONLY_KERNELS_CALL, forceinline=True, _nrt=False)(function)
    return compiled


def shared(function: Function) -> Function:
    """For a function that allocates nothing and is called in several places: a separate function, compiled once."""
    compiled: Function = numba.njit(**_ONLY_KERNELS_CALL, _nrt=False)(function)
    return compiled


def part(function: Function) -> Function:
    """For a function that is called in one place: inlined into its caller before compilation, so it is compiled once.

    Unpacking frames and scenes to pass them to a separate function takes longer to compile than most functions.
    """
    compiled: Function = numba.njit(**_ONLY_KERNELS_CALL, inline="always", _nrt=False)(function)
    return compiled


_ANY_ORDER = {"contract", "nsz", "reassoc"}
"""Sums in the fastest order. Not for code that must reproduce optv's numbers."""


def routine(function: Function) -> Function:
    """For a function that allocates nothing and sums in the fastest order: a separate function."""
    compiled: Function = numba.njit(**_ONLY_KERNELS_CALL, fastmath=_ANY_ORDER, _nrt=False)(function)
    return compiled


def piece(function: Function) -> Function:
    """For a routine called by one other function: part of it. Passing a dozen arrays costs more than most routines take."""
    compiled: Function = numba.njit(**_ONLY_KERNELS_CALL, fastmath=_ANY_ORDER, _nrt=False, forceinline=True)(function)
    return compiled


@inner
def number(value: int) -> int:
    """A constant as an ordinary number, to start a count with or to pass on.

    numba compiles a function twice if it is called with a constant and with a variable.
    """
    return int(np.int64(value))


def entry(signature: str) -> Callable[[Function], Function]:
    """For a function called from Python: importing its module loads it from the cache on disk, or compiles it."""

    def decorate(function: Function) -> Function:
        """Compile a function for the signature."""
        if _compiled_here and function.__module__ not in _compiled_here:
            untouched: Function = numba.njit(error_model="numpy", no_cfunc_wrapper=True)(function)
            return untouched
        before = numba.config.CACHE_DIR
        numba.config.CACHE_DIR = str(chosen_folder())  # read when the function is decorated, so other packages keep theirs
        try:
            compiled: Function = numba.njit(signature, cache=True, error_model="numpy", no_cfunc_wrapper=True)(function)
        finally:
            numba.config.CACHE_DIR = before
        return compiled

    return decorate
