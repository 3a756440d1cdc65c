"""`landscape particles` on simulated particles whose conformation is known."""

import csv
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import simulated
from folders import write_resample

from alphacryo4d.cli import main
from alphacryo4d.core.errors import InputError, UsageError
from alphacryo4d.io.mrc import read_volume
from alphacryo4d.landscape.inputs_stage import read_inputs
from alphacryo4d.landscape.options import StatesOptions
from alphacryo4d.particle_landscape.frame import packed_size, unpacked
from alphacryo4d.particle_landscape.frame_stage import components_kept
from alphacryo4d.particle_landscape.options import CoordinateOptions, DensityOptions
from alphacryo4d.particle_landscape.orientation import warnings_of
from alphacryo4d.particle_landscape.stage import run_particles
from alphacryo4d.particle_landscape.votes_stage import run_density_votes
from alphacryo4d.particles.open import open_table
from alphacryo4d.report.ending import ending
from alphacryo4d.tools.status import format_status, project_status

COUNT = 1200
QUICK = CoordinateOptions(
    components=4, iterations=1, final_resolution=15.0, initial_resolution=20.0, mask_diameter=100.0
)
FEW = DensityOptions(gaussians=4, images=21, path_volumes=3)


def columns_of(path):
    with path.open() as stream:
        rows = list(csv.DictReader(stream))
    return {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}


