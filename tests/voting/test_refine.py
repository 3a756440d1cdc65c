"""RELION's refinement of the states: the commands, and one real run."""

import json
import os
import shlex
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import simulated

from alphacryo4d.cli import main
from alphacryo4d.core.errors import InputError, ProgramError, UsageError
from alphacryo4d.core.run_flags import RunFlags
from alphacryo4d.io.mrc import read_volume
from alphacryo4d.ml3d.reconstruct import random_half_sets
from alphacryo4d.particles.open import open_table
from alphacryo4d.reconstruction.options import RefineOptions
from alphacryo4d.reconstruction.refine_script import refine_script
from alphacryo4d.reconstruction.refine_stage import run_refine
from alphacryo4d.reconstruction.stage import reconstruct_states
from alphacryo4d.relion.version import installed_version
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
    with pytest.raises(InputError, match=r"class003\.star.* particles are: 1, 2$"):
        run_refine(states / "vote", states / "none", options=RefineOptions(states="3"))


def test_even_ranks_are_refused():
    with pytest.raises(UsageError, match="ranks"):
        RefineOptions(ranks=2)


def halves_of(table):
    return open_table(table).read(["rlnRandomSubset"])["rlnRandomSubset"].astype(int)


def images_of(table):
    numbers, _ = open_table(table).read_parts([], images=True)
    return numbers["rlnImageName"].astype(int)


def test_the_script_states_the_half_sets_that_it_sets(states, tmp_path):
    kept, fresh = tmp_path / "kept", tmp_path / "fresh"
    run_refine(states / "vote", kept)
    text = (kept / "refine.sh").read_text()
    assert "those of the consensus refinement" in text
    moved, record = tmp_path / "moved", json.loads((states / "vote" / "job.json").read_text())
    shutil.copytree(states / "vote", moved)
    record["options"] = {"reclassify": {"write_poses": True}}
    (moved / "job.json").write_text(json.dumps(record))
    run_refine(moved, tmp_path / "seen")
    assert "against volumes of both halves" in (tmp_path / "seen" / "refine.sh").read_text()
    assert f"--i {states}/vote/class001.star" in text
    run_refine(states / "vote", fresh, options=RefineOptions(half_sets="fresh"), seed=4)
    text = (fresh / "refine.sh").read_text()
    assert "a new random split (--half-sets fresh, seed 4)" in text
    assert f"--i {fresh}/class001.star" in text
    before, after = states / "vote" / "class001.star", fresh / "class001.star"
    new = halves_of(after)
    assert sorted(np.bincount(new)[1:]) == [75, 75]
    assert (new != halves_of(before)).mean() > 0.2
    old = open_table(after).read(["ac4dInputRandomSubset"])["ac4dInputRandomSubset"]
    np.testing.assert_array_equal(old, halves_of(before))
    assert "--split_random_halves" in text


def test_particles_without_half_sets_get_those_of_the_half_maps(states, tmp_path):
    vote = tmp_path / "vote"
    shutil.copytree(states / "vote", vote)
    (vote / "job.json").unlink()
    for path in vote.glob("*.star"):
        path.write_text(path.read_text().replace("_rlnRandomSubset", "_rlnGroupNumber"))
    run_refine(vote, tmp_path / "refine", options=RefineOptions(symmetry="C1"))
    assert (
        "the fixed split of the states' half maps"
        in (tmp_path / "refine" / "refine.sh").read_text()
    )
    # as `vote reconstruct` splits all particles, of which the second state is the last half
    np.testing.assert_array_equal(
        halves_of(tmp_path / "refine" / "class002.star") - 1, random_half_sets(300)[150:]
    )
    part = vote / "particles.star"
    part.write_text("".join(part.read_text().splitlines(keepends=True)[:-2]) + "\n")
    with pytest.raises(InputError, match=r"class002\.star: row 150: .*--half-sets fresh"):
        run_refine(vote, tmp_path / "other", options=RefineOptions(symmetry="C1"))


