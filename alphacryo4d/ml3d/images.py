"""Centred Fourier samples of images with their CTF: what the iterations work on.

A sample is one Fourier pixel (kx, ky) of the half plane kx >= 0, scaled so that white noise of
variance v has power v in every sample. Samples are sorted by radius: a resolution limit is a
prefix. Poses follow RELION (rot, tilt, psi in degrees; shifts in Angstrom that centre the image).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from alphacryo4d.core.arrays import Array


def half_plane(box: int, radius: int) -> tuple[Array, Array, Array]:
    """Positions of the samples within a radius, sorted by radius, and their shells.

    The last shell before Nyquist is whole (up to half a pixel beyond the radius), as final volumes
    need it; a resolution limit ends at its radius.

    Returns
    -------
    kx, ky : (S,) int32 arrays
        Fourier pixels with kx >= 0, one of each Friedel pair, the origin first.
    shell : (S,) int32 array
        Radius rounded to whole pixels.
    """
    radius = min(radius, (box - 1) // 2)
    down, right = np.meshgrid(np.arange(-radius, radius + 1), np.arange(radius + 1), indexing="ij")
    kx, ky = right.ravel(), down.ravel()
    square = kx**2 + ky**2
    most = (radius + 0.5) ** 2 if radius == (box - 1) // 2 else radius**2
    kept = (square <= most) & ~((kx == 0) & (ky < 0))
    kx, ky, square = kx[kept], ky[kept], square[kept]
    order = np.lexsort((kx, ky, square))
    shell = np.rint(np.sqrt(square[order])).astype(np.int32)
    return kx[order].astype(np.int32), ky[order].astype(np.int32), shell


def shell_of_resolution(resolution: float, box: int, pixel_size: float) -> int:
    """Last whole Fourier shell within a resolution (A); at most the one before Nyquist."""
    return max(2, min(int(box * pixel_size / resolution + 1e-9), box // 2 - 1))


@dataclass(frozen=True)
class PreparedImages:
    """Centred Fourier samples of all particles, in row order of the table.

    Attributes
    ----------
    data : (P, S, 2) float32
        Real and imaginary part of the samples.
    ctf : (P, S) float32
    matrices : (P, 2, 3) float32
        First two rows of each rotation matrix.
    group : (P,) int32
        Noise group (optics group or micrograph), from 0.
    kx, ky, shell : (S,) int32
        Position and shell of the samples (pixels of the image's Fourier transform).
    order : (P,) int64
        Particles in an order in which neighbours look from similar directions.
    box : int
    pixel_size : float
        In Angstrom.
    symmetry : (n, 3, 3) float64
        Rotations of the point group, the identity first.
    outlier : (P,) bool, optional
        Images that nothing can be learnt from (constant, or of a contrast far from all others).
        Their CTF is 0 in every sample: they change no volume and fit all classes alike.
    """

    data: Array
    ctf: Array
    matrices: Array
    group: Array
    kx: Array
    ky: Array
    shell: Array
    order: Array
    box: int
    pixel_size: float
    symmetry: Array = field(default_factory=lambda: np.eye(3)[None])
    outlier: Array | None = None

    def __len__(self) -> int:
        return int(self.data.shape[0])

    @property
    def informative(self) -> Array:
        """Which images something can be learnt from, (P,) bool: all but the outliers."""
        return np.ones(len(self), bool) if self.outlier is None else ~self.outlier

    @property
    def radius(self) -> int:
        """Last Fourier shell that is held (pixels)."""
        return int(np.sqrt(self.kx[-1] ** 2 + self.ky[-1] ** 2) + 1e-6)

    def samples_within(self, radius: int) -> int:
        """Number of samples within a radius; they come first."""
        if radius >= self.box // 2 - 1:
            return len(self.kx)
        square = self.kx.astype(np.int64) ** 2 + self.ky.astype(np.int64) ** 2
        return int(np.searchsorted(square, radius * radius, side="right"))

    def sorted_rows(self, rows: Array) -> Array:
        """The same rows in the order of viewing directions (neighbours share cache lines)."""
        wanted = np.zeros(len(self), dtype=bool)
        wanted[rows] = True
        return self.order[wanted[self.order]]


def viewing_order(directions: Array, band: float = 4.0) -> Array:
    """Order of particles in which neighbours look from similar directions.

    Parameters
    ----------
    directions : (P, 3) array
        Unit vectors of the viewing directions; opposite ones count as equal.
    band : float
        Height of the latitude bands that are walked to and fro (degrees).
    """
    d = directions * np.where(directions[:, 2:] < 0, -1.0, 1.0)
    bands = np.rint(np.degrees(np.arccos(np.clip(d[:, 2], -1, 1))) / band).astype(np.int64)
    longitude = np.arctan2(d[:, 1], d[:, 0]) * np.where(bands % 2 == 0, 1.0, -1.0)
    return np.lexsort((longitude, bands))


def shifted_samples(images: PreparedImages, data: Array, shifts: Array) -> Array:
    """Samples (n, S, 2) float32 of images moved by shifts (n, 2) in A."""
    radius = max(int(images.kx.max()), int(np.abs(images.ky).max()))
    wave = np.arange(-radius, radius + 1) * (-2j * np.pi / (images.box * images.pixel_size))
    along_x, along_y = (np.exp(np.outer(shifts[:, axis], wave)) for axis in (0, 1))
    turn = along_x[:, images.kx + radius] * along_y[:, images.ky + radius]
    moved = data.view(np.complex64)[..., 0] * turn.astype(np.complex64)
    result: Array = np.ascontiguousarray(moved).view(np.float32).reshape(data.shape)
    return result
