"""Windows of images, eight pixels of a row at a time: their sums with a spot, and spots added to them.

These loops are most of the method's time. They are written down as vector instructions (of LLVM, for any processor): of plain
loops over such small windows numba makes code that moves single numbers about. A window is ``2 radius + 1`` rows of ``blocks``
times :data:`WIDE` pixels; a spot is the product of its profiles along the columns (``across``) and the rows (``down``). The
profiles are as wide as whole vectors, 0 beyond the spot.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

WIDE = 8
_FLOAT, _INT = ir.FloatType(), ir.IntType(32)
_VECTOR = ir.VectorType(_FLOAT, WIDE)
_PIXELS = types.Array(types.float32, 1, "C")
_ANY_ORDER = ("reassoc", "contract", "nsz")
_RAMP = ir.Constant(_VECTOR, [float(k) for k in range(WIDE)])
_SERIES = [math.log(2.0) ** n / math.factorial(n) for n in range(7)]
"""Of 2^x: to 2e-7 between -1/2 and 1/2."""
_LOWEST = -126.0
"""The lowest power of two that counts as normal."""


def _pointer(context: Any, builder: Any, array: Any) -> Any:
    return context.make_array(_PIXELS)(context, builder, array).data


def _at(builder: Any, pointer: Any, index: Any) -> Any:
    """The address of a vector that begins anywhere."""
    return builder.bitcast(builder.gep(pointer, [index]), _VECTOR.as_pointer())


def _load(builder: Any, pointer: Any, index: Any) -> Any:
    return builder.load(_at(builder, pointer, index), align=4)


def _splat(builder: Any, value: Any) -> Any:
    """A number in all places of a vector."""
    one = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), value, ir.Constant(_INT, 0))
    return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(_INT, WIDE), None))


def _plus(builder: Any, total: Any, a: Any, b: Any) -> Any:
    """Total + a b."""
    return builder.fadd(total, builder.fmul(a, b, flags=_ANY_ORDER), flags=_ANY_ORDER)


def _zeros(builder: Any, n: int) -> list[Any]:
    """Places for sums, which LLVM keeps in registers."""
    places = [cgutils.alloca_once(builder, _VECTOR) for _ in range(n)]
    for place in places:
        builder.store(ir.Constant(_VECTOR, None), place)
    return places


def _sum(builder: Any, vector: Any) -> Any:
    kind = ir.FunctionType(_FLOAT, [_FLOAT, _VECTOR])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.vector.reduce.fadd.v8f32")
    return builder.call(function, [ir.Constant(_FLOAT, 0.0), vector], fastmath=_ANY_ORDER)


def _each_row(builder: Any, rows: Any, start: Any, stride: Any, do: Callable[[Any, Any], None]) -> None:
    """Call ``do`` with the number of each row of a window, and the index of its first pixel."""
    with cgutils.for_range(builder, rows) as loop:
        do(loop.index, builder.add(start, builder.mul(loop.index, stride)))


def _moments(highest: int) -> Any:
    """A function that gives sums over a window: of r g, and of r g j^n and r g i^n for n up to ``highest``."""
    n_sums = 1 + 2 * highest

    def typed(_context: Any, flat: Any, start: Any, stride: Any, rows: Any, blocks: Any, across: Any, down: Any) -> Any:
        """Its types and its instructions."""
        whole = types.int64

        def make(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            """The instructions."""
            pixels, first, step, n_rows, n_blocks, row, column = args
            image, row, column = (_pointer(context, builder, array) for array in (pixels, row, column))
            totals = _zeros(builder, n_sums)
            with cgutils.for_range(builder, n_blocks) as block:
                left = builder.mul(block.index, ir.Constant(block.index.type, WIDE))
                by_row = _zeros(builder, 1 + highest)

                def gather(i: Any, at: Any, by_row: Any = by_row) -> None:
                    """A row adds to the sums."""
                    value, weight = _load(builder, image, at), builder.load(builder.gep(column, [i]))
                    for place in by_row:
                        builder.store(_plus(builder, builder.load(place), value, _splat(builder, weight)), place)
                        weight = builder.fmul(weight, builder.sitofp(i, _FLOAT))

                _each_row(builder, n_rows, builder.add(first, left), step, gather)
                place = builder.fadd(_RAMP, _splat(builder, builder.sitofp(left, _FLOAT)))
                terms = _weighted(builder, [builder.load(one) for one in by_row], _load(builder, row, left), place)
                for total, term in zip(totals, terms, strict=True):
                    builder.store(builder.fadd(builder.load(total), term, flags=_ANY_ORDER), total)
            sums = [_sum(builder, builder.load(total)) for total in totals]
            return context.make_tuple(builder, signature.return_type, sums)

        return types.UniTuple(types.float32, n_sums)(_PIXELS, whole, whole, whole, whole, _PIXELS, _PIXELS), make

    return intrinsic(typed)


def _weighted(builder: Any, by_row: list[Any], profile: Any, place: Any) -> list[Any]:
    """What columns, of whose rows r g i^n has been summed, add to the sums without i and j, with j, i, j^2 and i^2."""
    weighted = builder.fmul(by_row[0], profile)
    terms = [weighted]
    for moment in by_row[1:]:
        weighted = builder.fmul(weighted, place)
        terms += [weighted, builder.fmul(moment, profile)]
    return terms


window_sums, window_spread = _moments(1), _moments(2)
"""Sums over a window of r g, r g j and r g i: r an image's pixel in column j and row i of the window, g the spot there. The
second one has those of r g j^2 and r g i^2 as well.

