"""Our maps against RELION's, from the same particles: alike where data decide, nearer to truth."""

import subprocess
from pathlib import Path

import numpy as np
import pytest

from alphacryo4d.assessment.conformers import Atoms
from alphacryo4d.assessment.options import SimulateOptions
from alphacryo4d.assessment.stage import write_simulation
from alphacryo4d.io.mrc import read_volume
from alphacryo4d.maths.fsc import shell_correlation
from alphacryo4d.ml3d.reconstruct import Reconstruction, reconstruct
from alphacryo4d.particles.particle_set import read_particles
from alphacryo4d.particles.samples import prepare_rows

pytestmark = pytest.mark.relion
BOX, PIXEL, SIGMA, COUNT = 64, 3.0, 1.5, 500


@pytest.fixture(scope="module")
def atoms() -> Atoms:
    rng = np.random.default_rng(7)
    body = rng.normal(scale=(9, 14, 22), size=(300, 3))
    arm = rng.normal(scale=6.0, size=(150, 3)) + (30, 0, 0)
    return Atoms(np.vstack([body, arm]), np.full(450, 6.0))


@pytest.fixture(scope="module")
def truth(atoms: Atoms) -> np.ndarray:
    """The density by its exact Fourier transform, without Nyquist terms."""
    k = np.fft.fftfreq(BOX, PIXEL)
    x, y, z = (np.exp(-2j * np.pi * np.outer(k, column)) for column in atoms.positions.T)
    spectrum = np.einsum("za,ya,xa->zyx", z, y, x, optimize=True)
    square = k[:, None, None] ** 2 + k[:, None] ** 2 + k**2
    spectrum *= np.exp(-2 * (np.pi * SIGMA) ** 2 * square)
    spectrum[BOX // 2] = spectrum[:, BOX // 2] = spectrum[:, :, BOX // 2] = 0
    return np.fft.fftshift(np.fft.ifftn(spectrum).real)


def both_maps(atoms: Atoms, folder: Path, snr: float) -> tuple[Reconstruction, np.ndarray]:
    """Our map and that of relion_reconstruct."""
    options = SimulateOptions(
        particles_per_state=COUNT, box=BOX, pixel_size=PIXEL, snr=snr, snr_box=BOX,
        atom_sigma=SIGMA,
    )  # fmt: skip
    write_simulation([atoms], folder, options=options, seed=3)
    particles = read_particles(folder / "particles.star")
    images = prepare_rows(particles, np.arange(COUNT), None, normalise="none", threads=2)
    ours = next(iter(reconstruct(images, np.zeros(COUNT, int), threads=2)))
    subprocess.run(
        ["relion_reconstruct", "--i", "particles.star", "--o", "theirs.mrc", "--ctf"],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    return ours, read_volume(folder / "theirs.mrc")[0]


def test_maps_are_the_same_where_the_data_decide(
    atoms: Atoms, truth: np.ndarray, tmp_path: Path
) -> None:
    ours, theirs = both_maps(atoms, tmp_path, snr=5.0)
    last = int(0.8 * BOX / 2)
    assert shell_correlation(ours.volume, theirs)[1 : last + 1].min() > 0.99
    own, other = (shell_correlation(volume, truth) for volume in (ours.volume, theirs))
    assert own[1 : last + 1].min() > 0.95
    assert (own - other)[1:].min() > -0.005


def test_with_noise_ours_is_nearer_to_the_truth(
    atoms: Atoms, truth: np.ndarray, tmp_path: Path
) -> None:
    """In every shell up to Nyquist."""
    ours, theirs = both_maps(atoms, tmp_path, snr=0.2)
    own, other = (shell_correlation(volume, truth) for volume in (ours.volume, theirs))
    assert (own - other)[1 : BOX // 2].min() > -0.005
    assert (own - other)[10:].min() > 0.01
