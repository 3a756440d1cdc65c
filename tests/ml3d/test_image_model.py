"""Every term of the image model against a plain formula in float64."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from imaged_atoms import Optics, density_transform, transfer, write_imaged

from alphacryo4d.particles.particle_set import read_particles
from alphacryo4d.particles.samples import prepare_rows

PLAIN = Optics(box=48, pixel_size=2.0)
CASES = {
    "plain": [PLAIN],
    "phase shift": [replace(PLAIN, phase_shift=70.0)],
    "beam tilt": [replace(PLAIN, tilt=(4.0, -6.0))],
    "odd": [replace(PLAIN, odd=(0.5, -1, 30, 20, -10, 40))],
    "even": [replace(PLAIN, even=(0.2, 3, -4, 2, 60, 30, 20, -50, 90))],
    "magnification": [replace(PLAIN, magnification=(1.03, 0.02, -0.01, 0.97))],
    "phase-flipped": [replace(PLAIN, flipped=True)],
    "everything": [
        replace(PLAIN, tilt=(4, 2), odd=(0.5, -1, 30, 0, 0, 40), even=(0.2, 3, -4, 2, 60)),
        replace(PLAIN, magnification=(1.03, 0.02, -0.01, 0.97), phase_shift=40, voltage=200),
    ],
    "several grids": [PLAIN, Optics(box=52, pixel_size=2.1), Optics(box=38, pixel_size=2.6)],
    "odd box": [Optics(box=49, pixel_size=2.0)],
}


@pytest.mark.parametrize("case", CASES)
def test_samples_are_those_of_the_formula(tmp_path: Path, case: str) -> None:
    groups = CASES[case]
    particles = read_particles(
        write_imaged(tmp_path, groups, 12, bfactor=60, scale=1.3, defocus_range=(3000, 5000))
    )
    images = prepare_rows(particles, np.arange(12), 5.0, normalise="none", threads=1)
    assert images.box == 48
    assert not images.outlier.any()
    turns = {number: np.eye(2) for number in range(len(groups))}
    step = 1 / (images.box * images.pixel_size)
    for i in range(12):
        optics = groups[i % len(groups)]
        if optics.magnification != PLAIN.magnification:
            inverse = np.linalg.inv(np.reshape(optics.magnification, (2, 2)))
            q, r = np.linalg.qr(inverse.T)
            turns[i % len(groups)] = q * np.sign(np.diag(r))
        q = turns[i % len(groups)] @ np.stack([images.kx, images.ky]) * step
        ctf, _ = transfer(
            optics, q, particles.defocus[i], particles.bfactor[i], particles.ctf_scale[i]
        )
        ctf = np.abs(ctf) if optics.flipped else ctf
        held = images.ctf[i] != 0  # the corners of a coarser grid are not
        assert held.mean() > 0.99
        np.testing.assert_allclose(images.ctf[i][held], ctf[held], atol=2e-5)
        m = images.matrices[i].astype(float)
        points = (images.kx[:, None] * m[0] + images.ky[:, None] * m[1]) * step
        wanted = density_transform(points) * ctf / (images.box * images.pixel_size**2)
        samples = images.data[i] @ (1, 1j)
        # new pixels hold noise of the edge's own deviation
        close = 0.03 if case == "several grids" else 1e-4
        assert np.abs(samples - wanted).max() < close * np.abs(wanted).max()


def test_premultiplied_images_say_the_same_with_white_noise(tmp_path: Path) -> None:
    count = 40
    (tmp_path / "plain").mkdir()
    optics = replace(PLAIN, premultiplied=True)
    particles = read_particles(write_imaged(tmp_path, [optics], count, bfactor=60, scale=1.3))
    images = prepare_rows(particles, np.arange(count), 5.0, normalise="none", threads=1)
    step = 1 / (images.box * images.pixel_size)
    for i in range(count):
        m = images.matrices[i].astype(float)
        points = (images.kx[:, None] * m[0] + images.ky[:, None] * m[1]) * step
        wanted = density_transform(points) / (images.box * images.pixel_size**2)
        wanted = wanted * images.ctf[i]
        samples = images.data[i] @ (1, 1j)
        assert np.abs(samples - wanted).max() < 2e-3 * np.abs(wanted).max()
        assert images.ctf[i].min() >= 0
