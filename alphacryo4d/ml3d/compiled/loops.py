"""Pieces of code for operations that emit whole loops, in vectors of eight float32 numbers.

A loop that is emitted leaves nothing to the guess of the compiler: its sums stay in registers.
Where a processor has shorter vectors they are split. All arrays are flat (one dimension).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from llvmlite import ir
from numba.core import cgutils

from alphacryo4d.ml3d.compiled.vector import LANES, _Code

FOUR = LANES // 2
LINE = 16
"""Numbers of a line of the cache."""

I64, I32 = ir.IntType(64), ir.IntType(32)


def constant(value: int) -> Any:
    """A whole number."""
    return ir.Constant(I64, value)


class Loops(_Code):
    """Pieces of code for loops over samples."""

    doubles = ir.VectorType(ir.DoubleType(), FOUR)
    integers = ir.VectorType(I32, LANES)
    flags = ("contract", "reassoc", "nsz", "arcp")

    def spread(self, value: Any, lanes: int = LANES) -> Any:
        """A number in all lanes."""
        undefined = ir.Constant(ir.VectorType(value.type, lanes), ir.Undefined)
        one = self.builder.insert_element(undefined, value, ir.Constant(I32, 0))
        return self.shuffled(one, undefined, [0] * lanes)

    def at(self, argument: int, *terms: Any) -> Any:
        """Pointer to an element at the sum of some places."""
        place = terms[0]
        for term in terms[1:]:
            place = self.builder.add(place, term)
        return self.pointer(argument, place)

    def first(self, argument: int, sample: Any, row: Any, width: Any, offset: Any) -> Any:
        """Place of a number of the first voxel of a pair."""
        voxel = self.builder.sext(self.builder.load(self.at(argument, sample, row)), I64)
        return self.builder.add(self.builder.mul(voxel, width), offset)

    def spread_at(self, argument: int, *terms: Any) -> Any:
        """An element in all lanes."""
        return self.spread(self.builder.load(self.at(argument, *terms)))

    def shuffled(self, first: Any, second: Any, lanes: list[int]) -> Any:
        """Lanes of two vectors; those of the second count on."""
        mask = ir.Constant(ir.VectorType(I32, len(lanes)), lanes)
        return self.builder.shuffle_vector(first, second, mask)

    def all(self, value: int) -> Any:
        """A whole number in all lanes."""
        return ir.Constant(self.integers, [value] * LANES)

    def floor(self, value: Any) -> Any:
        """The whole numbers below."""
        kind = ir.FunctionType(self.vector, [self.vector])
        name = f"llvm.floor.v{LANES}f32"
        function = cgutils.get_or_insert_function(self.builder.module, kind, name)
        return self.builder.call(function, [value])

    def next(self, value: Any) -> Any:
        """Whole numbers and one."""
        return self.builder.add(value, self.all(1))

    def wrapped(self, value: Any, edge: Any) -> Any:
        """Positions from 0 on: negative ones count from the end."""
        negative = self.builder.icmp_signed("<", value, self.all(0))
        return self.builder.select(negative, self.builder.add(value, edge), value)

    def load_double(self, pointer: Any) -> Any:
        """Four float32 numbers as float64."""
        four = ir.VectorType(ir.FloatType(), FOUR)
        place = self.builder.bitcast(pointer, four.as_pointer())
        return self.builder.fpext(self.builder.load(place, align=4), self.doubles)

    def prefetch(self, pointer: Any) -> None:
        """Ask for the memory at a place that is soon needed."""
        byte = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [byte, I32, I32, I32])
        name = "llvm.prefetch.p0"
        function = cgutils.get_or_insert_function(self.builder.module, kind, name)
        read, near, into = (ir.Constant(I32, n) for n in (0, 3, 1))
        self.builder.call(function, [self.builder.bitcast(pointer, byte), read, near, into])

    def halves(self, first: Any, second: Any) -> Any:
        """The four lower lanes of one vector, then the four upper lanes of the other."""
        lower, upper = range(FOUR), range(LANES + FOUR, 2 * LANES)
        return self.shuffled(first, second, [*lower, *upper])

    def split(self, vector: Any) -> tuple[Any, Any]:
        """The four lower and the four upper lanes."""
        lower, upper = list(range(FOUR)), list(range(FOUR, LANES))
        return self.shuffled(vector, vector, lower), self.shuffled(vector, vector, upper)

    @contextmanager
    def loop(self, begin: Any, end: Any, start: list[Any]) -> Iterator[tuple[Any, list[Any]]]:
        """A loop over numbers that carries values: the body replaces those in the list."""
        builder = self.builder
        before = builder.basic_block
        head, body, after = (builder.append_basic_block(name) for name in ("head", "body", "after"))
        builder.branch(head)
        builder.position_at_end(head)
        number = builder.phi(I64)
        carried = [builder.phi(value.type) for value in start]
        builder.cbranch(builder.icmp_signed("<", number, end), body, after)
        builder.position_at_end(body)
        values = list(carried)
        yield number, values
        number.add_incoming(begin, before)
        number.add_incoming(builder.add(number, constant(1)), builder.basic_block)
        for phi, first, last in zip(carried, start, values, strict=True):
            phi.add_incoming(first, before)
            phi.add_incoming(last, builder.basic_block)
        builder.branch(head)
        builder.position_at_end(after)
        values[:] = carried
