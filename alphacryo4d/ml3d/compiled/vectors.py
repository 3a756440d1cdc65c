"""Vectors of eight float32 numbers: the helper of the operations in :mod:`.emitted`.

An operation emits its whole loop, so that nothing is left to the guess of the compiler: its sums
stay in registers. All arrays are flat (one dimension), float32 or int32.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils

LANES = 8
FOUR = LANES // 2
LINE = 16
"""Numbers of a line of the cache."""
WIDE = bool(binding.get_host_cpu_features().get("avx", False))
"""Whether this processor has vectors of eight; elsewhere :mod:`.plain` serves."""

_FAST = ("contract", "reassoc", "nsz", "arcp")
_REAL, _I32, _I64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)


def whole_vectors(count: int) -> int:
    """A number of columns rounded up to whole vectors."""
    return -(-count // LANES) * LANES


class Vectors:
    """Code of one operation: places in its arrays, vectors, and loops that carry sums.

    A place is a whole number (of the code, or Python's) that counts elements of an array; an array
    or number is given by its position among the arguments.
    """

    def __init__(self, context: Any, builder: Any, signature: Any, values: Any) -> None:
        self.context, self.builder = context, builder
        self.types, self.values = signature.args, values
        self._starts = {
            k: self._start(k) for k, kind in enumerate(self.types) if isinstance(kind, types.Array)
        }

    def _start(self, argument: int) -> Any:
        """Pointer to the first element of an array, without a type of what it points to.

        numba's pointers have one; by way of a place in memory, which the optimiser removes, it
        is lost.
        """
        array = self.context.make_array(self.types[argument])
        data = array(self.context, self.builder, self.values[argument]).data
        place = cgutils.alloca_once(self.builder, ir.PointerType())
        self.builder.store(data, place)
        return self.builder.load(place, typ=ir.PointerType())

    def whole(self, *arguments: int) -> Any:
        """Arguments as whole numbers."""
        numbers = [
            self.context.cast(self.builder, self.values[k], self.types[k], types.intp)
            for k in arguments
        ]
        return numbers[0] if len(numbers) == 1 else numbers

    def number(self, argument: int) -> Any:
        """An argument as a float32 number in all lanes."""
        value = self.context.cast(
            self.builder, self.values[argument], self.types[argument], types.float32
        )
        return self.spread(value)

    def plus(self, *terms: Any) -> Any:
        """Sum of whole numbers."""
        total = None
        for term in terms:
            value = ir.Constant(_I64, term) if isinstance(term, int) else term
            total = value if total is None else self.builder.add(total, value)
        return total

    def by(self, a: Any, b: Any) -> Any:
        """Product of whole numbers."""
        return self.builder.mul(a, ir.Constant(_I64, b) if isinstance(b, int) else b)

    def _pointer(self, argument: int, terms: Any) -> tuple[Any, Any]:
        element = _I32 if self.types[argument].dtype == types.int32 else _REAL
        start, place = self._starts[argument], self.plus(*terms)
        return self.builder.gep(start, [place], source_etype=element), element

    def entry(self, argument: int, *terms: Any) -> Any:
        """One number of an array, at the sum of some places; int32 as a whole number."""
        pointer, element = self._pointer(argument, terms)
        value = self.builder.load(pointer, typ=element)
        return self.builder.sext(value, _I64) if element is _I32 else value

    def load(self, argument: int, *terms: Any, lanes: int = LANES) -> Any:
        """Numbers of an array that follow each other."""
        kind = ir.VectorType(_REAL, lanes)
        return self.builder.load(self._pointer(argument, terms)[0], align=4, typ=kind)

    def store(self, value: Any, argument: int, *terms: Any) -> None:
        """Put a vector, or a number, into an array."""
        self.builder.store(value, self._pointer(argument, terms)[0], align=4)

    def prefetch(self, argument: int, *terms: Any) -> None:
        """Ask for the memory at a place that is soon needed."""
        kind = ir.FunctionType(ir.VoidType(), [ir.PointerType(), _I32, _I32, _I32])
        function = cgutils.get_or_insert_function(self.builder.module, kind, "llvm.prefetch.p0")
        read, near, into = (ir.Constant(_I32, n) for n in (0, 3, 1))
        self.builder.call(function, [self._pointer(argument, terms)[0], read, near, into])

    def shuffled(self, first: Any, second: Any, lanes: list[int]) -> Any:
        """Lanes of two vectors; those of the second count on."""
        mask = ir.Constant(ir.VectorType(_I32, len(lanes)), lanes)
        return self.builder.shuffle_vector(first, second, mask)

    def spread(self, value: Any, lanes: int = LANES) -> Any:
        """A number in all lanes."""
        undefined = ir.Constant(ir.VectorType(_REAL, lanes), ir.Undefined)
        one = self.builder.insert_element(undefined, value, ir.Constant(_I32, 0))
        return self.shuffled(one, undefined, [0] * lanes)

    def zero(self, lanes: int = LANES) -> Any:
        """A vector of zeros."""
        return ir.Constant(ir.VectorType(_REAL, lanes), [0.0] * lanes)

    def lane(self, value: Any, number: int) -> Any:
        """One number of a vector."""
        return self.builder.extract_element(value, ir.Constant(_I32, number))

    def times(self, a: Any, b: Any) -> Any:
        """Product of two vectors."""
        return self.builder.fmul(a, b, flags=_FAST)

    def add(self, a: Any, b: Any) -> Any:
        """Sum of two vectors or numbers."""
        return self.builder.fadd(a, b, flags=_FAST)

    def fma(self, a: Any, b: Any, c: Any) -> Any:
        """``a * b + c``."""
        return self.add(self.times(a, b), c)

    def split_lanes(self, value: Any) -> tuple[Any, Any]:
        """The lower and the upper lanes of a vector."""
        half = value.type.count // 2
        lower, upper = list(range(half)), list(range(half, 2 * half))
        return self.shuffled(value, value, lower), self.shuffled(value, value, upper)

    def lane_sum(self, value: Any) -> Any:
        """Sum of the lanes of a vector, pair by pair."""
        while value.type.count > 1:
            value = self.add(*self.split_lanes(value))
        return self.lane(value, 0)

    @contextmanager
    def loop(self, begin: Any, end: Any, *start: Any, step: int = 1) -> Iterator[tuple[Any, Any]]:
        """A loop over whole numbers that carries values: the body replaces those in the list."""
        builder = self.builder
        begin = self.plus(begin)
        before = builder.basic_block
        head, body, after = (builder.append_basic_block(name) for name in ("head", "body", "after"))
        builder.branch(head)
        builder.position_at_end(head)
        number = builder.phi(_I64)
        carried = [builder.phi(value.type) for value in start]
        builder.cbranch(builder.icmp_signed("<", number, end), body, after)
        builder.position_at_end(body)
        values = list(carried)
        yield number, values
        number.add_incoming(begin, before)
        number.add_incoming(self.plus(number, step), builder.basic_block)
        for phi, first, last in zip(carried, start, values, strict=True):
            phi.add_incoming(first, before)
            phi.add_incoming(last, builder.basic_block)
        builder.branch(head)
        builder.position_at_end(after)
        values[:] = carried

    def corners(self, index: int, weight: int, samples: Any, sample: Any) -> Iterator[Any]:
        """Voxel and weight of the eight neighbours of a sample."""
        for pair in range(4):
            voxel = self.entry(index, self.by(samples, pair), sample)
            for side in (0, 1):
                at = self.by(samples, 2 * pair + side)
                yield self.plus(voxel, side), self.entry(weight, at, sample)
