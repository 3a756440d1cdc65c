"""Compiled loops beside projection: image samples, and the linear algebra of maximisation."""

from __future__ import annotations

import math

import numba
import numpy as np

from alphacryo4d.ml3d.compiled.cache import kernel

_ROUND = 1.5 * 2.0**52
"""Added and taken off again, it rounds a number to the next whole one."""


@numba.njit(inline="always", fastmath={"contract"})
def sine(angle):  # type: ignore[no-untyped-def]
    """Sine to 1e-8 for angles within a million radians: a series that a loop does in vectors."""
    turns = (angle * (1.0 / math.pi) + _ROUND) - _ROUND
    rest = angle - turns * math.pi
    odd = turns - 2.0 * ((0.5 * turns + _ROUND) - _ROUND)
    square = rest * rest
    series = 1.0 / 6227020800.0
    for term in (-1.0 / 39916800.0, 1.0 / 362880.0, -1.0 / 5040.0, 1.0 / 120.0, -1.0 / 6.0, 1.0):
        series = series * square + term
    return (1.0 - 2.0 * odd * odd) * rest * series


@numba.njit(inline="always")
def _turns(shift, box, low, turn):  # type: ignore[no-untyped-def]
    """Phase factors of a shift (pixels) for frequencies from ``low`` on, with the origin moved."""
    for k in range(len(turn)):
        angle = -2.0 * math.pi * (k + low) * shift / box
        parity = 1 - 2 * ((k + low) & 1)
        turn[k] = complex(parity * math.cos(angle), parity * math.sin(angle))


@kernel(fast=False)
def take_samples(  # type: ignore[no-untyped-def]
    begin, end, spectra, kx, ky, box, shifts, defocus, phase, wavelength, cs, amplitude,
    pixel_size, data, ctf,
):  # fmt: skip
    """Samples of a block of image spectra, centred by the shifts (pixels), and their CTF.

    Row by row the spectrum is turned by its phase factors, and the CTF is found from geometry
    that all images share: loops that run in vectors.
    """
    samples = len(kx)
    limit = max(kx.max(), np.abs(ky).max())
    wide = limit + 1
    place = np.empty(samples, np.int64)
    square, cosine, sine_of = np.empty((3, samples))
    for s in range(samples):
        x, y = float(kx[s]), float(ky[s])
        place[s] = (ky[s] + limit) * wide + kx[s]
        square[s] = x * x + y * y
        cosine[s] = (x * x - y * y) / square[s] if square[s] > 0 else 1.0
        sine_of[s] = 2.0 * x * y / square[s] if square[s] > 0 else 0.0
    turn_x, turn_y = np.empty(wide, np.complex128), np.empty(2 * limit + 1, np.complex128)
    turned = np.empty(((2 * limit + 1) * wide, 2), np.float32)
    angle = np.empty(samples)
    for i in range(begin, end):
        _turns(shifts[i, 0], box, 0, turn_x)
        _turns(shifts[i, 1], box, -limit, turn_y)
        for y in range(2 * limit + 1):
            row = spectra[i, y - limit if y >= limit else y - limit + box]
            out = turned[y * wide : (y + 1) * wide]
            factor = turn_y[y] / box
            for x in range(wide):
                value = row[x] * (factor * turn_x[x])
                out[x, 0] = value.real
                out[x, 1] = value.imag
        for s in range(samples):
            data[i, s, 0] = turned[place[s], 0]
            data[i, s, 1] = turned[place[s], 1]
        step = 1.0 / (box * pixel_size[i])
        mean = 0.5 * (defocus[i, 0] + defocus[i, 1])
        half = 0.5 * (defocus[i, 0] - defocus[i, 1])
        cos2 = half * math.cos(2.0 * math.radians(defocus[i, 2]))
        sin2 = half * math.sin(2.0 * math.radians(defocus[i, 2]))
        first = math.pi * wavelength[i] * step**2
        second = 0.5 * math.pi * cs[i] * wavelength[i] ** 3 * step**4
        third = math.radians(phase[i]) + math.atan(
            amplitude[i] / math.sqrt(max(1e-12, 1.0 - amplitude[i] ** 2))
        )
        for s in range(samples):
            focus = mean + cosine[s] * cos2 + sine_of[s] * sin2
            angle[s] = (first * focus - second * square[s]) * square[s] + third
        line = ctf[i]
        for s in range(samples):
            line[s] = sine(angle[s])


@numba.njit(inline="always")
def reach(size, limit, z, y):  # type: ignore[no-untyped-def]
    """Number of voxels of a row along x of a padded half grid that samples can reach.

    ``limit`` is the radius of the samples in voxels of the grid of edge ``size``.
    """
    dz = max(0, min(z, size - z) - 1)
    dy = max(0, min(y, size - y) - 1)
    left = limit * limit - dz * dz - dy * dy
    if left < 0:
        return 0
    return min(size // 2 + 1, int(math.sqrt(left)) + 2)


@kernel
def apply_voxel_matrices(begin, end, matrices, shell_map, by_shell, spectra, out):  # type: ignore[no-untyped-def]
    """Multiply the columns of every voxel by its matrix (or its shell's); 0 outside the shells.

    ``spectra`` and ``out`` (q, voxels) complex64; ``matrices`` (voxels or shells, q, q).
    """
    q = spectra.shape[0]
    re = np.empty(q, np.float32)
    im = np.empty(q, np.float32)
    for v in range(begin, end):
        shell = shell_map[v]
        if shell < 0:
            for k in range(q):
                out[k, v] = 0
            continue
        m = matrices[shell] if by_shell else matrices[v]
        for k in range(q):
            re[k] = spectra[k, v].real
            im[k] = spectra[k, v].imag
        for i in range(q):
            a = np.float32(0)
            b = np.float32(0)
            for k in range(q):
                a += m[i, k] * re[k]
                b += m[i, k] * im[k]
            out[i, v] = complex(a, b)


@kernel
def _add_products(real, imag, weights, one, other):  # type: ignore[no-untyped-def]
    """Add weights times real and imaginary parts."""
    for x in range(len(weights)):
        real[x] += weights[x] * one[x]
    for x in range(len(weights)):
        imag[x] += weights[x] * other[x]


@kernel
def apply_weights(begin, end, weights, size, limit, planes, spectra):  # type: ignore[no-untyped-def]
    """Multiply the columns of every voxel by its data weights, in place.

    Parameters
    ----------
    begin, end : int
        Range of rows along x of the padded half grid.
    weights : (r, voxels) float32
        Packed upper triangles, one entry of all voxels after the other.
    size, limit : int
        Edge of the padded grid; weights vanish where :func:`reach` says so.
    planes : (q, q) int64
        Row of ``weights`` that holds an entry of the matrices.
    spectra : (q, voxels) complex64
    """
    q, half = len(spectra), size // 2 + 1
    real, imag = np.empty((q, half), np.float32), np.empty((q, half), np.float32)
    one, other = np.empty(half, np.float32), np.empty(half, np.float32)
    for row in range(begin, end):
        first = row * half
        count = reach(size, limit, row // size, row % size)
        for k in range(q):
            for x in range(count):
                real[k, x] = spectra[k, first + x].real
            for x in range(count):
                imag[k, x] = spectra[k, first + x].imag
        for i in range(q):
            for x in range(count):
                one[x] = other[x] = 0
            for k in range(q):
                line = weights[planes[i, k], first : first + count]
                _add_products(one, other, line, real[k], imag[k])
            for x in range(count):
                spectra[i, first + x] = complex(one[x], other[x])
            for x in range(count, half):
                spectra[i, first + x] = 0
