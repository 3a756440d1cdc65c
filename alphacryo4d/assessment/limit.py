"""The reference classifier: what the data hold for who knows the true volumes and given poses.

It knows the conformers, takes white noise and equal priors, and compares every image with a
trilinear slice of each Fourier transform (no padding) at the pose that the table gives. It is a
reference, not a bound: refined poses, or references blurred like the poses, can beat it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft, sparse
from scipy.special import softmax

from alphacryo4d.assessment.conformers import Atoms, Conformer
from alphacryo4d.assessment.imaging import FloatArray
from alphacryo4d.core.arrays import Array
from alphacryo4d.core.errors import InputError
from alphacryo4d.core.progress import Progress, no_progress
from alphacryo4d.maths.ctf import contrast_transfer
from alphacryo4d.maths.rotations import euler_matrices

CHUNK = 128


@dataclass(frozen=True)
class ImagingTable:
    """Poses and optics of the particles: angles (P, 3) deg, shifts (P, 2) A, defocus (P, 3)."""

    angles: FloatArray
    shifts: FloatArray
    defocus: FloatArray
    box: int
    pixel_size: float
    voltage: float
    spherical_aberration: float
    amplitude_contrast: float


@dataclass(frozen=True)
class ReferenceResult:
    """Labels (P,) from 1, and the posterior of the label (P,) in (0, 1]."""

    labels: npt.NDArray[np.int32]
    certainty: FloatArray
    scale: float
    noise_variance: float


def fourier_grid(
    conformer: Conformer, *, box: int, pixel_size: float, radius: int, atom_sigma: float
) -> npt.NDArray[np.complex128]:
    """Fourier transform on the frequencies -radius ... radius of the box, exact to 1e-6.

    Returns
    -------
    (2 radius + 1,) * 3 complex array
        Axes z, y, x; origin of space in the centre of the box.
    """
    import finufft

    size = 2 * radius + 1
    index = np.arange(-radius, radius + 1) / (box * pixel_size)
    squared = index[:, None, None] ** 2 + index[:, None] ** 2 + index**2
    if isinstance(conformer, Atoms):
        x, y, z = np.ascontiguousarray(conformer.positions.T) * (2 * np.pi / (box * pixel_size))
        weights = conformer.weights.astype(np.complex128)
        grid = finufft.nufft3d1(z, y, x, weights, (size,) * 3, eps=1e-6, isign=-1, nthreads=1)
        return np.asarray(grid * np.exp(-2 * (np.pi * atom_sigma) ** 2 * squared))
    angular = 2 * np.pi * conformer.voxel_size * index
    z, y, x = (axis.reshape(-1) for axis in np.meshgrid(angular, angular, angular, indexing="ij"))
    density = conformer.density.astype(np.complex128)
    values = finufft.nufft3d2(z, y, x, density, eps=1e-6, isign=-1, nthreads=1)
    return np.asarray(values.reshape((size,) * 3))


def _trilinear(points: Array, radius: int) -> sparse.csr_matrix:
    """Trilinear interpolation at points (S, 3), x y z in grid units, as a sparse matrix."""
    size = 2 * radius + 1
    corner = np.floor(points)
    fraction = (points - corner).astype(np.float32)
    base = corner.astype(np.int32) + radius
    rows = len(points)
    columns = np.empty((rows, 8), np.int32)
    weights = np.empty((rows, 8), np.float32)
    for number in range(8):
        step = np.array([number & 1, number >> 1 & 1, number >> 2 & 1])
        at = base + step
        columns[:, number] = (at[:, 2] * size + at[:, 1]) * size + at[:, 0]
        weights[:, number] = np.where(step, fraction, 1 - fraction).prod(axis=1)
    starts = np.arange(0, 8 * rows + 1, 8, dtype=np.int32)
    return sparse.csr_matrix((weights.ravel(), columns.ravel(), starts), shape=(rows, size**3))


def _half_plane(box: int, limit: int) -> tuple[Array, FloatArray]:
    """One sample of each Friedel pair up to a shell: which (box, box // 2 + 1), and where (S, 2).

    Positions are x and y in pixels.
    """
    ky, kx = np.meshgrid(np.fft.fftfreq(box, 1 / box), np.arange(box // 2 + 1), indexing="ij")
    used = (kx**2 + ky**2 <= limit**2) & ((kx > 0) | (ky > 0))
    return used, np.stack([kx[used], ky[used]], axis=1)


def _slices_grid(
    conformers: Sequence[Conformer], box: int, pixel_size: float, radius: int, atom_sigma: float
) -> Array:
    """Fourier grids of all conformers side by side, (voxels, 2 K) float32."""
    grids = [
        fourier_grid(
            one, box=box, pixel_size=pixel_size, radius=radius, atom_sigma=atom_sigma
        ).ravel()
        for one in conformers
    ]
    return np.ascontiguousarray(np.stack(grids, axis=1), dtype=np.complex64).view(np.float32)


def reference_scores(
    conformers: Sequence[Conformer],
    read_images: Callable[[Array], Array],
    table: ImagingTable,
    *,
    resolution: float,
    atom_sigma: float = 1.0,
    threads: int = 1,
    progress: Progress = no_progress,
) -> tuple[FloatArray, FloatArray, FloatArray, int]:
    """Products of every image with every conformer's slice.

    Parameters
    ----------
    conformers : sequence of K conformers
        Centred as for the simulation.
    read_images : callable
        Rows to images (n, box, box).
    table : ImagingTable
        Poses as the methods get them.
    resolution : float
        Angstrom; whole Fourier shells up to this resolution are used.
    atom_sigma : float
        Standard deviation of an atom, Angstrom.
    threads : int
        Threads.
    progress : Progress
        Callback.

    Returns
    -------
    cross, power : (P, K) arrays
        Real inner products of image and slice, and squared norms of the slices.
    energy : (P,) array
        Squared norms of the images.
    samples : int
        Fourier samples per image (one half plane, without the origin).
    """
    limit = int(np.floor(table.box * table.pixel_size / resolution + 1e-6))
    radius = limit + 1
    if limit > table.box // 2 - 1:
        raise InputError(
            f"resolution {resolution} A is beyond the Nyquist limit of {2 * table.pixel_size} A"
        )
    columns = _slices_grid(conformers, table.box, table.pixel_size, radius, atom_sigma)
    used, plane = _half_plane(table.box, limit)

    def work(start: int) -> tuple[Array, Array, Array]:
        rows = np.arange(start, min(start + CHUNK, len(table.angles)))
        return _compare(read_images(rows), rows, table, plane, used, columns, radius)

    starts = range(0, len(table.angles), CHUNK)
    results = []
    with ThreadPoolExecutor(threads) as pool:
        for result in pool.map(work, starts):
            results.append(result)
            progress(len(results), len(starts))
    cross, power, energy = (np.concatenate(part) for part in zip(*results, strict=True))
    return cross, power, energy, len(plane)


def _compare(
    images: Array,
    rows: Array,
    table: ImagingTable,
    plane: Array,
    used: Array,
    columns: Array,
    radius: int,
) -> tuple[Array, Array, Array]:
    """Products of one block of images with the slices of all conformers."""
    count, samples = len(rows), len(plane)
    frequency = plane / (table.box * table.pixel_size)
    spectra = fft.rfft2(np.asarray(images, np.float64), workers=1)[:, used]
    offset = table.box // 2 * table.pixel_size - table.shifts[rows]
    spectra *= np.exp(2j * np.pi * (offset @ frequency.T))
    points = (plane @ euler_matrices(table.angles[rows])[:, :2, :]).reshape(-1, 3)
    slices = _trilinear(points, radius) @ columns
    slices = slices.reshape(count, samples, -1).view(np.complex64)
    transfer = contrast_transfer(
        frequency[:, 0],
        frequency[:, 1],
        table.defocus[rows],
        voltage=table.voltage,
        spherical_aberration=table.spherical_aberration,
        amplitude_contrast=table.amplitude_contrast,
    )
    weighted = (spectra.conj() * transfer).astype(np.complex64)
    # einsum and not matmul: threads of BLAS would fight with those of the pool
    cross = np.einsum("ps,psk->pk", weighted, slices).real
    squares = slices.real**2 + slices.imag**2
    power = np.einsum("ps,psk->pk", (transfer**2).astype(np.float32), squares)
    energy = (np.abs(spectra) ** 2).sum(axis=1)
    return cross.astype(np.float64), power.astype(np.float64), energy


def classify_by_reference(
    cross: Array, power: Array, energy: Array, *, samples: int
) -> ReferenceResult:
    """Most probable conformer of every particle: white noise, equal priors, one common scale.

    Parameters
    ----------
    cross, power, energy, samples
        From :func:`reference_scores`.
    """
    rows = np.arange(len(cross))
    scale = float(cross.sum() / power.sum())
    for _ in range(3):
        best = (scale * cross - scale**2 / 2 * power).argmax(axis=1)
        scale = float(cross[rows, best].sum() / power[rows, best].sum())
    fit = 2 * scale * cross - scale**2 * power
    best = fit.argmax(axis=1)
    noise = float((energy - fit[rows, best]).sum() / (len(cross) * samples))
    certainty = softmax(fit / noise, axis=1).max(axis=1)
    return ReferenceResult((best + 1).astype(np.int32), certainty, scale, noise)
