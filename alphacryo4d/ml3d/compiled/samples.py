"""Compiled loops from images to Fourier samples: centring."""

from __future__ import annotations

import math

import numba
import numpy as np

from alphacryo4d.ml3d.compiled.cache import kernel


@numba.njit(inline="always")
def _turns(shift, edge, low, turn):  # type: ignore[no-untyped-def]
    """Phase factors of a shift (pixels) for frequencies from ``low`` on, with the origin moved."""
    move = (shift - edge // 2) / edge
    for k in range(len(turn)):
        angle = -2.0 * math.pi * (((k + low) * move) % 1.0)
        turn[k] = complex(math.cos(angle), math.sin(angle))


@kernel(fast=False)
def take_samples(begin, end, spectra, kx, ky, edge, shifts, data):  # type: ignore[no-untyped-def]
    """Samples of a block of image spectra, centred by the shifts (pixels).

    Row by row the spectrum is turned by its phase factors: a loop that runs in vectors.
    """
    samples = len(kx)
    limit = 0
    for s in range(samples):
        limit = max(limit, kx[s], abs(ky[s]))
    wide = limit + 1
    place = np.empty(samples, np.int64)
    for s in range(samples):
        place[s] = (ky[s] + limit) * wide + kx[s]
    turn_x, turn_y = np.empty(wide, np.complex128), np.empty(2 * limit + 1, np.complex128)
    turned = np.empty(((2 * limit + 1) * wide, 2), np.float32)
    for i in range(begin, end):
        _turns(shifts[i, 0], edge, 0, turn_x)
        _turns(shifts[i, 1], edge, -limit, turn_y)
        for y in range(2 * limit + 1):
            row = spectra[i, y - limit if y >= limit else y - limit + edge]
            out = turned[y * wide : (y + 1) * wide]
            factor = turn_y[y] / edge
            for x in range(wide):
                value = row[x] * (factor * turn_x[x])
                out[x, 0] = value.real
                out[x, 1] = value.imag
        for s in range(samples):
            data[i, s, 0] = turned[place[s], 0]
            data[i, s, 1] = turned[place[s], 1]
