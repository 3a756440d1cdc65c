"""The stage and its commands, from files to files."""

import dataclasses
import json
import re
import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from folders import known_states, write_resample

from alphacryo4d.core.errors import InputError
from alphacryo4d.io.star import read_tables, write_tables
from alphacryo4d.landscape.cli import landscape
from alphacryo4d.landscape.distances import squared_distances
from alphacryo4d.landscape.energy import energy_error
from alphacryo4d.landscape.find_stage import find_states
from alphacryo4d.landscape.inputs_stage import read_inputs
from alphacryo4d.landscape.options import EmbedOptions, LandscapeOptions, PathOptions, StatesOptions
from alphacryo4d.landscape.particle_basins_stage import evidence_of
from alphacryo4d.landscape.plane import landscape_of
from alphacryo4d.landscape.stage import run_landscape
from alphacryo4d.landscape.steps_stage import run_energy, run_states
from alphacryo4d.landscape.zoom_stage import run_zoom
from alphacryo4d.particles.open import open_table

OPTIONS = LandscapeOptions(
    embed=EmbedOptions(dimensions=3, stability=True),
    path=PathOptions(images=100, bootstrap=5),
)


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
    run_landscape(folder / "resample", None, folder / "landscape", options=OPTIONS, seed=1)
    return folder


def test_every_file_of_the_contract_is_written(project):
    names = ["embedding.npy", "energy.npy", "energy_error.npy", "centers.npy", "states.star"]
    names += ["volume_states.npy", "landscape.png", "landscape.pdf", "embedding.png"]
    names += ["energies.png", "energies.pdf", "path.png", "path.pdf", "stability.png"]
    names += ["barriers.csv", "path.csv", "landscape.csv", "stability_embeddings.csv"]
    for name in names:
        assert (project / "landscape" / name).stat().st_size > 0
    assert np.load(project / "landscape/embedding.npy").dtype == np.float32
    assert np.load(project / "landscape/volume_states.npy").dtype == np.int32


def test_states_of_the_files_are_the_true_ones(project, known):
    states = read_tables(project / "landscape/states.star")["states"]
    assert states["ac4dState"].tolist() == [1, 2, 3]
    labels = np.load(project / "landscape/volume_states.npy")
    assert len({*zip(labels.tolist(), known[4].tolist(), strict=True)}) == 3
    counts = np.bincount(known[1][known[1] >= 0])
    share = np.bincount(labels, weights=counts)[1:] / counts.sum()
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


def test_the_same_command_does_nothing(project):
    folder = project / "landscape"
    before = (folder / "embedding.npy").stat().st_mtime_ns
    run_landscape(project / "resample", None, folder, options=OPTIONS, seed=1)
    assert (folder / "embedding.npy").stat().st_mtime_ns == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "redone"),
    [
        ({"states": StatesOptions(states="2")}, {"states.star", "landscape.png"}),
        ({"path": dataclasses.replace(OPTIONS.path, range=99.0)}, {"landscape.png"}),
        (
            {"path": dataclasses.replace(OPTIONS.path, images=30)},
            {"path.npy", "states.star", "landscape.png"},
        ),
        (
            {"embed": dataclasses.replace(OPTIONS.embed, perplexity=4.0)},
            {"embedding.npy", "energy_error.npy", "path.npy", "states.star", "landscape.png"},
        ),
    ],
)
def test_only_what_depends_on_an_option_is_redone(project, tmp_path, change, redone):
    folder, fresh = tmp_path / "again", tmp_path / "fresh"
    shutil.copytree(project / "landscape", folder)
    times = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    options = dataclasses.replace(OPTIONS, **change)
    for place in (folder, fresh):
        run_landscape(project / "resample", None, place, options=options, seed=1)
    looked_at = "embedding.npy", "energy_error.npy", "path.npy", "states.star", "landscape.png"
    assert {n for n in looked_at if (folder / n).stat().st_mtime_ns != times[n]} == redone
    assert sorted(p.name for p in folder.iterdir()) == sorted(p.name for p in fresh.iterdir())
    for path in fresh.iterdir():
        if path.suffix in (".npy", ".star", ".csv", ".png"):
            assert (folder / path.name).read_bytes() == path.read_bytes(), path.name


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
    assert np.array_equal(np.load(tmp_path / "out/embedding.npy"), points)


