"""Small matrix products in registers, and matrices of eight particles side by side."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from alphacryo4d.ml3d.compiled.blocks import FAST_FLAGS, BlockCode

PARTICLES = 8
"""Particles whose matrices lie side by side: entry e of particle p at ``e * PARTICLES + p``."""


def _multiply(vectors: int) -> Any:
    @intrinsic
    def multiply(typingctx, left, at, stride, step, right, begin, pitch, count, out, place, width):  # type: ignore[no-untyped-def]  # noqa: ARG001
        def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
            code = BlockCode(context, builder, signature, args)
            at, stride, step = (code.whole(k) for k in (1, 2, 3))
            begin, pitch, count, place, width = (code.whole(k) for k in (5, 6, 7, 9, 10))
            sums = [[code.register(8) for _ in range(vectors)] for _ in range(4)]
            with code.loop(code.constant(0), count) as t:
                start = code.plus(begin, code.by(t, pitch))
                row = [code.load(code.array(4), code.plus(start, 8 * v), 8) for v in range(vectors)]
                for k in range(4):
                    entry = code.plus(at, code.by(stride, k), code.by(step, t))
                    factor = code.spread(code.entry(code.array(0), entry), 8)
                    for v in range(vectors):
                        code.grow(sums[k][v], code.times(factor, row[v]))
            for k in range(4):
                for v in range(vectors):
                    target = code.plus(place, code.by(width, k), 8 * v)
                    total = code.add(builder.load(sums[k][v]), code.load(code.array(8), target, 8))
                    code.store(total, code.array(8), target, 8)
            return context.get_dummy_value()

        arguments = left, at, stride, step, right, begin, pitch, count, out, place, width
        return types.void(*arguments), generate

    return multiply


multiply_24 = _multiply(3)
"""``multiply_24(left, at, stride, step, right, begin, pitch, count, out, place, width)``: adds to
4 rows of ``out``, from ``place`` on and ``width`` apart, 24 columns of the product of matrices
with the entries ``left[at + stride * row + step * t]`` and ``right[begin + pitch * t + column]``,
t below ``count``."""
multiply_16 = _multiply(2)
"""The same for 16 columns."""
multiply_8 = _multiply(1)
"""The same for 8 columns."""


def _lanes(combine: str) -> Any:
    @intrinsic
    def operate(typingctx, out, entry, left, one, right, other):  # type: ignore[no-untyped-def]  # noqa: ARG001
        def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
            code = BlockCode(context, builder, signature, args)
            kind = ir.VectorType(ir.DoubleType(), PARTICLES).as_pointer()

            def place(argument: int) -> Any:
                at = code.by(code.whole(argument + 1), PARTICLES)
                return builder.bitcast(builder.gep(code.array(argument), [at]), kind)

            product = builder.fmul(
                builder.load(place(2), align=8), builder.load(place(4), align=8), flags=FAST_FLAGS
            )
            if combine:
                old = builder.load(place(0), align=8)
                product = getattr(builder, combine)(old, product, flags=FAST_FLAGS)
            builder.store(product, place(0), align=8)
            return context.get_dummy_value()

        return types.void(out, entry, left, one, right, other), generate

    return operate


set_product = _lanes("")
"""``set_product(out, entry, left, one, right, other)``: the entry of ``out`` becomes the product of
an entry of ``left`` and one of ``right``, for all particles side by side (float64)."""
add_product = _lanes("fadd")
"""The same, added to the entry of ``out``."""
subtract_product = _lanes("fsub")
"""The same, subtracted from the entry of ``out``."""
