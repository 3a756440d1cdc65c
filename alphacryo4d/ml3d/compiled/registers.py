"""Loops over the samples of a particle whose sums stay in registers.

The operations emit whole loops in vectors of eight float32 numbers, so that nothing is left to the
guess of the compiler; where a processor has shorter vectors they are split. All arrays are flat
(one dimension) and float32, indices int32. The samples of a particle lie side by side:
``index[j * samples + s]`` is the first voxel of neighbour pair j (two voxels that follow each other
along x) of sample s, ``weight[j * samples + s]`` the weight of its neighbour j out of eight.
"""

from __future__ import annotations

from typing import Any

import numba
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from alphacryo4d.ml3d.compiled.loops import FOUR, I32, LINE, Loops, constant
from alphacryo4d.ml3d.compiled.vector import LANES

MOST = 6
"""Most vectors of columns for which sums and weights fit the registers."""
AHEAD = 4
"""Samples ahead for which memory is asked for; index arrays are as much longer."""


def _score_block(count: int) -> Any:
    """The operation of :func:`score_columns` for ``count`` vectors of columns."""

    @intrinsic
    def operation(  # type: ignore[no-untyped-def]
        typingctx, grid, width, offset, index, weight, data, samples, begin, end,  # noqa: ARG001
        cross, norm, at, power,
    ):  # fmt: skip
        def generate(context, builder, signature, values):  # type: ignore[no-untyped-def]
            code = Loops(context, builder, signature, values)
            width, offset, samples, at = (code.whole(number) for number in (1, 2, 6, 11))
            rows = [builder.mul(samples, constant(j)) for j in range(8)]
            zero = ir.Constant(code.vector, [0.0] * LANES)
            with code.loop(code.whole(7), code.whole(8), [zero] * (2 * count + 2)) as (s, sums):
                pairs = [code.first(3, s, rows[j], width, offset) for j in range(4)]
                places = [place for pair in pairs for place in (pair, builder.add(pair, width))]
                factors = [code.spread_at(4, s, rows[j]) for j in range(8)]
                later = builder.add(s, constant(AHEAD))
                for row in rows[:4]:
                    pair = code.first(3, later, row, width, offset)
                    for place in (pair, builder.add(pair, width)):
                        for line in range(0, LANES * count, LINE):
                            code.prefetch(code.at(0, place, constant(line)))
                datum = code.halves(code.spread_at(5, s), code.spread_at(5, s, samples))
                for v in range(count):
                    total = None
                    for place, factor in zip(places, factors, strict=True):
                        value = code.load(code.at(0, place, constant(LANES * v)))
                        part = code.times(factor, value)
                        total = part if total is None else code.add(total, part)
                    sums[v] = code.add(sums[v], code.times(datum, total))
                    sums[count + v] = code.add(sums[count + v], code.times(total, total))
                transfer = code.spread_at(5, s, builder.add(samples, samples))
                for v, value in ((2 * count, datum), (2 * count + 1, transfer)):
                    sums[v] = code.add(sums[v], code.times(value, value))
            first, last = (ir.Constant(I32, lane) for lane in (0, LANES - 1))
            whole = code.add(
                builder.extract_element(sums[2 * count], first),
                builder.extract_element(sums[2 * count], last),
            )
            square = builder.extract_element(sums[2 * count + 1], first)
            builder.store(whole, code.at(12, constant(0)))
            builder.store(square, code.at(12, constant(1)))
            for v in range(2 * count):
                both = code.add(*code.split(sums[v]))
                argument, column = (9, v) if v < count else (10, v - count)
                place = code.at(argument, at, constant(FOUR * column))
                builder.store(both, builder.bitcast(place, both.type.as_pointer()), align=4)
            return context.get_dummy_value()

        arguments = (
            grid, width, offset, index, weight, data, samples, begin, end, cross, norm, at, power
        )  # fmt: skip
        return types.void(*arguments), generate

    return operation


_score_1, _score_2, _score_3, _score_4, _score_5, _score_6 = (
    _score_block(count) for count in range(1, MOST + 1)
)