def test_states_of_a_given_embedding_lie_beside_it(project, tmp_path, monkeypatch):
    from alphacryo4d.voting.inputs_stage import read_states

    mine = np.load(project / "landscape/embedding.npy")[:, ::-1] * 3.0
    np.save(tmp_path / "mine.npy", mine)
    monkeypatch.setattr("alphacryo4d.landscape.stage.embed", None)  # nothing is embedded anew
    given = {"embedding": tmp_path / "mine.npy", "counts": None, "resample": project / "resample"}
    run_states(tmp_path / "o", options=OPTIONS, **given)
    states = read_states(tmp_path / "o")
    assert np.array_equal(states.points, mine)
    assert (np.linalg.norm(mine[:, None] - states.centers, axis=2).min(axis=0) < 1e-4).all()


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


def test_the_same_zoom_keeps_its_states_when_a_reclassification_comes(project, tmp_path):
    home = tmp_path / "project"
    shutil.copytree(project, home)
    run_zoom(home, tmp_path / "z", state=2)
    written = (tmp_path / "z/particles.star").read_bytes()
    (home / "reclassify").mkdir()
    table = open_table(project / "particles.star")
    other = {"rlnClassNumber": np.full(table.rows, 2, np.int32)}
    table.write_with_columns(home / "reclassify/particles.star", other)
    run_zoom(home, tmp_path / "z", state=2)
    assert (tmp_path / "z/particles.star").read_bytes() == written
    run_zoom(home, tmp_path / "new", state=2)
    assert open_table(tmp_path / "new/particles.star").rows == table.rows


def test_zoom_into_a_state_that_is_not_there_is_refused(project, tmp_path):
    with pytest.raises(InputError, match="no volume is in state 9"):
        run_zoom(project, tmp_path / "z", state=9)


def test_zoom_into_a_polygon_takes_the_volumes_inside(project, tmp_path, known):
    folder = project / "landscape"
    embedding, states = np.load(folder / "embedding.npy"), np.load(folder / "volume_states.npy")
    low, high = embedding[states == 1].min(0) - 1e-3, embedding[states == 1].max(0) + 1e-3
    corners = np.array([low, [high[0], low[1]], high, [low[0], high[1]]])
    np.savetxt(tmp_path / "corners.txt", corners)
    command = ["zoom", "--i", str(project), "--o", str(tmp_path / "z")]
    command += ["--polygon", str(tmp_path / "corners.txt")]
    result = CliRunner().invoke(landscape, command, catch_exceptions=False)
    assert result.stdout.split() == [str(tmp_path / "z/particles.star")]
    inside = ((embedding > low) & (embedding < high)).all(1)
    assert inside[states == 1].all()
    rows = read_tables(tmp_path / "z/particles.star")["particles"]
    kept = np.rint(np.asarray(rows["rlnAnglePsi"]) * 7).astype(int)
    votes = np.where(known[1] >= 0, inside[known[1]], False).sum(1)
    np.testing.assert_array_equal(kept, np.flatnonzero(votes >= 2))


@pytest.mark.parametrize(
    ("corners", "message"),
    [([[0, 0], [1, 1]], "needs three"), ([[900, 900], [901, 900], [900, 901]], "no volume")],
)
def test_a_polygon_without_volumes_is_refused(project, tmp_path, corners, message):
    np.save(tmp_path / "corners.npy", np.array(corners, float))
    with pytest.raises(InputError, match=message):
        run_zoom(project, tmp_path / "z", polygon=tmp_path / "corners.npy")


def test_folds_of_the_figure_data_have_their_names(project):
    lines = (project / "landscape/embedding.csv").read_text().splitlines()
    names = [line.split(",")[lines[0].split(",").index("fold")] for line in lines[1:]]
    assert sorted(set(names)) == ["u123", "u124", "u134", "u234"]
    assert lines[1].split(",")[0].startswith(names[0])