def results(folder):
    return json.loads((folder / "job.json").read_text())["results"]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Three states of unequal populations; the first votes are a third wrong."""
    folder = tmp_path_factory.mktemp("project")
    rng = np.random.default_rng(11)
    truth = rng.choice([1, 2, 3], COUNT, p=[0.5, 0.3, 0.2])
    table, _ = simulated.simulate(folder, truth % 3, 0.2, rng)
    wrong = rng.random(COUNT) < 0.33
    votes = np.where(wrong, rng.integers(0, 4, COUNT), truth)
    simulated.write_project(folder, table, votes, rng)
    made = run_particles(folder, folder / "particle_landscape", options=QUICK, density=FEW)
    return folder, truth, made


def test_files_have_one_row_for_every_particle(project):
    folder, _, made = project
    place = folder / "particle_landscape"
    coordinates = np.load(place / "coordinates.npy")
    covariances = np.load(place / "covariances.npy")
    kept = coordinates.shape[1]
    assert coordinates.dtype == covariances.dtype == np.float32
    assert covariances.shape == (COUNT, packed_size(kept))
    assert np.load(place / "coordinates_seen.npy").shape == (COUNT, kept)
    values = np.linalg.eigvalsh(unpacked(covariances.astype(float), kept))
    assert values.min() > 0
    assert values.max() < 1 + 1e-5
    assert all(path.is_file() for path in made)
    assert not any(path.name.startswith(".coord") for path in place.iterdir())


def test_coordinates_tell_conformations_apart(project):
    folder, truth, _ = project
    coordinates = np.load(folder / "particle_landscape" / "coordinates.npy").astype(float)
    centres = np.array([coordinates[truth == k].mean(axis=0) for k in (1, 2, 3)])
    nearest = ((coordinates[:, None] - centres) ** 2).sum(axis=2).argmin(axis=1) + 1
    assert (nearest == truth).mean() > 0.85
    assert results(folder / "particle_landscape")["components"] >= 2


def test_covariances_are_the_spread_of_coordinates(project):
    """Within a conformation coordinates scatter as posteriors say: C - C C for a point."""
    folder, truth, _ = project
    place = folder / "particle_landscape"
    coordinates = np.load(place / "coordinates.npy").astype(float)
    q = coordinates.shape[1]
    covariance = unpacked(np.load(place / "covariances.npy").astype(float), q)
    said = (covariance - covariance @ covariance)[:, 0, 0].mean()
    spread = np.mean([coordinates[truth == k, 0].var() for k in (1, 2, 3)])
    assert 0.5 < spread / said < 2.0


def test_the_fold_that_saw_a_particle_and_the_one_that_did_not_agree(project):
    table = columns_of(project[0] / "particle_landscape" / "components.csv")
    assert table["agreement"][1] > 0.8
    assert table["view_share"][1] < 0.2
    assert table["heldout_gain_nats"][2] > 0.1
    assert table["kept"][0] == 1


def test_coordinates_that_encode_the_imaging_are_named(project):
    place = project[0] / "particle_landscape"
    assert results(place)["imaging"] == []
    said = warnings_of([0.1, 0.6], [0.3, float("nan")])
    assert len(said) == 2
    assert said[0].startswith("component 2 follows the viewing direction (60% of its variance)")
    assert said[1].startswith("component 1 follows the defocus")
    table = columns_of(place / "particles.csv")
    assert len(table["row"]) == COUNT
    assert set(table) >= {"z1", "z2", "state", "defocus_angstrom", "rot_degrees", "tilt_degrees"}
    assert (place / "particles.png").stat().st_size > 10_000


def test_populations_are_those_of_the_conformations_not_of_the_wrong_votes(project):
    folder, truth, _ = project
    table = columns_of(folder / "particle_landscape" / "populations.csv")
    wanted = np.bincount(truth, minlength=4)[1:] / COUNT
    away = np.abs(table["population"] - wanted)
    assert away.max() < np.abs(table["share_of_votes"] - wanted).max()
    assert (away < 4 * np.maximum(table["population_error"], 0.01)).all()
    np.testing.assert_allclose(table["energy_kt"], -np.log(table["population"]), rtol=1e-6)


def test_the_same_command_does_nothing_more_and_a_dry_run_says_so(project, capsys):
    folder, _, made = project
    times = [path.stat().st_mtime_ns for path in made]
    again = run_particles(folder, folder / "particle_landscape", options=QUICK, density=FEW)
    assert again == made
    assert [path.stat().st_mtime_ns for path in made] == times
    main(["landscape", "particles", "--i", str(folder), "--dry-run"])
    assert "redoing fold_b1_f1" in capsys.readouterr().err


def test_the_density_has_the_conformations_as_states_with_their_populations(project):
    folder, truth, made = project
    place = folder / "particle_landscape"
    states = columns_of(place / "density_states.csv")
    coordinates = np.load(place / "coordinates.npy").astype(float)[:, :2]
    centres = np.array([coordinates[truth == k].mean(axis=0) for k in (1, 2, 3)])
    minima = np.stack([states["z1"], states["z2"]], axis=1)
    nearest = ((centres[:, None] - minima) ** 2).sum(axis=2).argmin(axis=1)
    assert sorted(nearest) == [0, 1, 2]
    wanted = np.bincount(truth, minlength=4)[1:] / COUNT
    assert np.abs(states["population"][nearest] - wanted).max() < 0.08
    names = {path.name for path in made}
    assert {"energies.png", "energies.csv", "path.npy", "path.png", "path.csv"} <= names
    profile = columns_of(place / "path.csv")
    assert len(profile["length"]) == FEW.images
    assert profile["energy_kt"].min() == 0
    assert (profile["error_kt"] >= 0).all()
    barriers = columns_of(place / "barriers.csv")
    assert (barriers["forward_low_kt"] <= barriers["forward_value_kt"]).all()
    grid = columns_of(place / "energies.csv")
    share = np.exp(-grid["energy_kt"])
    share /= share.sum()
    assert 0.95 < share[grid["with_data"] == 1].sum() < 1.0


def test_volumes_along_the_path_are_those_of_the_conformations_at_its_ends(project):
    """Each end is more like its own conformer's reconstruction than like any other's."""
    folder, truth, _ = project
    place = folder / "particle_landscape"
    maps = [read_volume(place / "volumes" / f"path_{k:03d}.mrc") for k in (1, 2, 3)]
    assert len(list((place / "volumes").glob("*.mrc"))) == 3
    assert (place / "volumes" / "path.gif").read_bytes().startswith(b"GIF")
    assert all(voxel == pytest.approx(simulated.PIXEL) for _, voxel in maps)
    blobs = [np.vstack([simulated.BODY, arm]) for arm in simulated.ARMS[:2]]
    models = [density_of(shape, maps[0][0].shape[0]) for shape in (*blobs, [*simulated.BODY])]
    coordinates = np.load(place / "coordinates.npy").astype(float)[:, :2]
    centres = np.array([coordinates[truth == k].mean(axis=0) for k in (1, 2, 3)])
    path = np.load(place / "path.npy")
    for end, (volume, _) in ((0, maps[0]), (-1, maps[2])):
        nearest = int(((centres - path[end]) ** 2).sum(axis=1).argmin())
        correlations = [np.corrcoef(volume.ravel(), model.ravel())[0, 1] for model in models]
        assert int(np.argmax(correlations)) == nearest
        assert correlations[nearest] > 0.7


def density_of(positions, box):
    """Gaussian blobs on the grid of a map."""
    axis = (np.arange(box) - box // 2) * simulated.PIXEL
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    width = simulated.WIDTH
    return sum(
        np.exp(-((x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2) / (2 * width**2))
        for a, b, c in np.asarray(positions)
    )


def test_another_path_does_not_fit_the_components_again(project, tmp_path):
    folder, _, _ = project
    output = tmp_path / "out"
    shutil.copytree(folder / "particle_landscape", output)
    before = (output / "coordinates.npy").stat().st_mtime_ns
    options = DensityOptions(gaussians=4, images=15, start="1", end="2")
    run_particles(folder, output, options=QUICK, density=options)
    assert (output / "coordinates.npy").stat().st_mtime_ns == before
    assert np.load(output / "path.npy").shape == (15, 2)
    wrong = DensityOptions(gaussians=4, dimensions=4)
    with pytest.raises(InputError, match="--dimensions 4: held-out particles support"):
        run_particles(folder, output, options=QUICK, density=wrong)


def test_basins_are_states_voted_over_folds(project, capsys):
    folder, truth, _ = project
    main(["vote", "density", "--i", str(folder)])
    place = folder / "vote-density"
    assert str(place / "particles.star") in capsys.readouterr().out
    states = open_table(place / "particles.star").read(["rlnClassNumber"])["rlnClassNumber"]
    best = [np.bincount(truth[states == k], minlength=4).max() for k in np.unique(states) if k]
    assert len(best) == 3
    assert sum(best) / (states > 0).sum() > 0.85
    assert (states > 0).mean() > 0.8
    votes = np.load(place / "votes.npy")
    assert votes.shape == (COUNT, 3)
    assert (votes.sum(axis=1) == 3).all()
    report = json.loads((place / "report.json").read_text())
    assert report["heldout_agreement"] > report["heldout_chance"]
    # a basin is zoomed into as a state of the votes is
    np.save(folder / "resample" / "assignments.npy", np.load(place / "assignments.npy"))
    (folder / "landscape").mkdir()
    np.save(folder / "landscape" / "embedding.npy", np.zeros((12, 2), np.float32))
    main(["landscape", "zoom", "--i", str(folder), "--selection", "vote-density", "--state", "2",
          "--o", str(folder / "zoom")])  # fmt: skip
    rows = open_table(folder / "zoom" / "particles.star").read(["rlnImageName"])["rlnImageName"]
    names = open_table(place / "particles.star").read(["rlnImageName"])["rlnImageName"]
    np.testing.assert_array_equal(rows, names[states == 2])
    with pytest.raises(InputError, match=r"basins.npz: missing"):
        run_density_votes(folder / "vote", folder / "other")


def test_one_class_of_noise_is_no_structure(tmp_path, capsys):
    """Folds that all made one class leave nothing to lay out; single particles are asked."""
    rng = np.random.default_rng(3)
    table, _ = simulated.simulate(tmp_path, np.zeros(160, int), 1e-6, rng)
    groups = simulated.write_project(tmp_path, table, np.ones(160, int), rng)
    shutil.rmtree(tmp_path / "vote")
    assignments = np.tile(np.arange(4, dtype=np.int32), (160, 1))
    assignments[np.arange(160), groups[:, 1] - 1] = -1
    record = tmp_path / "resample" / "job.json"
    written = record.read_bytes()
    write_resample(tmp_path / "resample", np.zeros((4, 4, 4, 4), np.float32), assignments)
    record.write_bytes(written)
    project = ["--i", str(tmp_path)]
    with pytest.raises(InputError, match="no structure: every fold put all particles into one"):
        read_inputs(tmp_path / "resample", None)
    main(["landscape", "particles", *project, "--final-resolution", "25", "--initial-resolution",
          "25", "--mask-diameter", "100", "--no-refine-poses", "--iterations", "1"])  # fmt: skip
    assert "no structure" in capsys.readouterr().err
    assert results(tmp_path / "particle_landscape")["components"] == 0


def test_the_end_and_the_status_say_what_was_found(project, tmp_path):
    folder = project[0]
    place = folder / "particle_landscape"
    result, opened, *commands = ending("particle_landscape", place)
    kept = results(place)["components"]
    assert result.startswith(f"result: {kept} components; density over 2 with 3 states, ")
    assert "highest barrier" in result
    assert opened == f"open first: {place / 'energies.png'}"
    assert [line.split()[2] for line in commands] == ["volume", "vote"]
    told = format_status(project_status(folder))
    assert f"particle_landscape done, {kept} components, 3 states of the density" in told
    record = {"status": "done", "results": {"components": 0}}
    (tmp_path / "job.json").write_text(json.dumps(record))
    result, opened, *commands = ending("particle_landscape", tmp_path)
    assert result.startswith("result: no structure")
    assert opened == f"open first: {tmp_path / 'components.csv'}"
    assert len(commands) == 2
    with pytest.raises(UsageError, match="change --depth of `landscape particles`"):
        StatesOptions(centers="density", states="3")


def test_whether_states_are_discrete_is_said(project):
    place = project[0] / "particle_landscape"
    assert results(place)["verdict"] in ("discrete", "continuum", "not decided")
    table = columns_of(place / "discrete.csv")
    assert table["points"][0] == 1
    gains = table["heldout_gain_over_continuum_nats"]
    assert gains[2] > gains[1] + 0.1
    assert gains.max() < gains[2] + 0.01
    assert "3 points" in results(place)["discreteness"]


def test_a_table_with_the_coordinates_is_added_without_fitting_again(project, tmp_path):
    folder, _, _ = project
    output = tmp_path / "out"
    shutil.copytree(folder / "particle_landscape", output)
    before = {path: path.stat().st_mtime_ns for path in output.glob("*.np[yz]")}
    run_particles(folder, output, options=replace(QUICK, write_table=True), density=FEW)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    wanted = np.load(output / "coordinates.npy")
    count = wanted.shape[1]
    names = [f"ac4dCoordinate{axis}" for axis in range(1, count + 1)]
    table = open_table(output / "coordinates.star")
    read = table.read([*names, "ac4dCoordinateError1"])
    np.testing.assert_allclose(np.stack([read[name] for name in names], 1), wanted, atol=1e-5)
    covariance = np.load(output / "covariances.npy")
    np.testing.assert_allclose(read["ac4dCoordinateError1"] ** 2, covariance[:, 0], atol=1e-4)
    assert table.columns[0] == "rlnImageName"
    # any region of them is a selection
    where = "ac4dCoordinate1 > 0.5 and ac4dCoordinate2 < 0"
    given = str(output / "coordinates.star")
    main(["select", "--i", given, "--where", where, "--o", str(tmp_path / "some")])
    some = open_table(tmp_path / "some" / "particles.star").read(["rlnImageName"])
    chosen = (wanted[:, 0] > 0.5) & (wanted[:, 1] < 0)
    names = table.read(["rlnImageName"])["rlnImageName"]
    np.testing.assert_array_equal(some["rlnImageName"], names[chosen])
    assert 0 < chosen.sum() < COUNT


@pytest.mark.parametrize(("snr", "angle_error"), [(1e-8, 0.0), (0.3, 5.0)])
def test_noise_and_wrong_poses_are_no_structure(tmp_path, snr, angle_error):
    rng = np.random.default_rng(6)
    table, _ = simulated.simulate(tmp_path, np.ones(COUNT, int), snr, rng, angle_error=angle_error)
    simulated.write_project(tmp_path, table, rng.integers(1, 4, COUNT), rng)
    run_particles(tmp_path, tmp_path / "out", options=QUICK)
    assert results(tmp_path / "out")["components"] == 0
    assert columns_of(tmp_path / "out" / "components.csv")["kept"].sum() == 1
    assert not (tmp_path / "out" / "density_states.csv").exists()


def test_a_gain_within_its_errors_is_no_structure():
    assert components_kept(np.array([0, 0.1, 0.3, 0.2]), np.array([0, 0.01, 0.02, 0.02])) == 2
    assert components_kept(np.array([0, -0.1, -0.3]), np.array([0, 0.01, 0.02])) == 0
    assert components_kept(np.array([0, 0.01, 0.03]), np.array([0, 0.01, 0.02])) == 0


def test_options_that_make_no_sense_are_refused():
    for wrong in ({"components": 0}, {"angle_sigma": 1.0}, {"final_resolution": 0.0}):
        with pytest.raises(UsageError):
            CoordinateOptions(**wrong)
    for wrong in ({"dimensions": 5}, {"gaussians": 0}, {"start": "1"}, {"depth": 0.0}):
        with pytest.raises(UsageError):
            DensityOptions(**wrong)
