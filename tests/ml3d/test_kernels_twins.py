"""What is emitted in vectors against its twin in plain numba, and both against numpy."""

import numba
import numpy as np
import pytest

from alphacryo4d.ml3d.compiled import emitted, operations, plain
from alphacryo4d.ml3d.compiled.vectors import WIDE

pytestmark = pytest.mark.skipif(not WIDE, reason="this processor has no vectors of eight float32")
_RNG = np.random.default_rng(7)
_SAMPLES, _VOXELS = 21, 60


def numbers(*shape):
    return _RNG.standard_normal(shape).astype(np.float32).ravel()


def corners():
    index = _RNG.integers(0, _VOXELS - 1, 4 * _SAMPLES + operations.AHEAD).astype(np.int32)
    return index, numbers(8 * _SAMPLES)


def matrix(index, weight):
    """Weights of the voxels in every sample, (samples, voxels) float64."""
    out = np.zeros((_SAMPLES, _VOXELS))
    for j in range(8):
        for s in range(_SAMPLES):
            out[s, index[j // 2 * _SAMPLES + s] + j % 2] += weight[j * _SAMPLES + s]
    return out


def both(name, *arguments):
    """Results and changed arrays of the twins; arrays are copied for each."""
    results = []
    for module in (emitted, plain):
        operation = getattr(module, name)

        @numba.njit
        def run(*arguments):
            return operation(*arguments)  # noqa: B023

        mine = [a.copy() if isinstance(a, np.ndarray) else a for a in arguments]
        results.append((run(*mine), mine))
    return results


def agree(one, other, expected):
    for value in (one, other):
        assert np.allclose(value, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("count", [1, 5])
def test_scores(count):
    index, weight = corners()
    width, offset, begin, end, at = 8 * count + 8, 8, 3, 19, 2
    grid, data = numbers(_VOXELS, width), numbers(3, _SAMPLES)
    cross, norm, power = np.zeros(30, np.float32), np.zeros(30, np.float32), np.zeros(2, np.float32)
    arguments = (grid, width, offset, index, weight, data, _SAMPLES, begin, end, cross, norm, at)

    def with_count(*arguments):
        return plain.score_columns(count, *arguments)

    one = [a.copy() if isinstance(a, np.ndarray) else a for a in (*arguments, power)]
    other = [a.copy() if isinstance(a, np.ndarray) else a for a in (*arguments, power)]
    score = getattr(emitted, f"score_{count}")
    numba.njit(lambda *a: score(*a))(*one)
    with_count(*other)
    values = (matrix(index, weight) @ grid.reshape(_VOXELS, width))[begin:end, offset:]
    values = values.reshape(-1, count, 2, 4)
    re, im = (data.reshape(3, -1)[k, begin:end, None, None] for k in (0, 1))
    expected = (values[:, :, 0] * re + values[:, :, 1] * im).sum(axis=0).ravel()
    agree(one[9][at : at + 4 * count], other[9][at : at + 4 * count], expected)
    agree(one[10][at : at + 4 * count], other[10][at : at + 4 * count],
          (values**2).sum(axis=(0, 2)).ravel())  # fmt: skip
    whole = np.square(data.reshape(3, -1)[:, begin:end]).sum(axis=1)
    agree(one[12], other[12], np.array([whole[0] + whole[1], whole[2]]))


def test_samples_are_scattered():
    index, weight = corners()
    grid, data = numbers(_VOXELS, 4), numbers(3, _SAMPLES)
    (_, one), (_, other) = both("scatter_samples", grid, index, weight, data, _SAMPLES)
    added = matrix(index, weight).T @ data.reshape(3, -1).T
    expected = grid.reshape(_VOXELS, 4).astype(float)
    expected[:, :3] += added
    agree(one[0], other[0], expected.ravel())


def test_rows_are_gathered():
    index, weight = corners()
    grid, values = numbers(_VOXELS, 32), np.zeros(_SAMPLES * 32, np.float32)
    (_, one), (_, other) = both("gather_rows", grid, index, weight, _SAMPLES, 4, 20, 32, values)
    expected = np.zeros((_SAMPLES, 32))
    expected[:16] = (matrix(index, weight) @ grid.reshape(_VOXELS, 32))[4:20]
    agree(one[-1], other[-1], expected.ravel())


@pytest.mark.parametrize("width", [8, 16, 40])
def test_rows_are_scattered(width):
    index, weight = corners()
    grid, data, real, imag = (
        numbers(_VOXELS, width),
        numbers(_SAMPLES, 2),
        *numbers(2, width).reshape(2, -1),
    )
    (_, one), (_, other) = both(
        "scatter_rows", grid, index, weight, _SAMPLES, width, data, real, imag
    )
    rows = data.reshape(-1, 2).astype(float) @ np.stack([real, imag])
    expected = grid.reshape(_VOXELS, width) + matrix(index, weight).T @ rows
    agree(one[0], other[0], expected.ravel())


def test_rows_are_added():
    index, weight = corners()
    grid, row = numbers(_VOXELS, 24), numbers(24)
    (_, one), (_, other) = both("add_rows", grid, index, 2, 20, weight, 5, row, 24)
    expected = grid.reshape(_VOXELS, 24).astype(float)
    np.add.at(expected, index[2:20], weight[5:23, None].astype(float) * row)
    agree(one[0], other[0], expected.ravel())


@pytest.mark.parametrize("rows", [8, 4])
def test_columns_are_multiplied_with_each_other(rows):
    name, count, columns = "gram_block" if rows == 8 else "gram_half_block", 6, 16
    values, total, second = numbers(2 * count, columns), numbers(280), numbers(280)
    row, column, scale, place = 0, 8, 0.5, 11
    (a, one), (b, other) = both(
        name, values, count, columns, row, column, scale, total, second, place
    )
    mine = values.reshape(-1, columns).astype(float)
    product = np.zeros((columns, columns))
    product[:rows, 8:16] = mine[:, :rows].T @ mine[:, 8:16]
    expected = total.astype(float)
    expected[place : place + columns**2] += scale * product.ravel()
    agree(one[6], other[6], expected)
    agree(a, b, np.array(product.ravel() @ second[place : place + columns**2]))


def test_columns_are_multiplied_with_the_data():
    begin, end, columns, column, scale, place = 3, 12, 16, 8, 2.0, 5
    values, data, total, means = numbers(18, columns), numbers(15, 2), numbers(30), numbers(30)
    (a, one), (b, other) = both(
        "data_block", values, data, begin, end, columns, column, scale, total, means, place
    )
    product = data[2 * begin : 2 * end].astype(float) @ values.reshape(-1, columns)[:, 8:]
    expected = total.astype(float)
    expected[place + 8 : place + 16] += scale * product
    agree(one[7], other[7], expected)
    agree(a, b, np.array(product @ means[place + 8 : place + 16]))