def test_the_script_makes_folders_and_goes_where_the_images_are(tmp_path, monkeypatch):
    """With a program in the place of mpirun that tells where it was started and what with."""
    launcher = tmp_path / "bin" / "mpirun"
    launcher.parent.mkdir()
    launcher.write_text('#!/bin/sh\npwd\nwhile [ "$1" != --o ]; do shift; done\ntouch "$2.made"\n')
    launcher.chmod(0o755)
    home = tmp_path / "a folder"
    output = home / "project" / "refine"
    output.mkdir(parents=True)
    words = ["mpirun", "-n", "3", "relion_refine_mpi", "--o", "project/refine/class001/run"]
    made = {1: Path("project/refine/class001")}
    text = refine_script(
        {1: words}, made, root=home, output=output, policy="kept", seed=0, version="3.1.3"
    )
    home = home.rename(tmp_path / "moved")
    script = home / "project" / "refine" / "refine.sh"
    script.write_text(text)
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{launcher.parent}:{os.environ['PATH']}")
    ran = subprocess.run([script], cwd="/", capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines() == [str(home), "project/refine/class001/run_class001.mrc"]
    assert (script.parent / "class001" / "run.made").is_file()
    (script.parent / "class001" / "run_class001.mrc").write_bytes(b"map")
    ran = subprocess.run([script], cwd="/", capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines() == ["project/refine/class001/run_class001.mrc"]
    launcher.write_text("#!/bin/sh\nexit 3\n")
    (script.parent / "class001" / "run_class001.mrc").unlink()
    assert subprocess.run([script], cwd="/", check=False, capture_output=True).returncode == 3


def test_refinement_starts_ranks_of_its_own(states, tmp_path, monkeypatch):
    """Within a step of srun, whose variables RELION would take for its own."""
    for name, lines in (
        ("relion_refine", "echo RELION version: 3.1.3"),
        (
            "mpirun",
            'echo "rank ${PMI_RANK-none}, oversubscribe $OMPI_MCA_rmaps_base_oversubscribe"',
        ),
    ):
        (tmp_path / name).write_text(f"#!/bin/sh\n{lines}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("PMI_RANK", "7")
    installed_version.cache_clear()
    options = RefineOptions(engine="relion", states="1", symmetry="C1")
    try:
        with pytest.raises(ProgramError, match="its map is no use"):
            run_refine(states / "vote", tmp_path / "refine", options=options)
    finally:
        installed_version.cache_clear()
    said = (tmp_path / "refine" / "class001" / "run.log").read_text().splitlines()
    assert said[1] == "rank none, oversubscribe 1"


@pytest.mark.relion
@pytest.mark.slow
def test_the_script_runs_as_it_stands(states, tmp_path):
    """RELION to its end from another folder; it keeps the half-sets that the script states."""
    words = ["vote", "refine", "--i", states / "vote", "--o", states / "script", "--states", "2"]
    words += ["--sym", "C1", "--particle-diameter", "100", "--half-sets", "fresh"]
    main([str(word) for word in words])
    script = states / "script" / "refine.sh"
    assert os.access(script, os.X_OK)
    with (tmp_path / "log").open("w") as log:
        subprocess.run([script], cwd=tmp_path, check=True, stdout=log, stderr=log, timeout=3000)
    place = states / "script" / "class002"
    volume, _ = read_volume(place / "run_class001.mrc")
    reference, _ = read_volume(states / "vote" / "class002.mrc")
    assert np.corrcoef(volume.ravel(), reference.ravel())[0, 1] > 0.7
    given, refined = states / "script" / "class002.star", place / "run_data.star"
    order = dict(zip(images_of(given), halves_of(given), strict=True))
    half_sets = [order[image] for image in images_of(refined)]
    np.testing.assert_array_equal(halves_of(refined), half_sets)


@pytest.mark.relion
@pytest.mark.slow
def test_relion_refines_a_state(states):
    options = RefineOptions(engine="relion", states="1", particle_diameter=100.0, symmetry="C1")
    made = run_refine(
        states / "vote", states / "relion", options=options, flags=RunFlags(threads=1)
    )
    volume, voxel = read_volume(states / "relion" / "class001" / "run_class001.mrc")
    assert made[-1].name == "run_class001.mrc"
    assert np.isclose(voxel, simulated.PIXEL)
    reference, _ = read_volume(states / "vote" / "class001.mrc")
    assert np.corrcoef(volume.ravel(), reference.ravel())[0, 1] > 0.7
