"""Compiled loops from images to Fourier samples: background, centring, contrast transfer."""

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
def _turns(shift, edge, low, turn):  # type: ignore[no-untyped-def]
    """Phase factors of a shift (pixels) for frequencies from ``low`` on, with the origin moved."""
    move = (shift - edge // 2) / edge
    for k in range(len(turn)):
        angle = -2.0 * math.pi * (((k + low) * move) % 1.0)
        turn[k] = complex(math.cos(angle), math.sin(angle))


@kernel(fast=False)
def level_images(  # type: ignore[no-untyped-def]
    begin, end, images, inside, plane, level, scale, found
):
    """Measure the background of images and level them, in place; sums in float64.

    Parameters
    ----------
    inside : (b, b) bool
        Pixels of the particle; all others are background.
    plane : (3, 3) float64
        Inverse normal matrix of a plane through the background; zeros for the mean alone.
    level, scale : bool
        Take the level of the background off, and divide by its deviation; otherwise measure only.
    found : (n, 3) float64
        Gets mean and deviation of the background (of all pixels where it has none, as in masked
        images), and the deviation of all pixels about this mean.
    """
    edge, ramp = images.shape[1], plane[1, 1] > 0.0
    for i in range(begin, end):
        image = images[i]
        count = 0
        total, right, down = 0.0, 0.0, 0.0
        for y in range(edge):
            for x in range(edge):
                if not inside[y, x]:
                    value = float(image[y, x])
                    count += 1
                    total += value
                    right += value * (x - edge // 2)
                    down += value * (y - edge // 2)
        mean, slope_x, slope_y = total / max(count, 1), 0.0, 0.0
        if ramp:
            mean = plane[0, 0] * total + plane[0, 1] * right + plane[0, 2] * down
            slope_x = plane[1, 0] * total + plane[1, 1] * right + plane[1, 2] * down
            slope_y = plane[2, 0] * total + plane[2, 1] * right + plane[2, 2] * down
        outside, every = 0.0, 0.0
        for y in range(edge):
            line = mean + slope_y * (y - edge // 2)
            for x in range(edge):
                rest = float(image[y, x]) - line - slope_x * (x - edge // 2)
                every += rest * rest
                if not inside[y, x]:
                    outside += rest * rest
        every = math.sqrt(every / (edge * edge))
        deviation = math.sqrt(outside / max(count, 1))
        if deviation <= 1e-6 * every:
            deviation = every
        if deviation <= 3e-7 * abs(mean):  # the rounding of float32 pixels
            deviation = 0.0
        found[i, 0], found[i, 1], found[i, 2] = mean, deviation, every
        if not level:
            continue
        factor = 1.0
        if scale:
            factor = 1.0 / deviation if deviation > 0.0 else 0.0
        for y in range(edge):
            line = mean + slope_y * (y - edge // 2)
            for x in range(edge):
                rest = float(image[y, x]) - line - slope_x * (x - edge // 2)
                image[y, x] = rest * factor


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


_FAR = 1e6
"""Argument of a sine (radians) beyond which it is brought back first."""


@kernel(fast=False)
def transfer(  # type: ignore[no-untyped-def]
    begin, end, kx, ky, step, defocus, phase, wavelength, cs, amplitude, bfactor, scale, group,
    even, ctf,
):  # fmt: skip
    """Contrast transfer of the samples of some images, from geometry that all of them share.

    Parameters
    ----------
    step : float
        Frequency of one pixel of the samples (1/A).
    defocus : (n, 3) float64
        U and V (A), angle (degrees) against the axes of the samples.
    phase : (n,) float64
        Degrees.
    wavelength, cs, amplitude, bfactor, scale : (n,) float64
        A, A, fraction, A^2, factor.
    group, even : (n,) int64, (u, S) float64
        Even aberration of every image (radians); no columns where there is none.
    ctf : (n, S) float32
    """
    samples = len(kx)
    square, cosine, sine_of = np.empty((3, samples))
    for s in range(samples):
        x, y = float(kx[s]), float(ky[s])
        square[s] = x * x + y * y
        cosine[s] = (x * x - y * y) / square[s] if square[s] > 0 else 1.0
        sine_of[s] = 2.0 * x * y / square[s] if square[s] > 0 else 0.0
    angle = np.empty(samples)
    for i in range(begin, end):
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
        if even.shape[1] > 0:
            offset = even[group[i]]
            for s in range(samples):
                angle[s] -= offset[s]
        most = 0.0
        for s in range(samples):
            most = max(most, abs(angle[s]))
        if not most < _FAR:
            for s in range(samples):
                near = angle[s] % (2.0 * math.pi)
                angle[s] = near if abs(near) < 7.0 else 0.0
        line = ctf[i]
        for s in range(samples):
            line[s] = sine(angle[s])
        if bfactor[i] != 0.0 or scale[i] != 1.0:
            for s in range(samples):
                fall = -0.25 * bfactor[i] * step**2 * square[s]
                line[s] *= scale[i] * math.exp(min(max(fall, -60.0), 60.0))
