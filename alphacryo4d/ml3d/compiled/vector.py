"""Vectors of eight numbers for the compiled loops.

The columns of a voxel (classes or components) lie side by side and their number is a multiple of
eight. The operations here load, multiply, add and store eight of them at once, with the code
generator told so; loops over columns are not left to its guess, which costs a factor of three.
All arrays are flat (one dimension) and float32.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

LANES = 8
_FAST = ("contract", "reassoc", "nsz", "arcp")


def whole_vectors(count: int) -> int:
    """A number of columns rounded up to whole vectors."""
    return -(-count // LANES) * LANES


class _Code:
    """Pieces of code that the operations share."""

    def __init__(self, context: Any, builder: Any, signature: Any, values: Any) -> None:
        self.context, self.builder = context, builder
        self.types, self.values = signature.args, values
        self.vector = ir.VectorType(ir.FloatType(), LANES)

    def pointer(self, argument: int, offset: Any = None) -> Any:
        array = self.context.make_array(self.types[argument])(
            self.context, self.builder, self.values[argument]
        )
        return array.data if offset is None else self.builder.gep(array.data, [offset])

    def place(self, pointer: Any) -> Any:
        return self.builder.bitcast(pointer, self.vector.as_pointer())

    def load(self, pointer: Any) -> Any:
        return self.builder.load(self.place(pointer), align=4)

    def store(self, value: Any, pointer: Any) -> None:
        self.builder.store(value, self.place(pointer), align=4)

    def add(self, a: Any, b: Any) -> Any:
        return self.builder.fadd(a, b, flags=_FAST)

    def times(self, a: Any, b: Any) -> Any:
        return self.builder.fmul(a, b, flags=_FAST)

    def spread(self, value: Any) -> Any:
        """A number in all lanes."""
        undefined = ir.Constant(self.vector, ir.Undefined)
        one = self.builder.insert_element(undefined, value, ir.Constant(ir.IntType(32), 0))
        mask = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        return self.builder.shuffle_vector(one, undefined, mask)

    def scalar(self, argument: int) -> Any:
        return self.context.cast(
            self.builder, self.values[argument], self.types[argument], types.float32
        )

    def whole(self, argument: int) -> Any:
        return self.context.cast(
            self.builder, self.values[argument], self.types[argument], types.intp
        )

    def element(self, argument: int, number: int) -> Any:
        place = self.pointer(argument, ir.Constant(ir.IntType(64), number))
        return self.builder.load(place)

    def corner(self, argument: int, index: int, number: int, offset: Any) -> Any:
        """Place in a grid of the vector at one of eight neighbours."""
        start = self.builder.add(self.element(index, number), offset)
        return self.pointer(argument, start)


@intrinsic
def gather8(typingctx, grid, index, weight, offset, out, at):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """``out[at:at+8] = sum over j of weight[j] * grid[index[j] + offset :][:8]``, j < 8."""

    def generate(context, builder, signature, values):  # type: ignore[no-untyped-def]
        code = _Code(context, builder, signature, values)
        offset = code.whole(3)
        total = None
        for j in range(8):
            part = code.times(
                code.spread(code.element(2, j)), code.load(code.corner(0, 1, j, offset))
            )
            total = part if total is None else code.add(total, part)
        code.store(total, code.pointer(4, code.whole(5)))
        return context.get_dummy_value()

    return types.void(grid, index, weight, offset, out, at), generate


@intrinsic
def add8_four(typingctx, target, at, factors, first, source, begin, stride):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """``target[at:][:8]`` gets four rows of ``source``, ``stride`` apart, times ``factors``."""

    def generate(context, builder, signature, values):  # type: ignore[no-untyped-def]
        code = _Code(context, builder, signature, values)
        integer = ir.IntType(64)
        place = code.pointer(0, code.whole(1))
        total, row = None, code.whole(5)
        for j in range(4):
            number = builder.add(code.whole(3), ir.Constant(integer, j))
            factor = code.spread(builder.load(code.pointer(2, number)))
            part = code.times(factor, code.load(code.pointer(4, row)))
            total = part if total is None else code.add(total, part)
            row = builder.add(row, code.whole(6))
        code.store(code.add(code.load(place), total), place)
        return context.get_dummy_value()

    return types.void(target, at, factors, first, source, begin, stride), generate
