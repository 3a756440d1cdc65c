"""Volumes at points: sums against plain numpy, widths against the truth, the command whole."""

import csv
import json

import numpy as np
import pytest
import simulated

from alphacryo4d.cli import main
from alphacryo4d.core.errors import InputError, UsageError
from alphacryo4d.io.mrc import read_volume
from alphacryo4d.maths.fsc import shell_correlation
from alphacryo4d.ml3d.grid import Grid
from alphacryo4d.ml3d.images import PreparedImages, half_plane, viewing_order
from alphacryo4d.ml3d.reconstruct import finished, reconstruct
from alphacryo4d.particle_landscape.at_stage import run_volumes
from alphacryo4d.particle_landscape.frame import packed_size
from alphacryo4d.particle_landscape.nearness import (
    CANDIDATES,
    Width,
    effective,
    nearness,
    trial_widths,
    weights_near,
)
from alphacryo4d.particle_landscape.points_stage import read_points
from alphacryo4d.particle_landscape.volume_options import VolumeOptions
from alphacryo4d.particle_landscape.weighted import (
    PointWeights,
    choose_widths,
    memory_of_point,
    weighted_sums,
)
from alphacryo4d.particle_landscape.width_choice import RINGS, chosen_widths, rings_of
from alphacryo4d.reconstruction.stage import source_particles

COUNT, BOX, PIXEL = 2400, simulated.BOX, simulated.PIXEL
ERROR = 0.15
"""Error of every coordinate of the simulated particles."""