@numba.njit(inline="always")
def score_columns(  # type: ignore[no-untyped-def]
    count, grid, width, offset, index, weight, data, samples, begin, end, cross, norm, at, power
):  # fmt: skip
    """Inner products with the data, and norms, of some columns over some samples of a particle.

    Parameters
    ----------
    count : int
        Vectors of columns, at most ``MOST``: each four real parts, then their imaginary parts.
    grid, width, offset : flat array, int, int
        Voxels of ``width`` numbers; the first vector is ``offset`` numbers from a voxel's begin.
    index, weight, data, samples
        Neighbours and weights; ``data`` holds real parts, then imaginary parts, then the CTF.
    begin, end : int
        Samples.
    cross, norm, at
        Four sums of each vector are stored from place ``at`` on.
    power : (2,) float32
        Filled with the power of the data and the sum of the squared CTF.
    """
    if count == 1:
        _score_1(
            grid, width, offset, index, weight, data, samples, begin, end, cross, norm, at, power
        )
    elif count == 2:
        _score_2(
            grid, width, offset, index, weight, data, samples, begin, end, cross, norm, at, power
        )
    elif count == 3:
        _score_3(
            grid, width, offset, index, weight, data, samples, begin, end, cross, norm, at, power
        )
    elif count == 4:
        _score_4(
            grid, width, offset, index, weight, data, samples, begin, end, cross, norm, at, power
        )
    elif count == 5:
        _score_5(
            grid, width, offset, index, weight, data, samples, begin, end, cross, norm, at, power
        )
    else:
        _score_6(
            grid, width, offset, index, weight, data, samples, begin, end, cross, norm, at, power
        )


@intrinsic
def scatter_samples(typingctx, grid, index, weight, data, samples):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """Add the samples of a particle to a grid whose voxels hold four numbers.

    ``weight`` times the three rows of ``data`` is added to the first three.
    """

    def generate(context, builder, signature, values):  # type: ignore[no-untyped-def]
        code = Loops(context, builder, signature, values)
        samples = code.whole(4)
        rows = [builder.mul(samples, constant(j)) for j in range(8)]
        zero = ir.Constant(code.vector, [0.0] * LANES)
        with code.loop(constant(0), samples, []) as (s, _):
            a, d, c2 = (code.spread_at(3, s, rows[j]) for j in range(3))
            datum = code.shuffled(a, d, [0, LANES] * FOUR)
            rest = code.shuffled(c2, zero, [0, LANES] * FOUR)
            datum = code.shuffled(datum, rest, [0, 1, LANES, LANES + 1] * 2)
            for j in range(4):
                pair = code.halves(
                    code.spread_at(2, s, rows[2 * j]), code.spread_at(2, s, rows[2 * j + 1])
                )
                place = code.at(0, code.first(1, s, rows[j], constant(FOUR), constant(0)))
                code.store(code.add(code.load(place), code.times(pair, datum)), place)
        return context.get_dummy_value()

    return types.void(grid, index, weight, data, samples), generate


@intrinsic
def neighbours(typingctx, matrices, place, kx, ky, factor, samples, size, index, weight, sign):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """Neighbours, trilinear weights and sign of all samples of a particle.

    Parameters
    ----------
    matrices, place : flat array, int
        The (2, 3) rotation begins at ``place``.
    kx, ky, factor : (samples,) float32
        Positions, and a factor of all weights of a sample.
    samples, size : int
        A multiple of eight, and the edge of the padded grid.
    index, weight : (4 * samples,) int32, (8 * samples,) float32
        Filled.
    sign : (samples,) float32
        Filled: -1 where the Friedel mate is read, whose imaginary part has the other sign.
    """

    def generate(context, builder, signature, values):  # type: ignore[no-untyped-def]
        code = Loops(context, builder, signature, values)
        place, samples, size = (code.whole(number) for number in (1, 5, 6))
        turn = [code.spread_at(0, place, constant(n)) for n in range(6)]
        zero, one, minus = (code.spread(ir.Constant(ir.FloatType(), n)) for n in (0.0, 1.0, -1.0))
        edge = code.spread(builder.trunc(size, I32))
        half = builder.add(builder.lshr(edge, code.all(1)), code.all(1))
        with code.loop(constant(0), builder.lshr(samples, constant(3)), []) as (n, _):
            s = builder.mul(n, constant(LANES))
            right, down = code.load(code.at(2, s)), code.load(code.at(3, s))
            point = [
                code.add(code.times(right, turn[axis]), code.times(down, turn[3 + axis]))
                for axis in range(3)
            ]
            side = builder.select(builder.fcmp_ordered("<", point[0], zero), minus, one)
            code.store(side, code.at(9, s))
            corner, upper, lower = [], [], []
            for value in point:
                turned = code.times(side, value)
                floor = code.floor(turned)
                part = builder.fsub(turned, floor)
                corner.append(builder.fptosi(floor, code.integers))
                upper.append(part)
                lower.append(builder.fsub(one, part))
            wrapped = [
                [code.wrapped(corner[axis], edge), code.wrapped(code.next(corner[axis]), edge)]
                for axis in (1, 2)
            ]
            every = code.load(code.at(4, s))
            for j in range(4):
                z, y = (j >> 1, j & 1)
                row = builder.add(builder.mul(wrapped[1][z], edge), wrapped[0][y])
                first = builder.add(builder.mul(row, half), corner[0])
                pointer = code.at(7, s, builder.mul(samples, constant(j)))
                builder.store(first, builder.bitcast(pointer, code.integers.as_pointer()), align=4)
                flat = code.times((lower, upper)[z][2], (lower, upper)[y][1])
                flat = code.times(flat, every)
                for x, share in enumerate((lower[0], upper[0])):
                    target = code.at(8, s, builder.mul(samples, constant(2 * j + x)))
                    code.store(code.times(flat, share), target)
        return context.get_dummy_value()

    arguments = (matrices, place, kx, ky, factor, samples, size, index, weight, sign)
    return types.void(*arguments), generate


