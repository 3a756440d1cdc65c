"""Aberrations go from STAR to ``.cs`` and back, and every image stays what it was."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from imaged_atoms import Optics, write_imaged

from alphacryo4d.core.errors import InputError
from alphacryo4d.io.cs import read_cs, write_cs
from alphacryo4d.particles.particle_set import read_particles
from alphacryo4d.particles.samples import prepare_rows
from alphacryo4d.tools.convert import convert

PLAIN = Optics(box=32, pixel_size=2.5)
GROUPS = [
    replace(PLAIN, tilt=(4.0, -6.0), phase_shift=35.0),
    replace(PLAIN, odd=(0.5, -1, 30, 20, -10, 40), even=(0.2, 3, -4, 2, 60, 30, 20, -50, 90)),
    replace(PLAIN, magnification=(1.03, 0.02, -0.01, 0.97), odd=(2, 1), cs=0.01),
]
COUNT = 9


def test_star_to_cs_and_back_gives_the_same_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    star = write_imaged(tmp_path, GROUPS, COUNT, bfactor=60, scale=1.3)
    convert(star, Path("p.cs"))
    convert(Path("p.cs"), Path("again.star"))
    wanted = prepare_rows(read_particles(star), np.arange(COUNT), 6.0, normalise="none", threads=1)
    for path in (Path("p.cs"), Path("again.star")):
        particles = read_particles(path)
        prepared = prepare_rows(particles, np.arange(COUNT), 6.0, normalise="none", threads=1)
        np.testing.assert_allclose(prepared.ctf, wanted.ctf, atol=2e-4)
        np.testing.assert_allclose(
            prepared.data, wanted.data, atol=1e-3 * np.abs(wanted.data).max()
        )
        np.testing.assert_allclose(prepared.matrices, wanted.matrices, atol=1e-5)


def test_fields_are_lengths_in_angstrom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A beam tilt of 4 mrad with Cs of 2.7 mm is a coma of 108,000 A."""
    monkeypatch.chdir(tmp_path)
    convert(write_imaged(tmp_path, GROUPS[:1], 2, bfactor=60), Path("p.cs"))
    particles = read_cs(Path("p.cs"))
    np.testing.assert_allclose(particles["ctf/tilt_A"], [[108e3, -162e3]] * 2, rtol=1e-5)
    np.testing.assert_allclose(particles["ctf/shift_A"], 0, atol=1e-4)
    np.testing.assert_allclose(particles["ctf/phase_shift_rad"], np.deg2rad(35), rtol=1e-5)
    assert particles["ctf/bfactor"].min() > 0
    particles = np.array(particles)
    particles["ctf/anisomag"] = [0.01, 0.002, -0.003, -0.01]
    particles["ctf/shift_A"] = [1.0, 0]
    write_cs(Path("q.cs"), particles)
    moved, before = read_particles(Path("q.cs")), read_particles(Path("p.cs"))
    np.testing.assert_allclose(
        moved.optics.aberrations.magnification[0], [[1.01, 0.002], [-0.003, 0.99]], atol=1e-6
    )
    np.testing.assert_allclose(before.shifts - moved.shifts, [[1.01, 0.002]] * 2, atol=1e-4)


@pytest.mark.parametrize(
    ("group", "name"),
    [
        (replace(PLAIN, premultiplied=True), "rlnCtfDataAreCtfPremultiplied"),
        (replace(PLAIN, flipped=True), "rlnCtfDataArePhaseFlipped"),
        (replace(PLAIN, odd=(0, 0, 0, 0, 0, 0, 5)), "rlnOddZernike"),
        (replace(PLAIN, even=(0,) * 9 + (3,)), "rlnEvenZernike"),
    ],
)
def test_what_a_cs_file_cannot_say_is_refused_by_name(
    tmp_path: Path, group: Optics, name: str
) -> None:
    star = write_imaged(tmp_path, [group], 2)
    with pytest.raises(InputError, match=name):
        convert(star, tmp_path / "p.cs")