def some_images(count, rng, symmetry=None):
    """Noise images with random CTFs and views."""
    kx, ky, shell = half_plane(BOX, (BOX - 1) // 2)
    angles = rng.uniform(-180, 180, (count, 3))
    turns = simulated.rotation(angles)
    extra = {} if symmetry is None else {"symmetry": symmetry}
    return PreparedImages(
        rng.standard_normal((count, len(kx), 2)).astype(np.float32),
        rng.uniform(-1, 1, (count, len(kx))).astype(np.float32),
        np.ascontiguousarray(turns[:, :2], np.float32),
        np.zeros(count, np.int32),
        kx,
        ky,
        shell,
        viewing_order(turns[:, 2]),
        BOX,
        PIXEL,
        **extra,
    )


def plain_sums(images, weights_of_sample, rows, size):
    """Trilinear back projection in double precision, sample by sample."""
    sums = np.zeros((size, size, size // 2 + 1, 3))
    for p in rows:
        for turn in images.symmetry:
            matrix = 2.0 * images.matrices[p].astype(float) @ turn
            for s, (kx, ky) in enumerate(zip(images.kx, images.ky, strict=True)):
                place = kx * matrix[0] + ky * matrix[1]
                sign = -1.0 if place[0] < 0 else 1.0
                place = place * sign
                low = np.floor(place).astype(int)
                part = place - low
                re, im = images.data[p, s].astype(float)
                c, w = float(images.ctf[p, s]), float(weights_of_sample[p, s])
                for corner in np.ndindex(2, 2, 2):
                    factor = np.prod(np.where(corner, part, 1 - part))
                    x, y, z = low + corner
                    if factor:
                        sums[z % size, y % size, x] += (
                            factor * w * np.array([c * re, sign * c * im, c * c])
                        )
    return sums


@pytest.mark.parametrize("group", [1, 2])
def test_sums_are_those_of_double_precision(group):
    rng = np.random.default_rng(1)
    half_turn = np.stack([np.eye(3), np.diag([-1.0, -1.0, 1.0])])[:group]
    images = some_images(8, rng, half_turn)
    weights = rng.uniform(0, 1, (8, 3)).astype(np.float32)
    weights[2] = 0
    choice = rng.integers(0, 3, images.radius + 1)
    halves = np.array([0, 1, 0, 1, 0, 0, 1, 1])
    sums = weighted_sums(images, [PointWeights(weights)], [choice], halves, workers=2)[0]
    size = Grid(images.radius).padded
    for half in (0, 1):
        wanted = plain_sums(
            images, weights[:, choice[images.shell]], np.flatnonzero(halves == half), size
        )
        shaped = sums[half].reshape(size, size, size // 2 + 1, 4)[..., :3]
        np.testing.assert_allclose(shaped, wanted, atol=2e-5 * np.abs(wanted).max())


def test_rings_stand_for_the_widths():
    """Every particle with a weight has a ring, near ones first; means give back the sums."""
    rng = np.random.default_rng(6)
    _, mean, covariance = ring(rng)
    near = nearness(mean, covariance)
    point = np.array([1.5, 0.0])
    weights = weights_near(near, point, trial_widths(near, point, 6, 40, 600))
    rings, means = rings_of(weights)
    np.testing.assert_array_equal(rings >= 0, weights.any(axis=1))
    counts = np.bincount(rings[rings >= 0], minlength=RINGS)
    assert (counts > 0).all()
    assert counts[0] < 30
    np.testing.assert_allclose(means @ counts, weights.sum(axis=0), rtol=1e-4)
    assert (np.diff(means[len(means) // 2]) <= 0).all()
    smooth = means[:, rings].T
    chosen = rings >= 0
    worth = smooth[chosen].sum(axis=0) ** 2 / (smooth[chosen] ** 2).sum(axis=0)
    np.testing.assert_allclose(worth, weights.sum(axis=0), rtol=0.2)


def test_equal_weights_are_an_ordinary_reconstruction():
    rng = np.random.default_rng(2)
    images = some_images(300, rng)
    chosen = rng.random(300) < 0.5
    halves = rng.integers(0, 2, 300)
    labels = np.where(chosen, 0, -1)
    wanted = next(iter(reconstruct(images, labels, half_sets=halves, threads=1)))
    weights = [PointWeights(chosen.astype(np.float32)[:, None]), PointWeights(np.ones((300, 1)))]
    choice = [np.zeros(images.radius + 1, int)] * 2
    for workers in (1, 2):
        sums = weighted_sums(images, weights, choice, halves, workers=workers)
        made = finished(images, Grid(images.radius), sums[0], 0, 1, int(chosen.sum()))
        np.testing.assert_allclose(
            made.half_maps, wanted.half_maps, atol=1e-5 * np.ptp(wanted.half_maps)
        )
        np.testing.assert_allclose(made.fsc, wanted.fsc, atol=1e-4)


def ring(rng):
    """Angles of an arm, coordinates with a known error and their posteriors."""
    angle = rng.uniform(0, 2 * np.pi, COUNT)
    true = 1.5 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    seen = true + rng.normal(0, ERROR, true.shape)
    information = np.eye(2) / ERROR**2
    covariance = np.linalg.inv(information + np.eye(2))
    return angle, seen @ (information @ covariance), np.tile(covariance, (COUNT, 1, 1))


def test_weights_are_the_posterior_mass_near_the_point():
    """A particle's share within a Gaussian neighbourhood, by drawing from its posterior."""
    rng = np.random.default_rng(3)
    _, mean, covariance = ring(rng)
    near = nearness(mean, covariance)
    point, width = np.array([1.5, 0.0]), Width(1.0, 2.0)
    logs = near.logs(point, (width,))[:, 0]
    rows = np.argsort(logs)[[-1, -40, -200]]
    precision = np.linalg.inv(covariance[0]) - np.eye(2) * (1 - 1 / 9)
    shares = []
    for row in rows:
        centre = np.linalg.solve(precision, np.linalg.solve(covariance[0], mean[row]))
        drawn = rng.multivariate_normal(centre, np.linalg.inv(precision), 200_000)
        away = (drawn - point) @ near.whitening.T / width.width
        shares.append(np.exp(-0.5 * (away**2).sum(axis=1)).mean())
    np.testing.assert_allclose(np.exp(logs[rows] - logs[rows[0]]), shares / shares[0], rtol=0.03)


def test_widths_go_from_few_to_many_particles():
    rng = np.random.default_rng(4)
    _, mean, covariance = ring(rng)
    near = nearness(mean, covariance)
    point = np.array([0.0, -1.5])
    widths = trial_widths(near, point, 6, 40, 600)
    worth = effective(near.logs(point, widths))
    assert len(widths) >= 4
    assert set(widths) <= set(CANDIDATES)
    assert (np.diff(worth) > 0).all()
    assert 20 < worth[0] < 80
    assert 400 < worth[-1] < 900
    weights = weights_near(near, point, widths)
    np.testing.assert_allclose(weights.sum(axis=0), worth, rtol=0.1)
    assert 0.0 < (weights[:, 0] > 0).mean() < 0.2


def test_the_widest_is_taken_where_nothing_is_known():
    assert (chosen_widths(np.zeros((9, 4)), np.ones(9)) == 3).all()
    clear = np.tile([1000.0, 3000.0, 500.0, 0.0], (9, 1))
    assert (chosen_widths(clear, np.ones(9)) == 1).all()


def arm_at(angle):
    """Blobs of the body, and an arm that is turned about the z axis."""
    turned = 30 * np.array([np.cos(angle), np.sin(angle), 0.0])
    further = 42 * np.array([np.cos(angle + 0.15), np.sin(angle + 0.15), 0.1])
    return np.vstack([simulated.BODY, turned, further])


def density_of(positions):
    """Gaussian blobs on the grid of a map."""
    axis = (np.arange(BOX) - BOX // 2) * PIXEL
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    return sum(
        np.exp(-((x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2) / (2 * simulated.WIDTH**2))
        for a, b, c in positions
    )


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project whose particle landscape is known: an arm that turns through all angles."""
    folder = tmp_path_factory.mktemp("turning")
    rng = np.random.default_rng(5)
    angle, mean, covariance = ring(rng)
    shapes = [arm_at(one) for one in angle]
    table, _ = simulated.simulate(folder, np.arange(COUNT), 0.1, rng, shapes=shapes)
    simulated.write_project(folder, table, np.ones(COUNT, int), rng)
    place = folder / "particle_landscape"
    place.mkdir()
    np.save(place / "coordinates.npy", mean.astype(np.float32))
    packed = covariance[:, *np.triu_indices(2)]
    assert packed.shape[1] == packed_size(2)
    np.save(place / "covariances.npy", packed.astype(np.float32))
    minima = 1.5 * np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    lines = [f"{n},{a},{b},0.5" for n, (a, b) in enumerate(minima, 1)]
    (place / "density_states.csv").write_text("\n".join(["state,z1,z2,energy_kt", *lines]) + "\n")
    turn = np.linspace(0, np.pi, 21)
    np.save(place / "path.npy", 1.5 * np.stack([np.cos(turn), np.sin(turn)], axis=1))
    around = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    np.savez(
        place / "density.npz",
        proportions=np.full(24, 1 / 24),
        means=1.5 * np.stack([np.cos(around), np.sin(around)], axis=1),
        covariances=np.tile(0.04 * np.eye(2), (24, 1, 1)),
    )
    (place / "job.json").write_text((folder / "vote" / "job.json").read_text())
    return folder, angle


def read_rows(path):
    with path.open() as stream:
        return list(csv.DictReader(stream))


def test_volumes_at_points_are_those_of_the_molecule_there(project, capsys):
    """Each is more like the truth there than like the truth at any other angle."""
    folder, angle = project
    main(["volume", "--i", str(folder), "--at", "states;path:3;0.0,-1.5", "--j", "2"])
    made = [line for line in capsys.readouterr().out.splitlines() if line]
    place = folder / "particle_volumes"
    assert str(place / "volume_007.mrc") in made
    rows = read_rows(place / "volumes.csv")
    assert len(rows) == 7
    degrees = [0, 90, 180, 0, 90, 180, 270]
    truths = [density_of(arm_at(np.deg2rad(one))) for one in (0, 90, 180, 270)]
    for number, wanted in enumerate(degrees, 1):
        volume, voxel = read_volume(place / f"volume_{number:03d}.mrc")
        assert voxel == pytest.approx(PIXEL)
        likeness = [np.corrcoef(volume.ravel(), truth.ravel())[0, 1] for truth in truths]
        assert int(np.argmax(likeness)) == wanted // 90
        assert likeness[wanted // 90] > 0.9
        assert (place / f"volume_{number:03d}_half2_unfil.mrc").is_file()
        assert float(rows[number - 1]["resolution_masked"]) < 20
    report = json.loads((place / "volumes.json").read_text())
    assert report["halves"] == "rlnRandomSubset"
    assert report["volumes"][6]["coordinates"] == [0.0, -1.5]
    assert "optimistic" in report["note"]
    widths = read_rows(place / "volume_001_widths.csv")
    assert all(30 < float(row["particles_worth"]) < COUNT / 3 for row in widths)


def test_half_sets_choose_widths_as_near_to_the_truth_as_the_best_single_one(project):
    from alphacryo4d.particle_landscape.at_stage import _read

    folder, angle = project
    inputs = _read(folder / "particle_landscape", 2, VolumeOptions(), no_flags())
    images = images_of(inputs)
    near = nearness(inputs.mean, covariances(inputs))
    point = np.array([1.5, 0.0])
    widths = trial_widths(near, point, 6, 40, 1200)
    weights = weights_near(near, point, widths)
    choice = choose_widths(images, [PointWeights(weights)], inputs.halves, workers=2)[0]
    truth = density_of(arm_at(0.0))
    single = [np.full(len(choice), k) for k in range(len(widths))]
    every = [PointWeights(weights)] * (len(widths) + 1)
    sums = weighted_sums(images, every, [choice, *single], inputs.halves, workers=2)
    grid = Grid(images.radius)
    made = [finished(images, grid, one, 0, 1, 1) for one in sums]
    curves = [shell_correlation(one.half_maps.mean(axis=0), truth)[1:7] for one in made]
    chosen, others = curves[0].mean(), [curve.mean() for curve in curves[1:]]
    assert chosen > max(others) - 0.005
    assert chosen > max(others[0], others[-1]) + 0.01


def covariances(inputs):
    from alphacryo4d.particle_landscape.frame import unpacked

    return unpacked(inputs.covariance, 2)


def no_flags():
    from alphacryo4d.core.run_flags import RunFlags

    return RunFlags()


def images_of(inputs):
    from alphacryo4d.voting.recorded_stage import prepare_recorded

    return prepare_recorded(inputs.particles, inputs.rows, inputs.recorded, None, threads=2)


def test_the_same_command_does_nothing_and_other_points_are_made_again(project, tmp_path):
    folder, _ = project
    landscape = folder / "particle_landscape"
    options = VolumeOptions(at="1.5;0,1.5", widths=2, memory=0.001, movie=True)
    made = run_volumes(landscape, tmp_path / "out", options=options)
    times = [path.stat().st_mtime_ns for path in made]
    assert run_volumes(landscape, tmp_path / "out", options=options) == made
    assert [path.stat().st_mtime_ns for path in made] == times
    (stack,) = source_particles(landscape).stacks
    held = stack.read_bytes()
    stack.write_bytes(held[:-4000] + held[-8000:-4000])
    assert run_volumes(landscape, tmp_path / "out", options=options) == made
    assert all(p.stat().st_mtime_ns > t for p, t in zip(made, times, strict=True))
    stack.write_bytes(held)
    rows = read_rows(tmp_path / "out" / "volumes.csv")
    assert [row["z1"] for row in rows] == ["1.5", "0"]
    assert [row["z2"] for row in rows] == ["nan", "1.5"]
    scene = (tmp_path / "out" / "movie.cxc").read_text()
    assert "volume morph #1-2" in scene
    assert tmp_path / "out" / "movie.gif" in made
    assert not (tmp_path / "out" / ".scratch").exists()
    with pytest.raises(InputError, match="no folds"):
        run_volumes(
            landscape, tmp_path / "b", options=VolumeOptions(at="1.5", widths=1, linear=True)
        )


def test_points_are_read_from_files_and_grids(project, tmp_path):
    landscape = project[0] / "particle_landscape"
    table = tmp_path / "points.csv"
    table.write_text("state,z1,z2\n1,0.5,1.5\n2,1,-1\n")
    points, names = read_points(f"{table}; 0.1", landscape, 2)
    np.testing.assert_array_equal(points[1], [1, -1])
    assert names == ["points.csv row 1", "points.csv row 2", "0.1"]
    np.save(tmp_path / "points.npy", np.ones((3, 2), np.float32))
    assert len(read_points(str(tmp_path / "points.npy"), landscape, 2)[0]) == 3
    (tmp_path / "points.txt").write_text("1 2\n3 4\n")
    assert read_points(str(tmp_path / "points.txt"), landscape, 2)[0][1].tolist() == [3, 4]
    inside = np.array(read_points("grid:9", landscape, 2)[0])
    radius = np.hypot(*inside.T)
    assert 10 < len(inside) < 60
    assert (np.abs(radius - 1.5) < 0.9).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2,3", "has 3 coordinates, but the landscape has 2"),
        ("states:4", "states 1 to 3"),
        ("states:x", "give numbers of states"),
        ("path:1", "at least 2"),
        ("path:999", "images; give at most as many"),
        ("grid:", "at least 1"),
        ("nan,1", "must be finite"),
        ("elsewhere", "neither coordinates"),
        (";", "names no point"),
        ("grid:400", "take fewer"),
    ],
)
def test_points_that_make_no_sense_are_refused(project, text, message):
    with pytest.raises(UsageError, match=message):
        read_points(text, project[0] / "particle_landscape", 2)


def test_what_is_missing_or_empty_is_named(project, tmp_path):
    folder, _ = project
    with pytest.raises(InputError, match="landscape particles` writes it"):
        run_volumes(tmp_path, tmp_path / "out")
    with pytest.raises(InputError, match="particles lie within an error"):
        run_volumes(
            folder / "particle_landscape", tmp_path / "out", options=VolumeOptions(at="9,9")
        )
    (tmp_path / "points.csv").write_text("z1\nhere\n")
    with pytest.raises(InputError, match="row 1 is not numbers"):
        read_points(str(tmp_path / "points.csv"), folder / "particle_landscape", 2)
    empty = tmp_path / "empty"
    empty.mkdir()
    np.save(empty / "coordinates.npy", np.zeros((3, 1), np.float32))
    (empty / "job.json").write_text(json.dumps({"results": {"components": 0}}))
    with pytest.raises(InputError, match="no structure was found"):
        run_volumes(empty, tmp_path / "out", options=VolumeOptions(at="0"))
    with pytest.raises(UsageError, match="one point makes no movie"):
        run_volumes(
            folder / "particle_landscape", tmp_path / "out", options=VolumeOptions("1", movie=True)
        )
    for wrong in ({"widths": 9}, {"fewest": 5}, {"memory": 0.0}, {"at": " "}):
        with pytest.raises(UsageError):
            VolumeOptions(**wrong)


def test_memory_of_a_point_is_that_of_its_grids():
    grid = Grid(63)
    assert memory_of_point(128) == pytest.approx(2 * 16 * grid.voxels / 2**30, rel=0.02)
    assert memory_of_point(128) < 0.5
