"""Loops over the samples of a particle, emitted in vectors of eight; twins of :mod:`.plain`.

What an operation does, and its arguments, stand there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import types
from numba.extending import intrinsic

from alphacryo4d.ml3d.compiled.vectors import FOUR, LANES, LINE, Vectors

AHEAD = 4
"""Samples ahead for which memory is asked for; index arrays are as much longer."""


def _generator(body: Callable[[Vectors], Any]) -> Callable[..., Any]:
    """A code generator that lets ``body`` emit the code; it gives the result, if there is one."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        result = body(Vectors(context, builder, signature, values))
        return context.get_dummy_value() if result is None else result

    return generate


def _score(count: int) -> Any:
    def body(code: Vectors) -> None:
        width, offset, samples, begin, end, at = code.whole(1, 2, 6, 7, 8, 11)
        zero = code.zero()
        with code.loop(begin, end, *[zero] * (2 * count + 2)) as (s, sums):
            near = [
                (code.plus(code.by(voxel, width), offset), code.spread(factor))
                for voxel, factor in code.corners(3, 4, samples, s)
            ]
            for pair in range(4):
                voxel = code.entry(3, code.by(samples, pair), s, AHEAD)
                for side in (0, 1):
                    start = code.plus(code.by(code.plus(voxel, side), width), offset)
                    for line in range(0, LANES * count, LINE):
                        code.prefetch(0, start, line)
            real, imaginary = (code.spread(code.entry(5, s, code.by(samples, k))) for k in (0, 1))
            datum = code.shuffled(real, imaginary, [*range(FOUR), *range(LANES + FOUR, 2 * LANES)])
            for v in range(count):
                total = None
                for start, factor in near:
                    value = code.load(0, start, LANES * v)
                    total = (
                        code.times(factor, value)
                        if total is None
                        else code.fma(factor, value, total)
                    )
                sums[v] = code.fma(datum, total, sums[v])
                sums[count + v] = code.fma(total, total, sums[count + v])
            transfer = code.spread(code.entry(5, s, code.by(samples, 2)))
            for v, value in ((2 * count, datum), (2 * count + 1, transfer)):
                sums[v] = code.fma(value, value, sums[v])
        whole = code.add(code.lane(sums[2 * count], 0), code.lane(sums[2 * count], LANES - 1))
        code.store(whole, 12, 0)
        code.store(code.lane(sums[2 * count + 1], 0), 12, 1)
        for v in range(2 * count):
            argument, column = (9, v) if v < count else (10, v - count)
            code.store(code.add(*code.split_lanes(sums[v])), argument, at, FOUR * column)

    @intrinsic
    def operation(  # type: ignore[no-untyped-def]
        typingctx, grid, width, offset, index, weight, data, samples, begin, end,  # noqa: ARG001
        cross, norm, at, power,
    ):  # fmt: skip
        arguments = (
            grid, width, offset, index, weight, data, samples, begin, end, cross, norm, at, power
        )  # fmt: skip
        return types.void(*arguments), _generator(body)

    return operation


score_1, score_2, score_3, score_4, score_5, score_6 = (_score(count) for count in range(1, 7))


@intrinsic
def scatter_samples(typingctx, grid, index, weight, data, samples):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """As :func:`alphacryo4d.ml3d.compiled.plain.scatter_samples`."""

    def body(code: Vectors) -> None:
        samples = code.whole(4)
        with code.loop(0, samples) as (s, _):
            a, d, c = (code.spread(code.entry(3, code.by(samples, j), s)) for j in range(3))
            datum = code.shuffled(a, d, [0, LANES] * FOUR)
            rest = code.shuffled(c, code.zero(), [0, LANES] * FOUR)
            datum = code.shuffled(datum, rest, [0, 1, LANES, LANES + 1] * 2)
            corners = list(code.corners(1, 2, samples, s))
            for (voxel, one), (_, other) in zip(corners[::2], corners[1::2], strict=True):
                pair = code.shuffled(
                    code.spread(one), code.spread(other), [*range(FOUR), *range(LANES, 12)]
                )
                place = code.by(voxel, FOUR)
                code.store(code.fma(pair, datum, code.load(0, place)), 0, place)

    return types.void(grid, index, weight, data, samples), _generator(body)


@intrinsic
def gather_rows(typingctx, grid, index, weight, samples, begin, end, width, values):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """As :func:`alphacryo4d.ml3d.compiled.plain.gather_rows`."""

    def body(code: Vectors) -> None:
        samples, begin, end, width = code.whole(3, 4, 5, 6)
        with code.loop(0, width, step=2 * LANES) as (column, _), code.loop(begin, end) as (s, _):
            total = None
            for voxel, factor in code.corners(1, 2, samples, s):
                row = code.load(0, code.by(voxel, width), column, lanes=2 * LANES)
                part = code.spread(factor, 2 * LANES)
                total = code.times(part, row) if total is None else code.fma(part, row, total)
            code.store(total, 7, code.by(code.builder.sub(s, begin), width), column)

    arguments = grid, index, weight, samples, begin, end, width, values
    return types.void(*arguments), _generator(body)