Args:
    flat: images, flattened (float32).
    start: index of the window's first pixel.
    stride: pixels from row to row.
    rows: of the window.
    blocks: of WIDE columns.
    across: (WIDE * blocks,) profile.
    down: (rows,) profile.
"""


@intrinsic  # type: ignore[untyped-decorator]
def window_add(
    _context: Any, flat: Any, start: Any, stride: Any, rows: Any, blocks: Any, peak: Any, across: Any, down: Any
) -> Any:
    """Add ``peak`` times a spot to a window, in place; the arguments are those of :func:`window_sums`."""
    whole = types.int64

    def make(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        """The instructions."""
        pixels, first, step, n_rows, n_blocks, height, row, column = args
        image, row, column = (_pointer(context, builder, array) for array in (pixels, row, column))
        with cgutils.for_range(builder, n_blocks) as block:
            left = builder.mul(block.index, ir.Constant(block.index.type, WIDE))
            profile = builder.fmul(_load(builder, row, left), _splat(builder, height))

            def change(i: Any, at: Any, profile: Any = profile) -> None:
                """A row gets its part of the spot."""
                weight = _splat(builder, builder.load(builder.gep(column, [i])))
                builder.store(_plus(builder, _load(builder, image, at), profile, weight), _at(builder, image, at), align=4)

            _each_row(builder, n_rows, builder.add(first, left), step, change)
        return context.get_dummy_value()

    return types.void(_PIXELS, whole, whole, whole, whole, types.float32, _PIXELS, _PIXELS), make


@intrinsic  # type: ignore[untyped-decorator]
def window_exchange(
    _context: Any, flat: Any, start: Any, stride: Any, rows: Any, blocks: Any, old: Any, out_of: Any, new: Any, into: Any
) -> Any:
    """Add a spot to a window and subtract another one, in place: with half the loads and stores of :func:`window_add` for each.

    ``old`` and ``new`` are the peaks of the one that is added and the one that is subtracted; ``out_of`` and ``into`` their two
    profiles each, (2, >= WIDE * blocks): across and down.
    """
    whole, pair = types.int64, types.Array(types.float32, 2, "C")

    def make(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        """The instructions."""
        pixels, first, step, n_rows, n_blocks, before, profiles, after, other = args
        image, spots = _pointer(context, builder, pixels), []
        for array, peak in ((profiles, before), (other, builder.fneg(after))):
            both = context.make_array(pair)(context, builder, array)
            length = cgutils.unpack_tuple(builder, both.shape, 2)[1]
            spots.append((both.data, builder.gep(both.data, [length]), peak))
        with cgutils.for_range(builder, n_blocks) as block:
            left = builder.mul(block.index, ir.Constant(block.index.type, WIDE))
            drawn = [(builder.fmul(_load(builder, a, left), _splat(builder, peak)), down) for a, down, peak in spots]

            def change(i: Any, at: Any, drawn: Any = drawn) -> None:
                """A row gets its part of the one and loses that of the other."""
                value = _load(builder, image, at)
                for profile, down in drawn:
                    value = _plus(builder, value, profile, _splat(builder, builder.load(builder.gep(down, [i]))))
                builder.store(value, _at(builder, image, at), align=4)

            _each_row(builder, n_rows, builder.add(first, left), step, change)
        return context.get_dummy_value()

    return types.void(_PIXELS, whole, whole, whole, whole, types.float32, pair, types.float32, pair), make


def _power_of_two(builder: Any, power: Any) -> Any:
    """2^power of each number of a vector."""
    lowest = ir.Constant(_VECTOR, [_LOWEST] * WIDE)
    power = builder.select(builder.fcmp_ordered("<", power, lowest), lowest, power)
    half = ir.Constant(_VECTOR, [0.5] * WIDE)
    floor = cgutils.get_or_insert_function(builder.module, ir.FunctionType(_VECTOR, [_VECTOR]), "llvm.floor.v8f32")
    whole = builder.call(floor, [builder.fadd(power, half)])
    rest = builder.fsub(power, whole)
    value = ir.Constant(_VECTOR, [_SERIES[-1]] * WIDE)
    for factor in reversed(_SERIES[:-1]):
        value = _plus(builder, ir.Constant(_VECTOR, [factor] * WIDE), value, rest)
    integers = ir.VectorType(_INT, WIDE)
    exponent = builder.add(builder.fptosi(whole, integers), ir.Constant(integers, [127] * WIDE))
    scale = builder.bitcast(builder.shl(exponent, ir.Constant(integers, [23] * WIDE)), _VECTOR)
    return builder.fmul(value, scale)


@intrinsic  # type: ignore[untyped-decorator]
def window_profile(_context: Any, out: Any, blocks: Any, centre: Any, sharpness: Any, first: Any, last: Any) -> Any:
    """Write the profile g = exp(-sharpness (k - centre)^2) at k = 0, 1, ... ; 0 before ``first``, and from ``last`` on.

    Args:
        out: (WIDE * blocks,) receives it.
        blocks: of WIDE pixels.
        centre: of the spot, from the middle of the window's first pixel [px].
        sharpness: 1 / (2 sigma^2) [1/px^2].
        first: pixel of the window that is in the image.
        last: first one that is not in it any more.

    Returns:
        The sums of g g, g g (k - centre) and g g (k - centre)^2.
    """
    whole, real = types.int64, types.float32

    def make(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        """The instructions."""
        array, n_blocks, middle, sharp, low, high = args
        target = _pointer(context, builder, array)
        totals = _zeros(builder, 3)
        slope = _splat(builder, builder.fmul(sharp, ir.Constant(_FLOAT, -1.0 / math.log(2.0))))
        least, most = (_splat(builder, builder.sitofp(value, _FLOAT)) for value in (low, high))
        with cgutils.for_range(builder, n_blocks) as block:
            left = builder.mul(block.index, ir.Constant(block.index.type, WIDE))
            place = builder.fadd(_RAMP, _splat(builder, builder.sitofp(left, _FLOAT)))
            away = builder.fsub(place, _splat(builder, middle))
            value = _power_of_two(builder, builder.fmul(slope, builder.fmul(away, away)))
            inside = builder.and_(builder.fcmp_ordered(">=", place, least), builder.fcmp_ordered("<", place, most))
            value = builder.select(inside, value, ir.Constant(_VECTOR, None))
            builder.store(value, _at(builder, target, left), align=4)
            term = builder.fmul(value, value)
            for total in totals:
                builder.store(builder.fadd(builder.load(total), term, flags=_ANY_ORDER), total)
                term = builder.fmul(term, away)
        return context.make_tuple(builder, signature.return_type, [_sum(builder, builder.load(total)) for total in totals])

    return types.UniTuple(types.float32, 3)(_PIXELS, whole, real, real, whole, whole), make


@intrinsic  # type: ignore[untyped-decorator]
def window_fetch(_context: Any, flat: Any, start: Any, stride: Any, rows: Any) -> Any:
    """Have the rows of a window brought into the processor's cache, while other work is done; as in :func:`window_sums`.

    Measured in pairs on whole frames (0.014 ppp): 1.5, 1.8, 1.9 s with it, 1.8, 2.1, 2.1 s without.
    """
    whole = types.int64

    def make(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        """The instructions."""
        pixels, first, step, n_rows = args
        image = _pointer(context, builder, pixels)
        byte = ir.IntType(8).as_pointer()
        fetch = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(ir.VoidType(), [byte, _INT, _INT, _INT]), "llvm.prefetch.p0i8"
        )
        writes, keep, data = (ir.Constant(_INT, value) for value in (1, 3, 1))

        def bring(_i: Any, at: Any) -> None:
            """A row is fetched."""
            builder.call(fetch, [builder.bitcast(builder.gep(image, [at]), byte), writes, keep, data])

        _each_row(builder, n_rows, first, step, bring)
        return context.get_dummy_value()

    return types.void(_PIXELS, whole, whole, whole), make
