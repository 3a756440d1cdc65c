"""The stage and its commands, from files to files."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from folders import known_states, write_resample

from alphacryo4d.errors import InputError, UsageError
from alphacryo4d.landscape.cli import landscape
from alphacryo4d.landscape.options import LandscapeOptions, PathOptions, StatesOptions
from alphacryo4d.landscape.stage import run_landscape
from alphacryo4d.landscape.zoom_stage import run_zoom
from alphacryo4d.star import read_tables, write_tables


@pytest.fixture(scope="module")
def known():
    return known_states(np.random.default_rng(7))


@pytest.fixture(scope="module")
def project(tmp_path_factory, known):
    folder = tmp_path_factory.mktemp("project")
    volumes, assignments, heldout, truth, _ = known
    table = folder / "particles.star"
    write_tables(table, {"particles": {"rlnAnglePsi": np.arange(len(truth)) / 7}})
    write_resample(folder / "resample", volumes, assignments, heldout, table=table)
    run_landscape(folder / "resample", None, folder / "landscape", seed=1)
    return folder


def test_every_file_of_the_contract_is_written(project):
    names = ["embedding.npy", "energy.npy", "energy_error.npy", "centers.npy", "states.star"]
    names += ["volume_states.npy", "landscape.png", "landscape.pdf", "embedding.png"]
    for name in names:
        assert (project / "landscape" / name).stat().st_size > 0
    assert np.load(project / "landscape/embedding.npy").dtype == np.float32
    assert np.load(project / "landscape/volume_states.npy").dtype == np.int32


def test_states_of_the_files_are_the_true_ones(project, known):
    states = read_tables(project / "landscape/states.star")["states"]
    assert states["ac4dState"].tolist() == [1, 2, 3]
    found = np.load(project / "landscape/volume_states.npy")
    assert len({*zip(found.tolist(), known[4].tolist(), strict=True)}) == 3
    counts = np.bincount(known[1][known[1] >= 0])
    share = np.bincount(found, weights=counts)[1:] / counts.sum()
    np.testing.assert_allclose(states["ac4dEnergy"], -np.log(share), rtol=1e-9)


def test_centers_and_radii_show_the_states(project):
    from alphacryo4d.landscape.states import assign_volumes

    folder = project / "landscape"
    states = read_tables(folder / "states.star")["states"]
    by_rule = assign_volumes(
        np.load(folder / "embedding.npy"),
        np.load(folder / "centers.npy"),
        np.asarray(states["ac4dRadius"]),
    )
    assert (by_rule == np.load(folder / "volume_states.npy")).mean() > 0.9


def test_the_same_command_does_nothing_and_other_options_are_refused(project):
    folder = project / "landscape"
    before = (folder / "embedding.npy").stat().st_mtime_ns
    run_landscape(project / "resample", None, folder, seed=1)
    assert (folder / "embedding.npy").stat().st_mtime_ns == before
    with pytest.raises(UsageError, match="other work"):
        run_landscape(project / "resample", None, folder, seed=2)


@pytest.mark.parametrize("centers", ["path", "minima"])
def test_other_kinds_of_centers(project, tmp_path, centers):
    options = LandscapeOptions(
        states=StatesOptions(centers=centers, states="3"),
        path=PathOptions(images=50, bootstrap=3, stepmax=500),
    )
    run_landscape(project / "resample", None, tmp_path / "o", options=options, seed=1)
    assert np.load(tmp_path / "o/centers.npy").shape == (3, 2)
    if centers == "path":
        assert np.load(tmp_path / "o/path.npy").shape == (50, 2)
        header = (tmp_path / "o/path.csv").read_text().splitlines()[0]
        assert header == "length,rc1,rc2,energy_kt,error_kt"


def test_counts_in_another_order_are_refused(known, tmp_path):
    volumes, assignments, *_ = known
    folder = write_resample(tmp_path / "r", volumes, assignments)
    swapped = np.where(assignments == 0, 1, np.where(assignments == 1, 0, assignments))
    np.save(folder / "assignments.npy", swapped)
    with pytest.raises(InputError, match="another order"):
        run_landscape(folder, None, tmp_path / "o")
    assert not (tmp_path / "o").exists()


def test_features_of_other_volumes_are_refused(known, tmp_path):
    folder = write_resample(tmp_path / "r", known[0], known[1])
    np.save(tmp_path / "features.npy", np.zeros((5, 2, 2, 2, 1), np.float32))
    with pytest.raises(InputError, match="24 rows"):
        run_landscape(folder, tmp_path / "features.npy", tmp_path / "o")


def test_a_path_of_the_prototypes_files(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    points = rng.uniform(-100, 100, (60, 2)).astype(np.float32)
    np.save(tmp_path / "output.npy", points)
    np.savetxt(tmp_path / "num.txt", rng.integers(50, 500, 60), fmt="%d")
    command = ["path", "--embedding", "output.npy", "--counts", "num.txt", "--start", "-50", "40"]
    command += ["--end", "60", "-30", "--stepsize", "0.1", "--kcenters", "4", "--o", "out"]
    command += ["--stepmax", "200", "--bootstrap", "0", "--range", "100", "--json"]
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(landscape, command, catch_exceptions=False)
    assert result.exit_code == 0
    outputs = json.loads(result.stdout)["outputs"]
    assert any(name.endswith("path.npy") for name in outputs)
    assert np.load(tmp_path / "out/centers.npy").shape == (4, 2)


@pytest.mark.parametrize("name", ["embed", "energy", "path", "states", "zoom"])
def test_every_subcommand_has_help(name):
    assert CliRunner().invoke(landscape, [name, "--help"]).exit_code == 0


def test_zoom_writes_the_rows_of_one_state(project, tmp_path, known):
    run_zoom(project, tmp_path / "z", state=2)
    rows = read_tables(tmp_path / "z/particles.star")["particles"]
    kept = np.rint(np.asarray(rows["rlnAnglePsi"]) * 7).astype(int)
    states = np.load(project / "landscape/volume_states.npy")
    votes = np.where(known[1] >= 0, states[known[1]] == 2, False).sum(1)
    np.testing.assert_array_equal(kept, np.flatnonzero(votes >= 2))
    record = json.loads((tmp_path / "z/job.json").read_text())
    assert record["results"]["homogeneity"]["homogeneous"] is True


def test_zoom_into_a_state_that_is_not_there_is_refused(project, tmp_path):
    with pytest.raises(InputError, match="no volume is in state 9"):
        run_zoom(project, tmp_path / "z", state=9)
