"""Fourier transforms along rows: every number of a row is transformed at once, in vectors."""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from alphacryo4d.ml3d.compiled.loops import Loops, constant
from alphacryo4d.ml3d.compiled.vector import LANES


class Butterflies(Loops):
    """Short transforms of vectors of complex numbers (pairs of vectors)."""

    def number(self, value: float) -> Any:
        """A number in all lanes."""
        return ir.Constant(self.vector, [value] * LANES)

    def less(self, a: Any, b: Any) -> Any:
        """Difference of two vectors."""
        return self.builder.fsub(a, b, flags=self.flags)

    def plus(self, a: Any, b: Any) -> Any:
        """Sum of complex numbers."""
        return self.add(a[0], b[0]), self.add(a[1], b[1])

    def minus(self, a: Any, b: Any) -> Any:
        """Difference of complex numbers."""
        return self.less(a[0], b[0]), self.less(a[1], b[1])

    def turned(self, a: Any, c: Any, s: Any) -> Any:
        """``a (c + i s)``."""
        return (
            self.less(self.times(a[0], c), self.times(a[1], s)),
            self.add(self.times(a[0], s), self.times(a[1], c)),
        )

    def transform(self, values: list[Any], sign: Any) -> list[Any]:
        """Fourier transform of some numbers; ``sign`` (a vector) is -1 forward, 1 back."""
        count = len(values)
        if count == 1:
            return values
        if count % 2 == 0:
            even = self.transform(values[::2], sign)
            odd = self.transform(values[1::2], sign)
            first, second = [], []
            for j, (a, b) in enumerate(zip(even, odd, strict=True)):
                turned = self._unit(b, j, count, sign)
                first.append(self.plus(a, turned))
                second.append(self.minus(a, turned))
            return first + second
        pairs = [(values[k], values[count - k]) for k in range(1, count // 2 + 1)]
        sums = [self.plus(a, b) for a, b in pairs]
        differences = [self.minus(a, b) for a, b in pairs]
        total = values[0]
        for value in sums:
            total = self.plus(total, value)
        out = [total] + [None] * (count - 1)
        for j in range(1, count // 2 + 1):
            level, slope = values[0], (self.number(0.0), self.number(0.0))
            for k, (add, sub) in enumerate(zip(sums, differences, strict=True), 1):
                angle = 2 * math.pi * j * k / count
                c, s = self.number(math.cos(angle)), self.number(math.sin(angle))
                level = self.plus(level, (self.times(add[0], c), self.times(add[1], c)))
                slope = self.plus(slope, (self.times(sub[0], s), self.times(sub[1], s)))
            # i * sign * slope
            side = (self.less(self.number(0.0), self.times(slope[1], sign)),
                    self.times(slope[0], sign))  # fmt: skip
            out[j], out[count - j] = self.plus(level, side), self.minus(level, side)
        return out

    def _unit(self, value: Any, j: int, count: int, sign: Any) -> Any:
        if j == 0:
            return value
        angle = 2 * math.pi * j / count
        if 4 * j == count:
            return (self.less(self.number(0.0), self.times(value[1], sign)),
                    self.times(value[0], sign))  # fmt: skip
        c, s = self.number(math.cos(angle)), self.times(self.number(math.sin(angle)), sign)
        return self.turned(value, c, s)


def _pass(radix: int) -> Any:
    """The operation of :func:`_transform` for one radix."""

    @intrinsic
    def operation(  # type: ignore[no-untyped-def]
        typingctx, source, begin, step, target, place, stride, lanes, count, tables, turn, sign  # noqa: ARG001
    ):  # fmt: skip
        def generate(context, builder, signature, values):  # type: ignore[no-untyped-def]
            code = Butterflies(context, builder, signature, values)
            begin, step, place, stride, lanes, count, turn = (
                code.whole(n) for n in (1, 2, 4, 5, 6, 7, 9)
            )
            sign = code.spread(code.scalar(10))
            both = builder.add(lanes, lanes)
            turns = [
                [
                    code.spread_at(8, builder.mul(builder.add(turn, constant(j)), constant(2)),
                                   constant(part))
                    for part in (0, 1)
                ]
                for j in range(radix)
            ]  # fmt: skip
            vectors = builder.lshr(lanes, constant(3))
            with code.loop(constant(0), builder.mul(count, vectors), []) as (n, _):
                row, vector = builder.udiv(n, vectors), builder.urem(n, vectors)
                lane = builder.add(builder.mul(row, both), builder.mul(vector, constant(LANES)))
                taken = []
                for k in range(radix):
                    at = builder.add(begin, builder.mul(step, constant(k)))
                    parts = (code.at(0, at, lane), code.at(0, at, lane, lanes))
                    taken.append((code.load(parts[0]), code.load(parts[1])))
                for j, value in enumerate(code.transform(taken, sign)):
                    c, s = turns[j]
                    moved = code.turned(value, c, code.times(s, sign)) if j else value
                    at = builder.add(place, builder.mul(stride, constant(j)))
                    code.store(moved[0], code.at(3, at, lane))
                    code.store(moved[1], code.at(3, at, lane, lanes))
            return context.get_dummy_value()

        arguments = (source, begin, step, target, place, stride, lanes, count, tables, turn, sign)
        return types.void(*arguments), generate

    return operation


_pass_2, _pass_3, _pass_4, _pass_5, _pass_6, _pass_7, _pass_8, _pass_11 = (
    _pass(radix) for radix in (2, 3, 4, 5, 6, 7, 8, 11)
)


def radices(length: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Radices of a transform, and its phase factors pass by pass (cosine, sine)."""
    factors, rest = [], length
    while rest > 1:
        radix = next(r for r in (8, 6, 4, 5, 3, 7, 11, 2) if rest % r == 0)
        factors.append(radix)
        rest //= radix
    tables, n = [], length
    for radix in factors:
        p, j = np.meshgrid(np.arange(n // radix), np.arange(radix), indexing="ij")
        angle = 2 * np.pi * p * j / n
        tables.append(np.stack([np.cos(angle), np.sin(angle)], axis=-1).ravel())
        n //= radix
    return np.array(factors, np.int64), np.concatenate(tables or [np.zeros(0)]).astype(np.float32)


@numba.njit(cache=True, nogil=True)
def transform_rows(one, two, length, lanes, factors, tables, sign):  # type: ignore[no-untyped-def]
    """Fourier transform of ``length`` rows, in ``one`` or ``two`` in turn; where the result is.

    Rows of ``2 lanes`` numbers; Stockham's order, so that the result is sorted.
    """
    n, s, begin = length, 1, 0
    width = 2 * lanes
    source, target = one, two
    for f in range(len(factors)):
        radix = factors[f]
        m = n // radix
        for p in range(m):
            a, b = s * p * width, s * radix * p * width
            step, stride = s * m * width, s * width
            turn = begin + p * radix
            if radix == 2:
                _pass_2(source, a, step, target, b, stride, lanes, s, tables, turn, sign)
            elif radix == 3:
                _pass_3(source, a, step, target, b, stride, lanes, s, tables, turn, sign)
            elif radix == 4:
                _pass_4(source, a, step, target, b, stride, lanes, s, tables, turn, sign)
            elif radix == 5:
                _pass_5(source, a, step, target, b, stride, lanes, s, tables, turn, sign)
            elif radix == 6:
                _pass_6(source, a, step, target, b, stride, lanes, s, tables, turn, sign)
            elif radix == 7:
                _pass_7(source, a, step, target, b, stride, lanes, s, tables, turn, sign)
            elif radix == 8:
                _pass_8(source, a, step, target, b, stride, lanes, s, tables, turn, sign)
            else:
                _pass_11(source, a, step, target, b, stride, lanes, s, tables, turn, sign)
        begin += m * radix
        n, s = m, s * radix
        source, target = target, source
    return source
