"""The consensus alignment by the real RELION, on very little data."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from alphacryo4d.core.errors import InputError, UsageError
from alphacryo4d.io.mrc import read_volume
from alphacryo4d.particles.open import open_table
from alphacryo4d.particles.particle_set import read_particles
from alphacryo4d.relion.options import ConsensusOptions, RelionOptions
from alphacryo4d.resample.consensus_stage import choose_ranks, run_consensus
from alphacryo4d.resample.relion_cli import consensus_command


def angular_errors(estimated: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Angles between viewing directions in degrees."""

    def direction(angles: np.ndarray) -> np.ndarray:
        rot, tilt = np.radians(angles[:, 0]), np.radians(angles[:, 1])
        return np.stack(
            [np.cos(rot) * np.sin(tilt), np.sin(rot) * np.sin(tilt), np.cos(tilt)], axis=1
        )

    cosine = (direction(estimated) * direction(true)).sum(1)
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


@pytest.mark.relion
@pytest.mark.slow
def test_several_models_give_poses_near_the_true_ones(two_states: Path, tmp_path: Path) -> None:
    consensus = ConsensusOptions(
        models=2, iterations=2, healpix_order=1, offset_range=2, particle_diameter=110,
        limit_resolution=16, initial_lowpass=30,
    )  # fmt: skip
    table = two_states / "particles.star"
    results = run_consensus(table, tmp_path / "o", consensus=consensus, relion=RelionOptions())
    assert [path.name for path in results] == [
        "particles.star", "run_it002_class001.mrc", "run_it002_class002.mrc",
    ]  # fmt: skip
    aligned = read_particles(results[0], need_images=False)
    names = aligned.table.read(["rlnImageName"])["rlnImageName"]
    true = read_particles(table).angles
    order = np.array([int(name.split("@")[0]) - 1 for name in names])
    assert sorted(order) == list(range(240))
    assert np.median(angular_errors(aligned.angles, true[order])) < 20
    assert np.ptp(read_volume(results[1])[0]) > 0


@pytest.mark.relion
def test_a_dry_run_prints_the_commands(two_states: Path, tmp_path: Path) -> None:
    words = ["--i", str(two_states / "particles.star"), "--o", str(tmp_path / "o"), "--dry-run"]
    done = CliRunner().invoke(consensus_command, words, catch_exceptions=False)
    first, second = done.output.splitlines()
    assert "relion_reconstruct_mpi" in first
    assert "--auto_refine --split_random_halves" in second
    assert "--ini_high 60" in second
    assert not (tmp_path / "o").exists()


def test_poses_that_are_there_are_taken(noise_table: Path, tmp_path: Path) -> None:
    results = run_consensus(
        noise_table,
        tmp_path / "o",
        consensus=ConsensusOptions(keep_poses=True),
        relion=RelionOptions(),
    )
    assert results[0].read_bytes() == noise_table.read_bytes()


def test_poses_that_are_all_zero_are_not_taken(noise_table: Path, tmp_path: Path) -> None:
    lines = noise_table.read_text().splitlines()
    zeroed = [
        " ".join([*line.split()[:3], "0", "0", "0", *line.split()[6:]]) if "@" in line else line
        for line in lines
    ]
    noise_table.write_text("\n".join(zeroed) + "\n")
    with pytest.raises(InputError, match="every pose is 0"):
        run_consensus(
            noise_table,
            tmp_path / "o",
            consensus=ConsensusOptions(keep_poses=True),
            relion=RelionOptions(),
        )


def test_auto_refinement_needs_three_ranks() -> None:
    assert choose_ranks(ConsensusOptions(), RelionOptions()) == 3
    assert choose_ranks(ConsensusOptions(models=2), RelionOptions()) == 1
    with pytest.raises(UsageError, match="3 MPI ranks"):
        choose_ranks(ConsensusOptions(), RelionOptions(ranks=2))


@pytest.mark.relion
@pytest.mark.slow
def test_auto_refinement_ends_with_half_maps_and_good_poses(
    two_states: Path, tmp_path: Path
) -> None:
    """Half-sets of very few particles, whose angles are sampled as coarsely as they allow."""
    everyone = open_table(two_states / "particles.star")
    few = everyone.write_rows(two_states / "few.star", np.arange(20))
    consensus = ConsensusOptions(
        healpix_order=1, offset_range=2, offset_step=2, particle_diameter=110,
        limit_resolution=30, initial_lowpass=40,
    )  # fmt: skip
    relion = RelionOptions(
        reference=two_states / "state0.mrc", correct_norm=False,
        relion_args="--auto_ignore_angles --auto_resol_angles",
    )  # fmt: skip
    results = run_consensus(few, tmp_path / "o", consensus=consensus, relion=relion)
    assert [path.name for path in results] == [
        "particles.star", "run_class001.mrc", "run_half1_class001_unfil.mrc",
        "run_half2_class001_unfil.mrc",
    ]  # fmt: skip
    aligned = read_particles(results[0], need_images=False)
    names = aligned.table.read(["rlnImageName"])["rlnImageName"]
    order = [int(name.split("@")[0]) - 1 for name in names]
    assert sorted(order) == list(range(20))
    true = read_particles(two_states / "particles.star").angles[order]
    assert np.median(angular_errors(aligned.angles, true)) < 30  # of 90 by chance
    assert set(aligned.random_subset) == {1, 2}
