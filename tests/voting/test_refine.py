"""RELION's refinement of the states: the commands, and one real run."""

import shlex

import numpy as np
import pytest
import simulated

from alphacryo4d.core.errors import InputError, UsageError
from alphacryo4d.io.mrc import read_volume
from alphacryo4d.particles.open import open_table
from alphacryo4d.reconstruction.options import RefineOptions
from alphacryo4d.reconstruction.refine_stage import run_refine
from alphacryo4d.reconstruction.stage import reconstruct_states
from alphacryo4d.voting.output_stage import split_table


@pytest.fixture(scope="module")
def states(tmp_path_factory):
    folder = tmp_path_factory.mktemp("refine")
    rng = np.random.default_rng(3)
    truth = np.repeat([1, 2], 150)
    table, _ = simulated.simulate(folder, truth, 1.0, rng)
    simulated.write_project(folder, table, truth, rng, relion={"symmetry": "C2"})
    split_table(open_table(table), folder / "vote", truth, 2)
    reconstruct_states(folder / "vote", folder / "vote")
    return folder


def test_every_state_gets_its_command(states):
    run_refine(states / "vote", states / "commands")
    lines = (states / "commands" / "commands.txt").read_text().splitlines()
    assert len(lines) == 2
    for state, line in enumerate(lines, 1):
        words = shlex.split(line)
        assert words[words.index("--i") + 1].endswith(f"vote/class{state:03d}.star")
        assert words[words.index("--ref") + 1].endswith(f"vote/class{state:03d}.mrc")
        assert words[words.index("--auto_local_healpix_order") + 1] == "4"
        assert words[words.index("--sym") + 1] == "C2"
        assert "--auto_refine" in words
        assert "--split_random_halves" in words
        assert "--skip_align" not in words


def test_chosen_states_only(states):
    run_refine(states / "vote", states / "one", options=RefineOptions(states="2"))
    assert (states / "one" / "commands.txt").read_text().count("\n") == 1


def test_a_state_without_particles_is_refused(states):
    with pytest.raises(InputError, match=r"class003\.star"):
        run_refine(states / "vote", states / "none", options=RefineOptions(states="3"))


def test_even_ranks_are_refused():
    with pytest.raises(UsageError, match="ranks"):
        RefineOptions(ranks=2)


@pytest.mark.relion
@pytest.mark.slow
def test_relion_refines_a_state(states):
    options = RefineOptions(engine="relion", states="1", particle_diameter=100.0, symmetry="C1")
    made = run_refine(states / "vote", states / "relion", options=options, threads=1)
    volume, voxel = read_volume(states / "relion" / "class001" / "run_class001.mrc")
    assert made[-1].name == "run_class001.mrc"
    assert np.isclose(voxel, simulated.PIXEL)
    reference, _ = read_volume(states / "vote" / "class001.mrc")
    assert np.corrcoef(volume.ravel(), reference.ravel())[0, 1] > 0.7
