"""Stacks that change while they are read."""

import logging
from pathlib import Path

import numpy as np
import pytest
from small_tables import make_images, modern_table, numbered

from alphacryo4d.core.errors import InputError
from alphacryo4d.particles.particle_set import ParticleSet, read_particles


@pytest.fixture
def particles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ParticleSet:
    monkeypatch.chdir(tmp_path)
    make_images(Path("a.mrcs"), 8)
    modern_table(Path("p.star"), numbered("a.mrcs", 8))
    found = read_particles(Path("p.star"))
    found.images([0, 1])
    return found


def test_a_stack_that_grows_is_refused(particles: ParticleSet) -> None:
    with Path("a.mrcs").open("ab") as stream:
        stream.write(bytes(4096))
    with pytest.raises(InputError, match=r"a\.mrcs: changed while it was read \([\d,]+ bytes bef"):
        particles.images([2])


def test_a_stack_that_is_written_or_replaced_is_named_once(
    particles: ParticleSet, caplog: pytest.LogCaptureFixture
) -> None:
    held = Path("a.mrcs").read_bytes()
    Path("new").write_bytes(held[::-1])
    Path("new").replace("a.mrcs")
    with caplog.at_level(logging.WARNING, logger="alphacryo4d"):
        one = particles.images([2])
        np.testing.assert_array_equal(particles.images([2]), one)  # of the file that was opened
    assert caplog.text.count("a.mrcs: was written or replaced while it was read") == 1


def test_a_stack_that_is_gone_stays_whole_in_its_map(particles: ParticleSet) -> None:
    before = particles.images([5])
    Path("a.mrcs").unlink()
    np.testing.assert_array_equal(particles.images([5]), before)
