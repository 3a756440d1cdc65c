"""Synthetic particles of known conformers (section 4.13): arrays in, arrays out.

Projection is exact to 1e-6: the Fourier transform of the atoms, or of the voxels of a map, is
evaluated at the frequencies of every image by a non-uniform FFT, so that nothing of the
interpolation of a reconstruction program is in the data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft

from alphacryo4d.assessment.conformers import Atoms, Conformer, DensityMap
from alphacryo4d.assessment.imaging import (
    FloatArray,
    frequencies,
    perturb_rotations,
    random_rotations,
)
from alphacryo4d.assessment.options import SimulateOptions
from alphacryo4d.core.arrays import Array
from alphacryo4d.core.errors import UsageError
from alphacryo4d.maths.ctf import contrast_transfer
from alphacryo4d.maths.rotations import euler_matrices

ACCURACY = 1e-6


@dataclass(frozen=True)
class SimulatedTable:
    """What is known of simulated particles, in the order of their rows.

    ``truth`` (P,) state from 1, 0 for junk; ``true_angles`` (P, 3) and ``true_shifts`` (P, 2)
    made the images; ``angles`` and ``shifts`` are what the table says; ``defocus`` (P, 3) U, V in
    Angstrom and angle in degrees; ``random_subset`` (P,) is 1 or 2. ``shown`` (P,), where it
    differs from the truth, is the conformer that made the image: 0 none, -1 another molecule.
    """

    truth: npt.NDArray[np.int32]
    true_angles: FloatArray
    true_shifts: FloatArray
    angles: FloatArray
    shifts: FloatArray
    defocus: FloatArray
    random_subset: npt.NDArray[np.int8]
    shown: npt.NDArray[np.int32] | None = None

    def __len__(self) -> int:
        return len(self.truth)


def population_fractions(populations: str, states: int) -> FloatArray:
    """Share of every state, from ``uniform``, ``triangular`` or numbers joined by commas.

    The triangular wave has two periods over the states and runs between 1 and 3 (Figure 4).
    """
    if populations == "uniform":
        weights = np.ones(states)
    elif populations == "triangular":
        phase = (2 * np.arange(states) / states) % 1.0
        weights = 3.0 - 2.0 * np.abs(2 * phase - 1)
    else:
        try:
            weights = np.array([float(word) for word in populations.split(",")])
        except ValueError as error:
            raise UsageError(
                f"--populations {populations}: say uniform, triangular or numbers such as 3,2,1"
            ) from error
        if len(weights) != states:
            raise UsageError(
                f"--populations: {len(weights)} numbers for {states} conformers; give one each"
            )
        if not np.isfinite(weights).all() or weights.min() < 0 or weights.sum() <= 0:
            raise UsageError("--populations: numbers must not be negative, and not all zero")
    return np.asarray(weights / weights.sum(), np.float64)


def particle_counts(fractions: Array, total: int) -> npt.NDArray[np.int64]:
    """Whole numbers (K,) that sum to ``total`` and follow the fractions (largest remainders)."""
    exact = np.asarray(fractions) * total
    counts = np.floor(exact + 1e-9).astype(np.int64)
    order = np.argsort(counts - exact, kind="stable")
    counts[order[: total - int(counts.sum())]] += 1
    return counts


def draw_table(states: int, options: SimulateOptions, rng: np.random.Generator) -> SimulatedTable:
    """Draw states, poses, shifts and defoci of all particles; the rows are shuffled."""
    total = states * options.particles_per_state
    counts = particle_counts(population_fractions(options.populations, states), total)
    truth = rng.permutation(np.repeat(np.arange(1, states + 1, dtype=np.int32), counts))
    angles = random_rotations(rng, total)
    shifts = rng.uniform(-options.shift, options.shift, (total, 2))
    mean = rng.uniform(options.defocus_min, options.defocus_max, total) * 1e4
    half = rng.uniform(0, options.astigmatism, total) / 2
    axis = rng.uniform(0, 180, total)
    defocus = np.asarray(
        np.round(np.stack([mean + half, mean - half, axis], axis=1), 2), np.float64
    )
    subset = rng.permutation(np.arange(total) % 2 + 1).astype(np.int8)
    given: FloatArray = angles
    if options.rotation_error > 0:
        given = perturb_rotations(angles, options.rotation_error, rng)
    given_shifts = shifts + rng.normal(0, 1, shifts.shape) * options.shift_error
    return SimulatedTable(truth, angles, shifts, given, given_shifts, defocus, subset)


def _atom_slices(
    atoms: Atoms, rotations: Array, shifts: Array, box: int, pixel_size: float
) -> npt.NDArray[np.complex128]:
    """Fourier transforms (P, box, box // 2 + 1) of projected atoms, by 2D sums (type 1)."""
    import finufft

    plan = finufft.Plan(
        1, (box, box), eps=ACCURACY, isign=-1, nthreads=1, modeord=1, dtype="complex128"
    )
    weights = atoms.weights.astype(np.complex128)
    transposed = np.ascontiguousarray(atoms.positions.T)
    scale = 2 * np.pi / box
    half = box // 2 + 1
    slices = np.empty((len(rotations), box, half), np.complex128)
    for row, (rotation, shift) in enumerate(zip(rotations, shifts, strict=True)):
        x, y = (rotation[:2] @ transposed - shift[:, None]) * (scale / pixel_size) + np.pi
        plan.setpts(y, x)
        slices[row] = plan.execute(weights)[:, :half]
    return slices


def _map_slices(
    conformer: DensityMap, rotations: Array, shifts: Array, box: int, pixel_size: float
) -> npt.NDArray[np.complex128]:
    """Fourier transforms (P, box, box // 2 + 1) of a projected map, by a 3D sum (type 2)."""
    import finufft

    ky, kx = np.broadcast_arrays(*frequencies(box, pixel_size))
    inside = np.hypot(kx, ky) < 0.5 / conformer.voxel_size
    plane = np.stack([kx[inside], ky[inside]], axis=1)
    angular = 2 * np.pi * conformer.voxel_size
    points = (rotations[:, :2, :].transpose(0, 2, 1) @ plane.T) * angular
    x, y, z = (np.ascontiguousarray(points[:, axis].reshape(-1)) for axis in range(3))
    density = conformer.density.astype(np.complex128)
    values = finufft.nufft3d2(z, y, x, density, eps=ACCURACY, isign=-1, nthreads=1)
    values = values.reshape(len(rotations), -1)
    offset = box // 2 * pixel_size - shifts
    values *= np.exp(-2j * np.pi * (offset @ plane.T))
    slices = np.zeros((len(rotations), *kx.shape), np.complex128)
    slices[:, inside] = values
    return slices


def project(
    conformer: Conformer,
    angles: Array,
    shifts: Array,
    *,
    box: int,
    pixel_size: float,
    atom_sigma: float = 1.0,
    defocus: Array | None = None,
    options: SimulateOptions | None = None,
) -> npt.NDArray[np.float32]:
    """Projections of one conformer, with contrast transfer where defoci are given.

    Parameters
    ----------
    conformer : Atoms or DensityMap
        Centred at the origin. Atoms become Gaussians of ``atom_sigma``; a map stays as it is.
    angles : (P, 3) array
        rot, tilt, psi in degrees.
    shifts : (P, 2) array
        Angstrom, RELION's sign: the image is the centred projection moved by minus the shift.
    box, pixel_size : int, float
        Pixels and Angstrom.
    atom_sigma : float
        Standard deviation of an atom, Angstrom.
    defocus : (P, 3) array, optional
        U, V (Angstrom) and angle (degrees).
    options : SimulateOptions, optional
        Microscope constants; needed with ``defocus``.

    Returns
    -------
    (P, box, box) float32 array
        Images; the sum of the pixels is the sum of the weights (without contrast transfer).
        The Nyquist row and column, whose sign is not defined, are zero.
    """
    rotations = euler_matrices(angles)
    offsets = np.asarray(shifts, np.float64)
    ky, kx = frequencies(box, pixel_size)
    if isinstance(conformer, Atoms):
        slices = _atom_slices(conformer, rotations, offsets, box, pixel_size)
        slices *= np.exp(-2 * (np.pi * atom_sigma) ** 2 * (kx**2 + ky**2))
    else:
        slices = _map_slices(conformer, rotations, offsets, box, pixel_size)
    slices[:, box // 2, :] = 0
    slices[:, :, box // 2] = 0
    if defocus is not None:
        optics = options or SimulateOptions()
        slices *= contrast_transfer(
            kx,
            ky,
            defocus,
            voltage=optics.voltage,
            spherical_aberration=optics.spherical_aberration,
            amplitude_contrast=optics.amplitude_contrast,
        )
    images = fft.irfft2(slices, s=(box, box), workers=1)
    return np.asarray(images, np.float32)


def simulate_rows(
    conformer: Conformer, table: SimulatedTable, rows: Array, options: SimulateOptions
) -> npt.NDArray[np.float32]:
    """Noise-free images (n, box, box) of rows that all show one conformer."""
    return project(
        conformer,
        table.true_angles[rows],
        table.true_shifts[rows],
        box=options.box,
        pixel_size=options.pixel_size,
        atom_sigma=options.atom_sigma,
        defocus=table.defocus[rows],
        options=options,
    )


def noise_variance(signal_variance: float, options: SimulateOptions) -> float:
    """Variance of the white noise per pixel that gives the asked SNR at ``snr_box``."""
    if options.snr == 0:
        return 1.0
    return signal_variance / options.snr * options.noise_factor


def add_noise(
    images: npt.NDArray[np.float32], deviation: float, seed: Sequence[int]
) -> npt.NDArray[np.float32]:
    """Images plus white Gaussian noise drawn from a seed of their own."""
    rng = np.random.default_rng(np.random.SeedSequence(list(seed)))
    noise = rng.standard_normal(images.shape, dtype=np.float32)
    noise *= np.float32(deviation)
    noise += images
    return noise
