"""Loops over the samples of a particle whose sums stay in the processor's registers.

The addresses and weights of a particle's samples are computed beforehand, side by side, so that
this runs in vectors; the operations here then read or write the grid, or multiply the matrix of
gathered values with itself, one block of columns after the other. All arrays are flat and
float32, except ``index`` (int32): the voxels of a sample's four pairs of neighbours along x, at
``index[pair * pitch + sample]``. Weights of the eight neighbours lie at
``weight[neighbour * pitch + sample]``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

FAST_FLAGS = ("contract", "reassoc", "nsz", "arcp")
_INT = ir.IntType(64)


class BlockCode:
    """Pieces of code that the operations share: vectors of 32-bit numbers, loops, places."""

    def __init__(self, context: Any, builder: Any, signature: Any, values: Any) -> None:
        self.context, self.builder = context, builder
        self.types, self.values = signature.args, values

    def whole(self, argument: int) -> Any:
        """An argument as an integer."""
        return self.context.cast(
            self.builder, self.values[argument], self.types[argument], types.intp
        )

    def number(self, argument: int) -> Any:
        """An argument as a 32-bit number."""
        return self.context.cast(
            self.builder, self.values[argument], self.types[argument], types.float32
        )

    def array(self, argument: int) -> Any:
        """Where the numbers of an array start."""
        array = self.context.make_array(self.types[argument])
        return array(self.context, self.builder, self.values[argument]).data

    @staticmethod
    def constant(value: int) -> Any:
        """An integer."""
        return ir.Constant(_INT, value)

    def plus(self, *terms: Any) -> Any:
        """Sum of integers (constants or values)."""
        total = None
        for term in terms:
            value = ir.Constant(_INT, term) if isinstance(term, int) else term
            total = value if total is None else self.builder.add(total, value)
        return total

    def by(self, a: Any, b: Any) -> Any:
        """Product of integers (constants or values)."""
        b = ir.Constant(_INT, b) if isinstance(b, int) else b
        return self.builder.mul(a, b)

    def entry(self, data: Any, place: Any) -> Any:
        """One number of an array."""
        return self.builder.load(self.builder.gep(data, [place]))

    def _pointer(self, data: Any, place: Any, lanes: int) -> Any:
        kind = ir.VectorType(ir.FloatType(), lanes).as_pointer()
        return self.builder.bitcast(self.builder.gep(data, [place]), kind)

    def load(self, data: Any, place: Any, lanes: int) -> Any:
        """Numbers of an array that follow each other."""
        return self.builder.load(self._pointer(data, place, lanes), align=4)

    def store(self, value: Any, data: Any, place: Any, lanes: int) -> None:
        """Put a vector into an array."""
        self.builder.store(value, self._pointer(data, place, lanes), align=4)

    def spread(self, value: Any, lanes: int) -> Any:
        """A number in all lanes."""
        undefined = ir.Constant(ir.VectorType(ir.FloatType(), lanes), ir.Undefined)
        one = self.builder.insert_element(undefined, value, ir.Constant(ir.IntType(32), 0))
        mask = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
        return self.builder.shuffle_vector(one, undefined, mask)

    def times(self, a: Any, b: Any) -> Any:
        """Product of two vectors."""
        return self.builder.fmul(a, b, flags=FAST_FLAGS)

    def add(self, a: Any, b: Any) -> Any:
        """Sum of two vectors."""
        return self.builder.fadd(a, b, flags=FAST_FLAGS)

    def fma(self, a: Any, b: Any, c: Any) -> Any:
        """``a * b + c``."""
        return self.add(self.times(a, b), c)

    def lane_sum(self, value: Any) -> Any:
        """Sum of the lanes of a vector, pair by pair."""
        lanes = value.type.count
        while lanes > 1:
            lanes //= 2
            kind = ir.VectorType(ir.IntType(32), lanes)
            low, high = ([ir.Constant(ir.IntType(32), k + at) for k in range(lanes)]
                         for at in (0, lanes))  # fmt: skip
            value = self.add(
                self.builder.shuffle_vector(value, value, ir.Constant(kind, low)),
                self.builder.shuffle_vector(value, value, ir.Constant(kind, high)),
            )
        return self.builder.extract_element(value, ir.Constant(ir.IntType(32), 0))

    def register(self, lanes: int) -> Any:
        """A vector of zeros to add to, kept in a register by the code generator."""
        zero = ir.Constant(ir.VectorType(ir.FloatType(), lanes), [0.0] * lanes)
        place = cgutils.alloca_once(self.builder, zero.type)
        self.builder.store(zero, place)
        return place

    def grow(self, register: Any, part: Any) -> None:
        """Add to a vector in a register."""
        self.builder.store(self.add(self.builder.load(register), part), register)

    @contextmanager
    def loop(self, begin: Any, end: Any) -> Iterator[Any]:
        """Code for every integer from ``begin`` on, below ``end``."""
        with cgutils.for_range_slice(self.builder, begin, end, ir.Constant(_INT, 1)) as (at, _):
            yield at

    def neighbours(self, index: int, weight: int, pitch: Any, sample: Any) -> Iterator[Any]:
        """Voxel and weight of the eight neighbours of a sample."""
        for pair in range(4):
            place = self.plus(self.by(pitch, pair), sample)
            voxel = self.builder.sext(self.entry(self.array(index), place), _INT)
            for side in (0, 1):
                at = self.plus(self.by(pitch, 2 * pair + side), sample)
                yield self.plus(voxel, side), self.entry(self.array(weight), at)


def _gather(lanes: int) -> Any:
    @intrinsic
    def gather(typingctx, grid, index, weight, pitch, begin, end, column, width, values):  # type: ignore[no-untyped-def]  # noqa: ARG001
        def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
            code = BlockCode(context, builder, signature, args)
            pitch, begin, end = (code.whole(k) for k in (3, 4, 5))
            column, width = code.whole(6), code.whole(7)
            with code.loop(begin, end) as sample:
                total = None
                for voxel, factor in code.neighbours(1, 2, pitch, sample):
                    row = code.load(code.array(0), code.plus(code.by(voxel, width), column), lanes)
                    part = code.spread(factor, lanes)
                    total = code.times(part, row) if total is None else code.fma(part, row, total)
                place = code.plus(code.by(builder.sub(sample, begin), width), column)
                code.store(total, code.array(8), place, lanes)
            return context.get_dummy_value()

        arguments = grid, index, weight, pitch, begin, end, column, width, values
        return types.void(*arguments), generate

    return gather


gather_rows = _gather(16)
"""``gather_rows(grid, index, weight, pitch, begin, end, column, width, values)``: interpolated
values of the samples ``begin:end`` in 16 columns of a grid of ``width`` columns, in the rows of
``values`` from the first one."""


def _gram(rows: int) -> Any:
    @intrinsic
    def block(  # type: ignore[no-untyped-def]
        typingctx,  # noqa: ARG001
        values,
        count,
        columns,
        row,
        column,
        scale,
        total,
        second,
        place,
    ):
        def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
            code = BlockCode(context, builder, signature, args)
            count, columns, row, column = (code.whole(k) for k in (1, 2, 3, 4))
            place, values = code.whole(8), code.array(0)
            sums = [code.register(8) for _ in range(rows)]
            with code.loop(code.constant(0), code.by(count, 2)) as line:
                start = code.by(line, columns)
                right = code.load(values, code.plus(start, column), 8)
                for k in range(rows):
                    left = code.entry(values, code.plus(start, row, k))
                    code.grow(sums[k], code.times(code.spread(left, 8), right))
            scale, found = code.spread(code.number(5), 8), None
            for k in range(rows):
                at = code.plus(place, code.by(code.plus(row, k), columns), column)
                value = builder.load(sums[k])
                code.store(
                    code.fma(scale, value, code.load(code.array(6), at, 8)), code.array(6), at, 8
                )
                part = code.times(value, code.load(code.array(7), at, 8))
                found = part if found is None else code.add(found, part)
            return code.lane_sum(found)

        arguments = values, count, columns, row, column, scale, total, second, place
        return types.float32(*arguments), generate

    return block


gram_block = _gram(8)
"""``gram_block(values, count, columns, row, column, scale, total, second, place)``: products of 8
columns of ``values`` (2 count, columns), from ``row`` on, with 8 others, from ``column`` on,
summed over its rows. Adds them times ``scale`` to the matrix at ``total[place:]``, and gives the
sum of the products with the entries of the matrix at ``second[place:]``."""
gram_half_block = _gram(4)
"""The same for 4 columns with 8 others."""


@intrinsic
def data_block(  # type: ignore[no-untyped-def]
    typingctx,  # noqa: ARG001
    values,
    data,
    begin,
    end,
    columns,
    column,
    scale,
    total,
    means,
    place,
):
    """The same as :func:`gram_block` for 8 columns with the ``data`` (2 numbers a sample)."""

    def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
        code = BlockCode(context, builder, signature, args)
        begin, end, columns, column = (code.whole(k) for k in (2, 3, 4, 5))
        place, values = code.whole(9), code.array(0)
        sums = [code.register(8) for _ in range(2)]
        with code.loop(begin, end) as sample:
            row = code.by(builder.sub(sample, begin), 2)
            for k in range(2):
                start = code.plus(code.by(code.plus(row, k), columns), column)
                datum = code.entry(code.array(1), code.plus(code.by(sample, 2), k))
                code.grow(sums[k], code.times(code.spread(datum, 8), code.load(values, start, 8)))
        value = code.add(builder.load(sums[0]), builder.load(sums[1]))
        at = code.plus(place, column)
        scale = code.spread(code.number(6), 8)
        code.store(code.fma(scale, value, code.load(code.array(7), at, 8)), code.array(7), at, 8)
        return code.lane_sum(code.times(value, code.load(code.array(8), at, 8)))

    arguments = values, data, begin, end, columns, column, scale, total, means, place
    return types.float32(*arguments), generate


def _scatter(lanes: int) -> Any:
    @intrinsic
    def scatter(typingctx, grid, index, weight, pitch, count, column, width, data, real, imag):  # type: ignore[no-untyped-def]  # noqa: ARG001
        def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
            code = BlockCode(context, builder, signature, args)
            pitch, count, column, width = (code.whole(k) for k in (3, 4, 5, 6))
            re, im = (code.load(code.array(k), column, lanes) for k in (8, 9))
            with code.loop(code.constant(0), count) as sample:
                a, d = (
                    code.spread(code.entry(code.array(7), code.plus(code.by(sample, 2), k)), lanes)
                    for k in (0, 1)
                )
                share = code.fma(a, re, code.times(d, im))
                for voxel, factor in code.neighbours(1, 2, pitch, sample):
                    at = code.plus(code.by(voxel, width), column)
                    old = code.load(code.array(0), at, lanes)
                    new = code.fma(code.spread(factor, lanes), share, old)
                    code.store(new, code.array(0), at, lanes)
            return context.get_dummy_value()

        arguments = grid, index, weight, pitch, count, column, width, data, real, imag
        return types.void(*arguments), generate

    return scatter


scatter_rows = _scatter(16)
"""``scatter_rows(grid, index, weight, pitch, count, column, width, data, real, imag)``: adds
``data[s, 0] * real + data[s, 1] * imag`` times the weights of its neighbours to 16 columns of a
grid, for the first ``count`` samples s."""
scatter_half_rows = _scatter(8)
"""The same for 8 columns."""


@intrinsic
def add_rows(typingctx, grid, index, begin, end, weight, begin_weight, row, width):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """Add ``weight[s]`` times a row to the row ``index[s]`` of a grid, both ``width`` wide.

    ``index[begin:end]`` gives the rows, the weights start at ``begin_weight``; ``row`` is its
    flat array from where on it counts, ``width`` whole vectors of 8.
    """

    def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
        code = BlockCode(context, builder, signature, args)
        begin, end, shift, width = (code.whole(k) for k in (2, 3, 5, 7))
        with code.loop(begin, end) as sample:
            voxel = builder.sext(code.entry(code.array(1), sample), _INT)
            start = code.by(voxel, width)
            at = code.plus(builder.sub(sample, begin), shift)
            factor = code.spread(code.entry(code.array(4), at), 8)
            with cgutils.for_range_slice(builder, code.constant(0), width, code.constant(8)) as (
                k,
                _,
            ):
                place = code.plus(start, k)
                old = code.load(code.array(0), place, 8)
                new = code.fma(factor, code.load(code.array(6), k, 8), old)
                code.store(new, code.array(0), place, 8)
        return context.get_dummy_value()

    arguments = grid, index, begin, end, weight, begin_weight, row, width
    return types.void(*arguments), generate


def _every_second(first: int) -> list[int]:
    return [2 * k + first for k in range(16)]


@intrinsic
def split_complex(typingctx, source, begin, real, imag, at):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """Real and imaginary parts of 16 complex numbers, from ``source[begin:]`` (pairs), apart."""

    def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
        code = BlockCode(context, builder, signature, args)
        both = code.load(code.array(0), code.whole(1), 32)
        kind = ir.VectorType(ir.IntType(32), 16)
        for part in range(2):
            order = ir.Constant(kind, _every_second(part))
            value = builder.shuffle_vector(both, both, order)
            code.store(value, code.array(2 + part), code.whole(4), 16)
        return context.get_dummy_value()

    return types.void(source, begin, real, imag, at), generate


@intrinsic
def weigh_columns(typingctx, weights, voxel, planes, row, count, real, imag, out, begin):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """A column of 16 voxels' matrices times their vectors, as complex numbers (pairs) to ``out``.

    The entry (row, k) of the matrices lies at ``weights[planes[row * count + k] + voxel:]``, the
    parts of the vectors at ``real[16 * k:]`` and ``imag[16 * k:]``.
    """

    def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
        code = BlockCode(context, builder, signature, args)
        voxel, row, count = code.whole(1), code.whole(3), code.whole(4)
        sums = [code.register(16) for _ in range(2)]
        start = code.by(row, count)
        with code.loop(code.constant(0), count) as k:
            plane = code.entry(code.array(2), code.plus(start, k))
            weight = code.load(code.array(0), code.plus(plane, voxel), 16)
            for part in range(2):
                value = code.load(code.array(5 + part), code.by(k, 16), 16)
                code.grow(sums[part], code.times(weight, value))
        order = [16 * part + k for k in range(16) for part in range(2)]
        mixed = builder.shuffle_vector(
            builder.load(sums[0]),
            builder.load(sums[1]),
            ir.Constant(ir.VectorType(ir.IntType(32), 32), order),
        )
        code.store(mixed, code.array(7), code.whole(8), 32)
        return context.get_dummy_value()

    arguments = weights, voxel, planes, row, count, real, imag, out, begin
    return types.void(*arguments), generate
