"""Where the Fourier samples of an optics group lie: pixel size, box and magnification.

All images are sampled at the same frequencies of the particle in 1/A, those of the output's grid,
whatever their own grid. With the magnification matrix M of RELION (``q = M f`` takes a frequency f
of the image to q of the particle) and ``M^-1 = L Q``, L lower triangular and Q a rotation, the
sample k of the output's grid is at ``q = Q' k`` and ``f = L k``. The rotation joins the pose. The
transform at ``L k`` is an exact sum over the pixels, one axis after the other, since the frequency
along x does not depend on that along y: no interpolation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.core.errors import InputError

_ALIKE = 2e-4
"""Relative difference of two grids below which they are one: 0.02 pixels at shell 100."""
_WIDEST = 8
"""Times that the output may be wider than an image."""


@dataclass(frozen=True)
class Sampling:
    """How images of an optics group become samples of the output's grid.

    Attributes
    ----------
    box, edge : int
        Pixels of an image as it is, and as it is cropped or padded to: the size of the output.
    pixel_size : float
        A.
    triangle : (2, 2) float64
        Lower triangular; ``triangle @ k`` is the frequency (cycles a pixel) of the sample k.
    turn : (2, 2) float64
        Rotation; ``turn @ k`` is the direction of the sample in the frame of the pose.
    plain : bool
        The samples are those of a discrete Fourier transform of ``edge`` pixels.
    """

    box: int
    edge: int
    pixel_size: float
    triangle: Array
    turn: Array
    plain: bool

    @property
    def angle(self) -> float:
        """Angle (degrees) of the rotation."""
        return float(np.degrees(np.arctan2(self.turn[1, 0], self.turn[0, 0])))


def sampling_of(
    box: int,
    pixel_size: float,
    magnification: Array | None,
    *,
    output_box: int,
    output_pixel_size: float,
) -> Sampling:
    """Sampling of images of one grid for an output of another.

    Parameters
    ----------
    box, pixel_size : int, float
        Of the images (pixels, A).
    magnification : (2, 2) array or None
        RELION's matrix; None for the identity.
    output_box, output_pixel_size : int, float
        Of the volumes; the box is even.
    """
    width = output_box * output_pixel_size
    matrix = np.eye(2) if magnification is None else np.asarray(magnification, np.float64)
    lower, turn = np.eye(2), np.eye(2)
    if not np.allclose(matrix, np.eye(2), rtol=0, atol=1e-7):
        q, r = np.linalg.qr(np.linalg.inv(matrix).T)
        signs = np.sign(np.diag(r))
        lower, turn = r.T * signs, q * signs
    edge = max(2, round(width / pixel_size))
    same = abs(edge * pixel_size - width) <= _ALIKE * width
    plain = bool(same and edge >= output_box and np.array_equal(lower, np.eye(2)))
    if edge > _WIDEST * box:
        raise InputError(
            f"images of {box} px of {pixel_size:g} A cannot be brought to a box of {output_box} px "
            f"of {output_pixel_size:g} A, which is more than {_WIDEST} times wider; correct the "
            "pixel sizes, or take the optics groups one by one"
        )
    return Sampling(
        box=box,
        edge=edge,
        pixel_size=pixel_size,
        triangle=np.eye(2) / edge if plain else lower * (pixel_size / width),
        turn=turn,
        plain=plain,
    )


def fitted(images: Array, edge: int, seeds: Array) -> Array:
    """Images cropped or padded about their origin (the pixel N // 2).

    New pixels are white noise of the deviation of the image's own edge: anything else, such as
    zeros, would be a signal to the statistics, and would count pixels that nobody measured.

    Parameters
    ----------
    images : (n, b, b) float32
        Levelled.
    edge : int
    seeds : (n,) int array
        Number of every image that the noise depends on.

    Returns
    -------
    (n, edge, edge) float32
    """
    box = images.shape[1]
    if edge == box:
        return images
    if edge < box:
        first = box // 2 - edge // 2
        inside = slice(first, first + edge)
        return np.ascontiguousarray(images[:, inside, inside])
    deviation = edge_deviation(images)
    first = edge // 2 - box // 2
    result = np.empty((len(images), edge, edge), np.float32)
    for image, old, level, seed in zip(result, images, deviation, seeds, strict=True):
        random = np.random.default_rng([20220808, int(seed)])
        random.standard_normal(dtype=np.float32, out=image)
        image *= level
        image[first : first + box, first : first + box] = old
    return result


def edge_deviation(images: Array) -> Array:
    """Deviation of the pixels of the outermost frame of every image, (n,) float32."""
    box = images.shape[1]
    width = max(2, box // 32)
    frame = np.ones((box, box), bool)
    frame[width:-width, width:-width] = False
    return np.asarray(images[:, frame].std(axis=1, dtype=np.float64), np.float32)


def direct_samples(images: Array, sampling: Sampling, kx: Array, ky: Array) -> Array:
    """Transform of images at the frequencies of a sampling, about the origin at N // 2.

    Parameters
    ----------
    images : (n, edge, edge) float32
    sampling : Sampling
    kx, ky : (S,) int arrays
        Samples of the output's grid, kx >= 0.

    Returns
    -------
    (n, S) complex64
        Divided by the edge, so that white noise keeps its variance.
    """
    edge = sampling.edge
    place = np.arange(edge) - edge // 2
    right, down = np.arange(int(kx.max()) + 1), np.arange(-int(np.abs(ky).max()), int(ky.max()) + 1)
    triangle = sampling.triangle

    def waves(frequencies: Array) -> Array:
        return np.exp(-2j * np.pi * frequencies)

    along_x = waves(np.outer(place, triangle[0, 0] * right))
    slope = waves(np.outer(place, triangle[1, 0] * right)).astype(np.complex64)
    along_y = (waves(np.outer(triangle[1, 1] * down, place)) / edge).astype(np.complex64)
    real = np.concatenate([along_x.real, along_x.imag], axis=1).astype(np.float32)
    result = np.empty((len(images), len(kx)), np.complex64)
    for image, samples in zip(images, result, strict=True):
        both = image @ real
        rows = (both[:, : len(right)] + 1j * both[:, len(right) :]) * slope
        samples[:] = (along_y @ rows)[ky - down[0], kx]
    return result


def within_nyquist(sampling: Sampling, kx: Array, ky: Array) -> Array:
    """Which samples the pixels of an image hold, (S,) bool; the others are aliases."""
    frequency = sampling.triangle @ np.stack([kx, ky]).astype(np.float64)
    inside: Array = (np.abs(frequency) <= 0.5).all(axis=0)
    return inside


_LEAST = 0.01
"""Squared CTF, of the largest, below which premultiplied samples are not divided any further."""


def white_again(ctf: Array, envelope: Array) -> tuple[Array, Array]:
    """Factor of the samples of an image that was multiplied by its CTF, and the CTF after it.

    Such an image is ``c (c F + n)`` with noise n. Times ``|s| / (s^2 + e) / E``, where ``c = s E``
    and E is scale and envelope, it is that of the transfer ``E |s|^3 / (s^2 + e)`` with noise
    ``n s^2 / (s^2 + e)``: white but where the CTF is near zero, and no sample grows.

    Parameters
    ----------
    ctf, envelope : (S,) arrays
        c and E; where E is 0 samples stay as they are, with a CTF of 0.
    """
    known = envelope > 1e-12
    wave = np.divide(np.abs(ctf), envelope, out=np.zeros(len(ctf)), where=known)
    weight = wave / (wave * wave + _LEAST)
    factor = np.divide(weight, envelope, out=np.ones(len(ctf)), where=wave > 0)
    return factor.astype(np.float32), (envelope * weight * wave * wave).astype(np.float32)