@intrinsic
def column_scores(  # type: ignore[no-untyped-def]
    typingctx, cross, norm, noise, shells, columns, own, at, uncertainty, taken, score  # noqa: ARG001
):  # fmt: skip
    """Sum over shells h of ``noise[h] (2 cross - norm)[h] - taken[h] own uncertainty[h]``.

    ``cross``, ``norm``, ``uncertainty`` (shells * columns,) float32; ``own`` holds a number of each
    column from place ``at`` on; ``noise``, ``taken`` (shells,) and ``score`` (columns,) float64.
    Shell 0 is left out; columns are a multiple of four.
    """

    def generate(context, builder, signature, values):  # type: ignore[no-untyped-def]
        code = Loops(context, builder, signature, values)
        shells, columns, at = (code.whole(number) for number in (3, 4, 6))
        zero = ir.Constant(code.doubles, [0.0] * FOUR)
        with code.loop(constant(0), builder.lshr(columns, constant(2)), []) as (n, _):
            column = builder.mul(n, constant(FOUR))
            with code.loop(constant(1), shells, [zero, zero]) as (h, sums):
                row = builder.mul(h, columns)
                inner, square, known = (
                    code.load_double(code.at(number, row, column)) for number in (0, 1, 7)
                )
                less = builder.fsub(code.add(inner, inner), square, flags=code.flags)
                noise, taken = (
                    code.spread(builder.load(code.at(number, h)), FOUR) for number in (2, 8)
                )
                sums[0] = code.add(sums[0], code.times(noise, less))
                sums[1] = code.add(sums[1], code.times(taken, known))
            mine = code.times(code.load_double(code.at(5, at, column)), sums[1])
            place = builder.bitcast(code.at(9, column), code.doubles.as_pointer())
            builder.store(builder.fsub(sums[0], mine), place, align=8)
        return context.get_dummy_value()

    arguments = (cross, norm, noise, shells, columns, own, at, uncertainty, taken, score)
    return types.void(*arguments), generate


@intrinsic
def expected_sums(typingctx, values, soft, shells, columns, out):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """``out[h]`` is the sum over columns of ``soft`` times ``values[h]``; values are float32."""

    def generate(context, builder, signature, values):  # type: ignore[no-untyped-def]
        code = Loops(context, builder, signature, values)
        shells, columns = code.whole(2), code.whole(3)
        zero = ir.Constant(code.doubles, [0.0] * FOUR)
        with code.loop(constant(1), shells, []) as (h, _):
            row, last = builder.mul(h, columns), builder.lshr(columns, constant(2))
            with code.loop(constant(0), last, [zero]) as (n, sums):
                column = builder.mul(n, constant(FOUR))
                place = builder.bitcast(code.at(1, column), code.doubles.as_pointer())
                soft = builder.load(place, align=8)
                part = code.times(soft, code.load_double(code.at(0, row, column)))
                sums[0] = code.add(sums[0], part)
            parts = [builder.extract_element(sums[0], ir.Constant(I32, n)) for n in range(FOUR)]
            total = code.add(code.add(parts[0], parts[2]), code.add(parts[1], parts[3]))
            builder.store(total, code.at(4, h))
        return context.get_dummy_value()

    return types.void(values, soft, shells, columns, out), generate


@intrinsic
def fetch(typingctx, array, begin, end):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """Ask the memory for the numbers ``begin:end`` of a flat array that are soon needed."""

    def generate(context, builder, signature, values):  # type: ignore[no-untyped-def]
        code = Loops(context, builder, signature, values)
        begin, line = code.whole(1), constant(LINE)
        count = builder.udiv(builder.sub(code.whole(2), begin), line)
        with code.loop(constant(0), builder.add(count, constant(1)), []) as (n, _):
            code.prefetch(code.at(0, begin, builder.mul(n, line)))
        return context.get_dummy_value()

    return types.void(array, begin, end), generate
