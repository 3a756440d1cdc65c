import subprocess

import numpy as np
import pytest

from alphacryo4d.assessment.conformers import Atoms, DensityMap
from alphacryo4d.assessment.imaging import random_rotations
from alphacryo4d.assessment.options import SimulateOptions
from alphacryo4d.assessment.simulate import (
    add_noise,
    draw_table,
    noise_variance,
    particle_counts,
    population_fractions,
    project,
)
from alphacryo4d.core.errors import UsageError
from alphacryo4d.io.mrc import open_stack, write_volume
from alphacryo4d.maths.ctf import contrast_transfer
from alphacryo4d.maths.rotations import euler_matrices

BOX, PIXEL = 32, 2.5


def poses(count, seed=0):
    rng = np.random.default_rng(seed)
    defocus = np.stack([rng.uniform(8e3, 2e4, count), rng.uniform(8e3, 2e4, count)], axis=1)
    return (
        random_rotations(rng, count),
        rng.uniform(-6, 6, (count, 2)),
        np.column_stack([defocus, rng.uniform(0, 180, count)]),
    )


def direct_image(atoms, angles, shift, defocus, sigma):
    """One image by summing over atoms and frequencies, in float64."""
    frequency = np.fft.fftfreq(BOX, PIXEL)
    ky, kx = np.meshgrid(frequency, frequency, indexing="ij")
    at = atoms.positions @ euler_matrices(angles)[0, :2].T - shift + BOX // 2 * PIXEL
    phase = ky[..., None] * at[:, 1] + kx[..., None] * at[:, 0]
    spectrum = np.exp(-2j * np.pi * phase) @ atoms.weights
    spectrum *= np.exp(-2 * np.pi**2 * sigma**2 * (kx**2 + ky**2))
    spectrum[BOX // 2] = spectrum[:, BOX // 2] = 0
    if defocus is not None:
        spectrum *= contrast_transfer(
            kx, ky, defocus, voltage=300, spherical_aberration=2.7, amplitude_contrast=0.1
        )[0]
    return np.fft.ifft2(spectrum).real


@pytest.mark.parametrize("with_ctf", [False, True])
def test_projected_atoms_are_the_direct_sum(cloud: Atoms, with_ctf):
    angles, shifts, defocus = poses(4)
    images = project(
        cloud,
        angles,
        shifts,
        box=BOX,
        pixel_size=PIXEL,
        atom_sigma=1.3,
        defocus=defocus if with_ctf else None,
    )
    for row, image in enumerate(images):
        one = slice(row, row + 1)
        expected = direct_image(
            cloud, angles[one], shifts[row], defocus[one] if with_ctf else None, 1.3
        )
        assert np.abs(image - expected).max() < 2e-6 * np.abs(expected).max()


def test_projected_map_agrees_with_its_atoms(cloud: Atoms):
    """Atoms as broad Gaussians, once summed analytically on a grid, once projected directly."""
    sigma, size, voxel = 3.0, 40, 2.0
    axis = (np.arange(size) - size // 2) * voxel
    density = np.zeros((size,) * 3)
    for position, weight in zip(cloud.positions, cloud.weights, strict=True):
        x, y, z = (np.exp(-((axis - p) ** 2) / (2 * sigma**2)) for p in position)
        density += weight * z[:, None, None] * y[:, None] * x
    density *= voxel**3 / (2 * np.pi * sigma**2) ** 1.5
    angles, shifts, _ = poses(5, seed=1)
    grid = {"box": BOX, "pixel_size": PIXEL}
    from_map = project(DensityMap(density, voxel), angles, shifts, **grid)
    from_atoms = project(cloud, angles, shifts, atom_sigma=sigma, **grid)
    assert np.abs(from_map - from_atoms).max() < 2e-3 * from_atoms.max()


def test_a_shift_moves_the_image_by_its_negative():
    atom = Atoms(np.zeros((1, 3)), np.ones(1))
    image = project(
        atom,
        np.zeros((1, 3)),
        np.array([[3 * PIXEL, -5 * PIXEL]]),
        box=BOX,
        pixel_size=PIXEL,
        atom_sigma=2.0,
    )[0]
    assert np.unravel_index(image.argmax(), image.shape) == (BOX // 2 + 5, BOX // 2 - 3)


@pytest.mark.relion
@pytest.mark.parametrize("with_ctf", [False, True])
def test_projections_agree_with_relion(tmp_path, with_ctf):
    size, voxel = 48, 3.0
    z, y, x = np.meshgrid(*[np.arange(size) - size // 2] * 3, indexing="ij")
    density = np.zeros((size,) * 3, np.float32)
    for (cx, cy, cz), width, weight in (
        ((0, 0, 0), 5, 1), ((7, 3, -4), 3, 2), ((-5, 8, 2), 2.5, 1.5), ((3, -8, 6), 2.5, 1),
    ):  # fmt: skip
        distance = (x - cx) ** 2 + (y - cy) ** 2 + (z - cz) ** 2
        density += weight * np.exp(-distance / (2 * width**2))
    write_volume(tmp_path / "map.mrc", density, voxel)
    angles, shifts, defocus = poses(6, seed=2)
    columns = ["rlnImageName", "rlnOpticsGroup", "rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle"]
    columns += ["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi", "rlnOriginXAngst", "rlnOriginYAngst"]
    optics = ["rlnOpticsGroupName", "rlnOpticsGroup", "rlnVoltage", "rlnSphericalAberration"]
    optics += ["rlnAmplitudeContrast", "rlnImagePixelSize", "rlnImageSize"]
    optics += ["rlnImageDimensionality"]
    text = "\ndata_optics\n\nloop_\n" + "".join(f"_{name}\n" for name in optics)
    text += f"one 1 300 2.7 0.1 {voxel} {size} 2\n\n\ndata_particles\n\nloop_\n"
    text += "".join(f"_{name}\n" for name in columns)
    for row, values in enumerate(np.hstack([defocus, angles, shifts])):
        text += f"{row + 1:06d}@none.mrcs 1 " + " ".join(f"{v:.8f}" for v in values) + "\n"
    (tmp_path / "poses.star").write_text(text + "\n")
    command = ["relion_project", "--i", "map.mrc", "--ang", "poses.star", "--o", "projected"]
    command += ["--angpix", str(voxel)] + ["--ctf"] * with_ctf
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    theirs = np.array(open_stack(tmp_path / "projected.mrcs"), np.float64)
    ours = project(
        DensityMap(density.astype(np.float64), voxel),
        angles,
        shifts,
        box=size,
        pixel_size=voxel,
        defocus=defocus if with_ctf else None,
    )
    for mine, other in zip(ours, theirs, strict=True):
        mine, other = mine - mine.mean(), other - other.mean()
        assert np.corrcoef(mine.ravel(), other.ravel())[0, 1] > 0.9995
        assert (mine * other).sum() / (mine**2).sum() == pytest.approx(1, abs=0.02)


def test_noise_variance_scales_with_the_box_at_which_the_snr_holds():
    options = SimulateOptions(box=64, snr=0.05, snr_box=200)
    assert 1 / noise_variance(1.0, options) == pytest.approx(0.49, abs=0.005)
    assert noise_variance(5.0, SimulateOptions(snr=float("inf"))) == 0


def test_noise_is_white_and_of_its_deviation():
    noise = add_noise(np.zeros((200, 32, 32), np.float32), 3.0, [1, 2])
    power = (np.abs(np.fft.fft2(noise)) ** 2).mean(axis=0) / 32**2
    assert power.mean() == pytest.approx(9, rel=0.02)
    assert power.std() / power.mean() < 0.12


def test_counts_follow_the_fractions_and_sum_up():
    counts = particle_counts(np.array([0.5, 0.3, 0.19, 0.01]), 1001)
    assert counts.sum() == 1001
    np.testing.assert_allclose(counts, [500.5, 300.3, 190.19, 10.01], atol=1)


def test_triangular_wave_runs_between_one_and_three():
    shares = population_fractions("triangular", 20)
    assert shares.max() / shares.min() == pytest.approx(3)
    assert shares.sum() == pytest.approx(1)
    assert (np.sign(np.diff(shares)) != 0).all()


@pytest.mark.parametrize("populations", ["square", "1,2", "1,-1,1", "0,0,0", "nan,1,1"])
def test_bad_populations_are_refused(populations):
    with pytest.raises(UsageError, match="populations"):
        population_fractions(populations, 3)


def test_table_errors_are_those_asked_for():
    options = SimulateOptions(particles_per_state=5000, rotation_error=0, shift_error=0.7)
    table = draw_table(2, options, np.random.default_rng(0))
    np.testing.assert_array_equal(table.angles, table.true_angles)
    assert (table.shifts - table.true_shifts).std() == pytest.approx(0.7, rel=0.03)
    assert np.abs(table.true_shifts).max() <= options.shift
    assert (np.abs(table.defocus[:, 0] - table.defocus[:, 1]) <= 600.02).all()
    assert np.bincount(table.random_subset)[1:].tolist() == [5000, 5000]


def test_rows_are_shuffled():
    table = draw_table(4, SimulateOptions(particles_per_state=500), np.random.default_rng(0))
    halves = [np.bincount(part, minlength=5)[1:] for part in np.array_split(table.truth, 2)]
    assert np.abs(halves[0] - halves[1]).max() < 120