def test_columns_of_the_figure_data_carry_their_units(project):
    names = (project / "landscape/embedding.csv").read_text().splitlines()[0].split(",")
    wanted = ["volume_energy_kt", "volume_energy_error_kt", "particles", "fold", "batch"]
    assert names == ["volume", "rc1", "rc2", "state", *wanted, "resolution_angstrom",
                     "density_energy_kt"]  # fmt: skip


def test_errors_count_images_where_rows_are_copies(known, tmp_path):
    """Every row twice: the table knows the images of every volume, and so do the states."""
    volumes, assignments, *_ = known
    double = np.repeat(assignments, 2, axis=0)
    folder = write_resample(tmp_path / "resample", volumes, double)
    np.save(folder / "images.npy", np.repeat(np.arange(len(assignments)), 2))
    inputs = read_inputs(folder, None)
    np.testing.assert_array_equal(2 * inputs.table.images, inputs.table.counts)
    assert folder / "images.npy" in inputs.paths
    options = StatesOptions(states="3")
    evidence = evidence_of(squared_distances([volumes]), inputs, folder, options)
    np.testing.assert_array_equal(evidence.copies, np.load(folder / "images.npy"))
    # the whole stage, and its steps on a given embedding
    path = PathOptions(images=50, bootstrap=3, stepmax=500)
    whole = LandscapeOptions(embed=EmbedOptions(), path=path, states=options)
    run_landscape(folder, None, tmp_path / "whole", options=whole, seed=1)
    given = {"resample": folder, "counts": None, "embedding": tmp_path / "whole/embedding.npy"}
    run_energy(tmp_path / "energy", options=whole, **given)
    run_states(tmp_path / "states", options=whole, **given)
    errors = np.load(tmp_path / "whole/energy_error.npy")
    table = inputs.table
    of_copies = energy_error(np.load(given["embedding"]), table.counts, table.left_out)
    np.testing.assert_allclose(errors**2 - of_copies**2, 1 / table.images - 1 / table.counts)
    np.testing.assert_array_equal(np.load(tmp_path / "energy/energy_error.npy"), errors)
    of_states = [
        read_tables(tmp_path / name / "states.star")["states"]["ac4dEnergyError"]
        for name in ("whole", "states")
    ]
    np.testing.assert_array_equal(*of_states)
    np.save(folder / "images.npy", np.arange(3))
    with pytest.raises(InputError, match="images.npy: has 3 particles"):
        read_inputs(folder, None)


def test_the_embedding_in_space_comes_with_a_page_that_names_no_network(project):
    folder = project / "landscape"
    points = np.load(folder / "embedding3d.npy")
    assert points.shape == (24, 3)
    page = (folder / "embedding3d.html").read_text()
    data = json.loads(re.search(r"const data = (.*);\n", page)[1])
    shown = np.array(data["points"])
    centred = points - points.mean(0)
    np.testing.assert_allclose(shown, centred / np.linalg.norm(centred, axis=1).max(), atol=1e-4)
    assert data["columns"][0]["title"] == "State"
    assert "http" not in page
    for name in ("embedding3d.png", "embedding3d.pdf", "embedding3d.csv"):
        assert (folder / name).stat().st_size > 0


def test_barriers_of_the_file_hold_their_heights(project):
    lines = (project / "landscape/barriers.csv").read_text().splitlines()
    assert lines[0] == "barrier,top_rc1,top_rc2,height_kt,low_kt,high_kt,resolved"
    rows = np.array([line.split(",")[3:6] for line in lines[1:]], float)
    assert lines[-4].startswith("lowest path forward")
    assert lines[-2].startswith("lowest path through the volumes forward")
    assert (rows[:, 1] >= 0).all()
    assert (rows[:, 1] <= rows[:, 2]).all()
    said = {line.split(",")[0]: line.split(",")[6] for line in lines[1:]}
    low = dict(zip(said, rows[:, 1], strict=True))
    for name, word in said.items():
        barrier = name.removesuffix(" forward").removesuffix(" backward")
        both = [low[f"{barrier} {way}"] > 0 for way in ("forward", "backward")]
        assert word == ("yes" if all(both) else "no")