@intrinsic
def scatter_rows(typingctx, grid, index, weight, samples, width, data, real, imag):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """As :func:`alphacryo4d.ml3d.compiled.plain.scatter_rows`."""

    def body(code: Vectors) -> None:
        samples, width = code.whole(3, 4)
        whole = code.builder.and_(width, code.plus(-2 * LANES))
        for lanes, first, last in ((2 * LANES, code.plus(0), whole), (LANES, whole, width)):
            with code.loop(first, last, step=lanes) as (column, _):
                re, im = (code.load(k, column, lanes=lanes) for k in (6, 7))
                with code.loop(0, samples) as (s, _):
                    a, d = (code.spread(code.entry(5, code.by(s, 2), k), lanes) for k in (0, 1))
                    share = code.fma(a, re, code.times(d, im))
                    for voxel, factor in code.corners(1, 2, samples, s):
                        at = code.plus(code.by(voxel, width), column)
                        old = code.load(0, at, lanes=lanes)
                        code.store(code.fma(code.spread(factor, lanes), share, old), 0, at)

    arguments = grid, index, weight, samples, width, data, real, imag
    return types.void(*arguments), _generator(body)


@intrinsic
def add_rows(typingctx, grid, index, begin, end, weight, at, row, width):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """As :func:`alphacryo4d.ml3d.compiled.plain.add_rows`."""

    def body(code: Vectors) -> None:
        begin, end, at, width = code.whole(2, 3, 5, 7)
        with code.loop(begin, end) as (s, _):
            start = code.by(code.entry(1, s), width)
            factor = code.spread(code.entry(4, code.builder.sub(s, begin), at))
            with code.loop(0, width, step=LANES) as (k, _):
                place = code.plus(start, k)
                code.store(code.fma(factor, code.load(6, k), code.load(0, place)), 0, place)

    return types.void(grid, index, begin, end, weight, at, row, width), _generator(body)


def _gram(rows: int) -> Any:
    def body(code: Vectors) -> Any:
        count, columns, row, column, place = code.whole(1, 2, 3, 4, 8)
        with code.loop(0, code.by(count, 2), *[code.zero()] * rows) as (line, sums):
            start = code.by(line, columns)
            right = code.load(0, start, column)
            for k in range(rows):
                left = code.spread(code.entry(0, start, row, k))
                sums[k] = code.fma(left, right, sums[k])
        scale, inner = code.number(5), code.zero()
        for k in range(rows):
            at = code.plus(place, code.by(code.plus(row, k), columns), column)
            code.store(code.fma(scale, sums[k], code.load(6, at)), 6, at)
            inner = code.fma(sums[k], code.load(7, at), inner)
        return code.lane_sum(inner)

    @intrinsic
    def block(  # type: ignore[no-untyped-def]
        typingctx, values, count, columns, row, column, scale, total, second, place  # noqa: ARG001
    ):  # fmt: skip
        arguments = values, count, columns, row, column, scale, total, second, place
        return types.float32(*arguments), _generator(body)

    return block


gram_block, gram_half_block = _gram(LANES), _gram(FOUR)


@intrinsic
def data_block(  # type: ignore[no-untyped-def]
    typingctx, values, data, begin, end, columns, column, scale, total, means, place  # noqa: ARG001
):  # fmt: skip
    """As :func:`alphacryo4d.ml3d.compiled.plain.data_block`."""

    def body(code: Vectors) -> Any:
        begin, end, columns, column, place = code.whole(2, 3, 4, 5, 9)
        with code.loop(begin, end, code.zero()) as (s, sums):
            row = code.by(code.builder.sub(s, begin), 2)
            for k in range(2):
                datum = code.spread(code.entry(1, code.by(s, 2), k))
                part = code.load(0, code.by(code.plus(row, k), columns), column)
                sums[0] = code.fma(datum, part, sums[0])
        at = code.plus(place, column)
        code.store(code.fma(code.number(6), sums[0], code.load(7, at)), 7, at)
        return code.lane_sum(code.times(sums[0], code.load(8, at)))

    arguments = values, data, begin, end, columns, column, scale, total, means, place
    return types.float32(*arguments), _generator(body)


@intrinsic
def fetch(typingctx, array, begin, end):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """As :func:`alphacryo4d.ml3d.compiled.plain.fetch`."""

    def body(code: Vectors) -> None:
        begin, end = code.whole(1, 2)
        with code.loop(begin, code.plus(end, 1), step=LINE) as (place, _):
            code.prefetch(0, place)

    return types.void(array, begin, end), _generator(body)
