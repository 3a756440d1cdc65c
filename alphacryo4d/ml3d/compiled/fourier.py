"""Fourier transforms of the normal equations: a cube, padded twofold, weighted, and cropped again.

A padded transform of length 2 M is two transforms of length M: of the line, and of the line turned
by half a frequency. The padded grid is never held: one axis after the other is transformed, and
the last there and back for one plane at a time. Rows hold the positions along x side by side (all
real parts, then all imaginary parts), so that every operation works on whole vectors.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import types
from numba.extending import intrinsic

from alphacryo4d.ml3d.compiled.basic import FAST
from alphacryo4d.ml3d.compiled.butterflies import Butterflies, radices, transform_rows
from alphacryo4d.ml3d.compiled.expect import half_width
from alphacryo4d.ml3d.compiled.loops import FOUR, constant
from alphacryo4d.ml3d.compiled.vector import LANES, add8_four, whole_vectors


def _row_operation(kind: str) -> Any:
    """An operation on ``count`` rows of complex numbers.

    ``copy``: rows of ``source`` to ``target``; ``turn``: times ``cosine + i sign sine`` of the row;
    ``join``: this added to rows of ``first`` that lie like those of ``source``.
    """

    @intrinsic
    def operation(  # type: ignore[no-untyped-def]
        typingctx, first, source, begin, step, target, place, stride, count, lanes, cosine, sine,  # noqa: ARG001
        sign,
    ):  # fmt: skip
        def generate(context, builder, signature, values):  # type: ignore[no-untyped-def]
            code = Butterflies(context, builder, signature, values)
            begin, step, place, stride, count, lanes = (code.whole(n) for n in (2, 3, 5, 6, 7, 8))
            sign = code.spread(code.scalar(11))
            with code.loop(constant(0), count, []) as (row, _):
                c, s = code.spread_at(9, row), code.times(sign, code.spread_at(10, row))
                a = builder.add(begin, builder.mul(row, step))
                b = builder.add(place, builder.mul(row, stride))
                with code.loop(constant(0), builder.lshr(lanes, constant(3)), []) as (n, _):
                    lane = builder.mul(n, constant(LANES))

                    def taken(argument: int, a: Any = a, lane: Any = lane) -> tuple[Any, Any]:
                        return (
                            code.load(code.at(argument, a, lane)),
                            code.load(code.at(argument, a, lane, lanes)),
                        )

                    value = taken(1)
                    if kind != "copy":
                        value = code.turned(value, c, s)
                    if kind == "join":
                        value = code.plus(taken(0), value)
                    code.store(value[0], code.at(4, b, lane))
                    code.store(value[1], code.at(4, b, lane, lanes))
            return context.get_dummy_value()

        arguments = (
            first, source, begin, step, target, place, stride, count, lanes, cosine, sine, sign
        )  # fmt: skip
        return types.void(*arguments), generate

    return operation


_copy_rows, _turn_rows, _join_rows = (_row_operation(kind) for kind in ("copy", "turn", "join"))


@intrinsic
def _weigh_rows(typingctx, rows, count, lanes, used, weights, begin, step):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """The first ``used`` complex numbers of every row times a row of real weights."""

    def generate(context, builder, signature, values):  # type: ignore[no-untyped-def]
        code = Butterflies(context, builder, signature, values)
        count, lanes, used, begin, step = (code.whole(n) for n in (1, 2, 3, 5, 6))
        whole = builder.lshr(used, constant(3))
        with code.loop(constant(0), count, []) as (row, _):
            a = builder.mul(row, builder.add(lanes, lanes))
            b = builder.add(begin, builder.mul(row, step))
            with code.loop(constant(0), whole, []) as (n, _):
                lane = builder.mul(n, constant(LANES))
                weight = code.load(code.at(4, b, lane))
                for place in (code.at(0, a, lane), code.at(0, a, lane, lanes)):
                    code.store(code.times(code.load(place), weight), place)
            with code.loop(builder.mul(whole, constant(LANES)), used, []) as (n, _):
                weight = builder.load(code.at(4, b, n))
                for place in (code.at(0, a, n), code.at(0, a, n, lanes)):
                    builder.store(builder.fmul(builder.load(place), weight), place)
        return context.get_dummy_value()

    return types.void(rows, count, lanes, used, weights, begin, step), generate


@numba.njit(inline="always")
def _multiply(values, matrix, count, width, line):  # type: ignore[no-untyped-def]
    """``line`` is ``values`` (count,) times ``matrix`` (count, width); flat, whole vectors."""
    line[:width] = 0
    for i in range(0, count, 4):
        for c in range(0, width, LANES):
            add8_four(line, c, values, i, matrix, i * width + c, width)


@numba.njit(fastmath=FAST, cache=True, nogil=True)
def planes_forward(cube, shape, plan, work):  # type: ignore[no-untyped-def]
    """Transform of a cube times ``shape`` along x and y: ``work`` (M, N, 2 lanes) is filled."""
    factors, tables, cosine, sine, forward, _ = plan
    m, n, width = work.shape
    lanes = width // 2
    flat = work.reshape(-1)
    rows, one, two = np.empty((3, m * width), np.float32)
    values = np.zeros(len(forward) // width, np.float32)
    for z in range(m):
        for y in range(m):
            for x in range(m):
                values[x] = cube[z, y, x] * shape[z, y, x]
            _multiply(values, forward, len(values), width, rows[y * width :])
        for part in range(2):
            if part == 0:
                _copy_rows(rows, rows, 0, width, one, 0, width, m, lanes, cosine, sine, -1)
            else:
                _turn_rows(rows, rows, 0, width, one, 0, width, m, lanes, cosine, sine, -1)
            found = transform_rows(one, two, m, lanes, factors, tables, np.float32(-1))
            place = (z * n + part) * width
            _copy_rows(found, found, 0, width, flat, place, 2 * width, m, lanes, cosine, sine, 1)


@numba.njit(fastmath=FAST, cache=True, nogil=True)
def planes_back(work, shape, plan, cube):  # type: ignore[no-untyped-def]
    """Adjoint of :func:`planes_forward` over M^3: ``cube`` is filled."""
    factors, tables, cosine, sine, _, back = plan
    m, n, width = work.shape
    lanes = width // 2
    flat = work.reshape(-1)
    even, one, two, three = np.empty((4, m * width), np.float32)
    line = np.empty(len(back) // width, np.float32)
    for z in range(m):
        place = z * n * width
        _copy_rows(flat, flat, place, 2 * width, even, 0, width, m, lanes, cosine, sine, 1)
        even_found = transform_rows(even, three, m, lanes, factors, tables, np.float32(1))
        place += width
        _copy_rows(flat, flat, place, 2 * width, one, 0, width, m, lanes, cosine, sine, 1)
        odd = transform_rows(one, two, m, lanes, factors, tables, np.float32(1))
        _join_rows(even_found, odd, 0, width, odd, 0, width, m, lanes, cosine, sine, 1)
        for y in range(m):
            _multiply(odd[y * width :], back, width, len(line), line)
            for x in range(m):
                cube[z, y, x] = line[x] * shape[z, y, x]


@numba.njit(inline="always", fastmath=FAST)
def _subtract_rows(rows, lanes, used, right, y, part):  # type: ignore[no-untyped-def]
    """Rows of every second plane of ``right`` less ``rows``."""
    for g in range(len(right) // 2):
        line, a = right[2 * g + part, y], 2 * g * lanes
        for x in range(used):
            rows[a + x] = line[x].real - rows[a + x]
        for x in range(used):
            rows[a + lanes + x] = line[x].imag - rows[a + lanes + x]


@numba.njit(fastmath=FAST, cache=True, nogil=True)
def weigh_lines(work, weights, right, used, plan):  # type: ignore[no-untyped-def]
    """Along z there and back, with ``weights`` (N, N, N // 2 + 1) between; in place.

    ``used`` voxels along x, y and z on each side of the origin hold weights. Where ``right`` (like
    the weights, complex64) is not empty, the weighted spectrum is taken off it first.
    """
    factors, tables, cosine, sine, _, _ = plan
    m, n, width = work.shape
    lanes, half = width // 2, weights.shape[2]
    flat, heavy = work.reshape(-1), weights.reshape(-1)
    one, two, three, four = np.empty((4, m * width), np.float32)
    for y in range(n):
        if min(y, n - y) >= used:
            work[:, y] = 0
            continue
        a, step = y * width, n * width
        _copy_rows(flat, flat, a, step, one, 0, width, m, lanes, cosine, sine, 1)
        even = transform_rows(one, two, m, lanes, factors, tables, np.float32(-1))
        other = two if len(factors) % 2 == 0 else one
        _weigh_rows(even, m, lanes, used, heavy, y * half, 2 * n * half)
        if len(right):
            _subtract_rows(even, lanes, used, right, y, 0)
        even = transform_rows(even, other, m, lanes, factors, tables, np.float32(1))
        _turn_rows(flat, flat, a, step, three, 0, width, m, lanes, cosine, sine, -1)
        odd = transform_rows(three, four, m, lanes, factors, tables, np.float32(-1))
        other = four if len(factors) % 2 == 0 else three
        _weigh_rows(odd, m, lanes, used, heavy, (n + y) * half, 2 * n * half)
        if len(right):
            _subtract_rows(odd, lanes, used, right, y, 1)
        odd = transform_rows(odd, other, m, lanes, factors, tables, np.float32(1))
        _join_rows(even, odd, 0, width, odd, 0, width, m, lanes, cosine, sine, 1)
        _copy_rows(odd, odd, 0, width, flat, a, step, m, lanes, cosine, sine, 1)


@numba.njit(fastmath=FAST, cache=True, nogil=True)
def lines_back(spectrum, used, plan, work):  # type: ignore[no-untyped-def]
    """Along z back, of a spectrum (N, N, N // 2 + 1): ``work`` (M, N, 2 lanes) is filled."""
    factors, tables, cosine, sine, _, _ = plan
    m, n, width = work.shape
    lanes = width // 2
    flat = work.reshape(-1)
    one, two, three, four = np.zeros((4, m * width), np.float32)
    for y in range(n):
        if min(y, n - y) >= used:
            work[:, y] = 0
            continue
        one[:] = 0
        three[:] = 0
        for z in range(m):
            for x in range(used):
                one[z * width + x] = spectrum[2 * z, y, x].real
                one[z * width + lanes + x] = spectrum[2 * z, y, x].imag
            for x in range(used):
                three[z * width + x] = spectrum[2 * z + 1, y, x].real
                three[z * width + lanes + x] = spectrum[2 * z + 1, y, x].imag
        even = transform_rows(one, two, m, lanes, factors, tables, np.float32(1))
        odd = transform_rows(three, four, m, lanes, factors, tables, np.float32(1))
        _join_rows(even, odd, 0, width, odd, 0, width, m, lanes, cosine, sine, 1)
        _copy_rows(odd, odd, 0, width, flat, y * width, n * width, m, lanes, cosine, sine, 1)


@numba.njit(fastmath=FAST, cache=True, nogil=True)
def lines_forward(work, used, plan, vector, lane, grid):  # type: ignore[no-untyped-def]
    """Along z, into one column of the references of classes.

    The origin is moved by N // 4. ``grid`` (N * N * (N // 2 + 1), K / 4, 8) float32 has the real
    part of a column at ``lane`` of its ``vector``, the imaginary part four places later; what lies
    beyond ``used`` voxels is left as it is.
    """
    factors, tables, cosine, sine, _, _ = plan
    m, n, width = work.shape
    lanes, half = width // 2, n // 2 + 1
    flat = work.reshape(-1)
    one, two = np.empty((2, m * width), np.float32)
    real = np.array([1.0, 0.0, -1.0, 0.0], np.float32)
    imaginary = np.array([0.0, 1.0, 0.0, -1.0], np.float32)
    for y in range(n):
        if min(y, n - y) >= used:
            continue
        a, step = y * width, n * width
        for part in range(2):
            if part == 0:
                _copy_rows(flat, flat, a, step, one, 0, width, m, lanes, cosine, sine, -1)
            else:
                _turn_rows(flat, flat, a, step, one, 0, width, m, lanes, cosine, sine, -1)
            found = transform_rows(one, two, m, lanes, factors, tables, np.float32(-1))
            for g in range(m):
                z = 2 * g + part
                first = (z * n + y) * half
                for x in range(min(used, half_width(z, y, n, used + 1))):
                    c, s = real[(x + y + z) & 3], imaginary[(x + y + z) & 3]
                    re, im = found[g * width + x], found[g * width + lanes + x]
                    grid[first + x, vector, lane] = c * re - s * im
                    grid[first + x, vector, lane + FOUR] = c * im + s * re


def plan_of(cube: int, used: int) -> tuple[np.ndarray[Any, Any], ...]:
    """What the transforms of a cube need: radices, phase factors, matrices along x.

    Parameters
    ----------
    cube : int
        M.
    used : int
        Positions along x of the padded half grid that hold something.
    """
    factors, tables = radices(cube)
    lanes, whole = whole_vectors(used), whole_vectors(cube)
    half = np.pi * np.arange(cube) / cube
    angle = half[:, None] * np.arange(used)
    forward = np.zeros((whole, 2 * lanes), np.float32)
    forward[:cube, :used], forward[:cube, lanes : lanes + used] = np.cos(angle), -np.sin(angle)
    share = np.where(np.arange(used) % cube == 0, 1.0, 2.0)[:, None] / cube**3
    back = np.zeros((2 * lanes, whole), np.float32)
    back[:used, :cube] = share * np.cos(angle.T)
    back[lanes : lanes + used, :cube] = -share * np.sin(angle.T)
    cosine, sine = np.cos(half).astype(np.float32), np.sin(half).astype(np.float32)
    return factors, tables, cosine, sine, forward.ravel(), back.ravel()