@pytest.mark.parametrize(
    ("column", "row", "value", "message"),
    [
        ("ac4dVolumeName", 3, "u234_b1_c001", "u234_b1_c001 is there twice"),
        ("ac4dParticleCount", 5, 0, "row 6 .* has 0 particles; an empty class"),
    ],
)
def test_a_wrong_row_of_the_volume_table_is_named(known, tmp_path, column, row, value, message):
    folder = write_resample(tmp_path / "r", known[0], known[1])
    tables = read_tables(folder / "volumes.star")
    values = list(tables["volumes"][column])
    values[row] = value
    tables["volumes"][column] = values
    write_tables(folder / "volumes.star", tables)
    with pytest.raises(InputError, match=message):
        run_landscape(folder, None, tmp_path / "o")


def test_volumes_belong_to_the_basin_that_most_of_their_particles_lie_in(known, tmp_path):
    """Particles lie around three points of a line with errors of a third of their distance."""
    volumes, assignments, _, truth, volume_truth = known
    write_resample(tmp_path / "resample", volumes, assignments)
    options = LandscapeOptions(
        embed=EmbedOptions(embedding_method="pca"),
        path=PathOptions(path=False),
        states=StatesOptions(centers="density"),
    )
    made = tmp_path / "particle_landscape"
    with pytest.raises(InputError, match=r"basins.npz: missing; --centers density takes what"):
        run_landscape(tmp_path / "resample", None, tmp_path / "landscape", options=options)
    made.mkdir()
    variance, rng = 0.1, np.random.default_rng(0)
    seen = (truth - 1) + np.sqrt(variance) * rng.standard_normal(len(truth))
    # posterior under a standard normal prior, as the stage writes it
    np.save(made / "coordinates.npy", (seen / (1 + variance))[:, None].astype(np.float32))
    np.save(made / "covariances.npy", np.full((len(truth), 1), variance / (1 + variance), "f4"))
    points = np.linspace(-1.5, 1.5, 300)[:, None]
    labels = np.digitize(points[:, 0], [-0.5, 0.5]) + 1
    np.savez(made / "basins.npz", points=points, shares=np.full(300, 1 / 300), states=labels)
    inputs = read_inputs(tmp_path / "resample", None)
    among = (np.empty((0, 0)), inputs, tmp_path / "resample", options.states)
    places = rng.standard_normal((len(volumes), 2))
    plane = landscape_of(places, inputs.table.counts, inputs.table.fold_numbers, options.energy)
    states = find_states(plane, options.states, None, evidence_of(*among), 0).volumes
    assert len({*zip(states.tolist(), volume_truth.tolist(), strict=True)}) == 3
    assert set(states.tolist()) == {1, 2, 3}
    np.save(made / "coordinates.npy", np.zeros((5, 1), np.float32))
    with pytest.raises(InputError, match="has 5 particles"):
        evidence_of(*among)


def test_ends_off_the_landscape_and_states_without_volumes_are_said(project, tmp_path, caplog):
    folder = project / "landscape"
    centers = np.vstack([np.load(folder / "centers.npy"), [[900.0, 900.0]]])
    np.savetxt(tmp_path / "centers.txt", centers)
    command = ["states", "--i", str(project / "resample"), "--o", str(tmp_path / "o")]
    command += ["--embedding", str(folder / "embedding.npy"), "--radius", "30"]
    command += [
        "--centers",
        str(tmp_path / "centers.txt"),
        "--start",
        "900",
        "0",
        "--end",
        "-900",
        "0",
    ]
    command += ["--images", "30", "--bootstrap", "0", "--stepmax", "50"]
    CliRunner().invoke(landscape, command, catch_exceptions=False)
    assert "2 of its given points are outside the landscape" in caplog.text
    assert "states without a volume: 4" in caplog.text
    states = read_tables(tmp_path / "o/states.star")["states"]
    assert np.isfinite(np.asarray(states["ac4dEnergy"])).all()
    assert np.isfinite(np.load(tmp_path / "o/path.npy")).all()
