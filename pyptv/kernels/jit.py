"""How kernels are compiled: the decorators, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba

from pyptv.kernels.cache import chosen_folder, group_of

Function = TypeVar("Function", bound=Callable[..., Any])


def inner(function: Function) -> Function:
    """For a function that only kernels call: compiled as part of them."""
    compiled: Function = numba.njit(error_model="numpy")(function)
    return compiled


def leaf(function: Function) -> Function:
    """For one that, besides, allocates nothing: part of its caller, without counting references to arrays.

    Counting them takes an atomic instruction for each array at each call, which in small functions is most of the time.
    """
    compiled: Function = numba.njit(error_model="numpy", forceinline=True, _nrt=False)(function)
    return compiled


def routine(function: Function) -> Function:
    """For one that allocates nothing either, and sums in whatever order is fastest: a function of its own, which compiles faster.

    Not for what must give optv's numbers.
    """
    any_order = {"contract", "nsz", "reassoc"}
    compiled: Function = numba.njit(error_model="numpy", fastmath=any_order, _nrt=False)(function)
    return compiled


def entry(signature: str) -> Callable[[Function], Function]:
    """For a function that Python calls: importing its module loads it from the cache on disk, or compiles it."""

    def decorate(function: Function) -> Function:
        """Compile a function for the signature."""
        before = numba.config.CACHE_DIR
        numba.config.CACHE_DIR = str(
            chosen_folder(group_of(function.__module__))
        )  # read where the function is decorated, so others keep theirs
        try:
            compiled: Function = numba.njit(signature, cache=True, error_model="numpy")(function)
        finally:
            numba.config.CACHE_DIR = before
        return compiled

    return decorate
