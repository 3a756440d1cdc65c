"""Native consensus refinement: projections and slopes by a plain formula, poses that are found."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import imaged_atoms
import numpy as np
import pytest
from click.testing import CliRunner
from scipy.optimize import minimize
from scipy.spatial.transform import Rotation

from alphacryo4d.alignment import climbing, half_maps, several
from alphacryo4d.alignment.consensus import Refinement, find_consensus
from alphacryo4d.alignment.kernels import project
from alphacryo4d.alignment.outcome import Search, changes_of
from alphacryo4d.alignment.poses import Poses, rotations_apart, shifts_within, target_of
from alphacryo4d.alignment.search import EveryPose
from alphacryo4d.assessment.conformers import Atoms
from alphacryo4d.assessment.options import SimulateOptions
from alphacryo4d.assessment.stage import write_simulation
from alphacryo4d.cli import main
from alphacryo4d.core.errors import InputError, TimeLimitReached, UsageError
from alphacryo4d.core.identity import describe_input
from alphacryo4d.core.run_flags import RunFlags
from alphacryo4d.io.cs import read_cs, write_cs, write_cs_rows
from alphacryo4d.io.cs_star import sources_of
from alphacryo4d.io.mrc import read_volume, write_volume
from alphacryo4d.landscape.options import LandscapeOptions, StatesOptions
from alphacryo4d.maths.fsc import shell_correlation
from alphacryo4d.maths.rotations import euler_matrices, whole_rotations
from alphacryo4d.ml3d.grid import Grid
from alphacryo4d.ml3d.images import PreparedImages, half_plane, shifted_samples
from alphacryo4d.ml3d.reconstruct import reconstruct
from alphacryo4d.particles.open import open_table
from alphacryo4d.particles.particle_set import ParticleSet, read_particles
from alphacryo4d.particles.refined import write_refined_poses
from alphacryo4d.particles.samples import prepare_rows
from alphacryo4d.pipeline import beginning, cli, fitted_poses
from alphacryo4d.pipeline.aligning import aligned_table
from alphacryo4d.pipeline.beginning import outlook_of
from alphacryo4d.pipeline.fitted_poses import began_realigned
from alphacryo4d.pipeline.options import DEMO
from alphacryo4d.relion.options import ConsensusOptions, RelionOptions
from alphacryo4d.resample.consensus_stage import run_consensus
from alphacryo4d.resample.relion_cli import consensus_command
from alphacryo4d.tools.convert import convert

BOX, PIXEL, RADIUS = 36, 3.0, 10


def sampled_map() -> np.ndarray:
    """Density of the atoms of ``imaged_atoms`` on a cube of 22 voxels, by its transform."""
    grid = Grid(RADIUS)
    n = grid.cube
    k = np.fft.fftfreq(n, 1 / n)
    z, y, x = np.meshgrid(k, k, k, indexing="ij")
    spectrum = imaged_atoms.density_transform(np.stack([x, y, z], axis=-1) / (BOX * PIXEL))
    spectrum[np.sqrt(x**2 + y**2 + z**2) > RADIUS + 0.5] = 0
    return np.fft.fftshift(np.fft.ifftn(spectrum).real).astype(np.float32)


def images_of(rotations: np.ndarray, shifts: np.ndarray, noise: float, seed: int) -> PreparedImages:
    """Samples of the atoms at poses, by the formula; the shifts (pixels) are not taken out."""
    rng = np.random.default_rng(seed)
    kx, ky, shell = half_plane(BOX, RADIUS)
    plane = np.stack([kx, ky, np.zeros(len(kx))], axis=1) / (BOX * PIXEL)
    data = np.stack([imaged_atoms.density_transform(plane @ turn) for turn in rotations])
    data = data * np.exp(-2j * np.pi / BOX * (shifts @ np.stack([kx, ky])))
    ctf = np.cos(np.outer(rng.uniform(0.2, 1, len(data)), 0.01 * shell.astype(float) ** 2) + 0.5)
    data = ctf * data + noise * (rng.normal(size=data.shape) + 1j * rng.normal(size=data.shape))
    eye = np.broadcast_to(np.eye(3, dtype=np.float32)[:2], (len(data), 2, 3)).copy()
    return PreparedImages(
        data=np.stack([data.real, data.imag], -1).astype(np.float32), ctf=ctf.astype(np.float32),
        matrices=eye, group=np.zeros(len(data), np.int32), kx=kx, ky=ky, shell=shell,
        order=np.arange(len(data)), box=BOX, pixel_size=PIXEL,
    )  # fmt: skip


@pytest.fixture(scope="module")
def truth() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    return Rotation.random(40, random_state=4).as_matrix(), rng.uniform(-3, 3, (40, 2))


def test_projections_are_the_transform_of_the_atoms(truth: tuple[np.ndarray, np.ndarray]) -> None:
    grid = Grid(RADIUS)
    target = target_of(sampled_map(), grid, np.ones((1, RADIUS + 1)))
    kx, ky, _ = half_plane(BOX, RADIUS - 1)
    slices = np.empty((40, len(kx), 2), np.float32)
    matrices = (2 * truth[0][:, :2]).astype(np.float32)
    project(0, 40, matrices, kx, ky, target.spectrum, slices)
    plane = np.stack([kx, ky, np.zeros(len(kx))], axis=1) / (BOX * PIXEL)
    exact = np.stack([imaged_atoms.density_transform(plane @ turn) for turn in truth[0]])
    projected = slices[..., 0] + 1j * slices[..., 1]
    assert np.abs(projected - exact).max() < 0.03 * np.abs(exact).max()
    assert np.sqrt(np.mean(np.abs(projected - exact) ** 2)) < 0.02 * np.sqrt(
        np.mean(np.abs(exact) ** 2)
    )


def test_the_score_is_the_log_likelihood_and_its_slopes(
    truth: tuple[np.ndarray, np.ndarray],
) -> None:
    rotations, shifts = truth
    images = images_of(rotations, shifts, 0.5, 1)
    inverse = np.linspace(2.0, 1.0, RADIUS + 1)[None]
    target = target_of(sampled_map(), Grid(RADIUS), inverse)
    near = Rotation.from_rotvec(np.full((40, 3), 0.05)).as_matrix() @ rotations
    poses = Poses(np.arange(40), near, -shifts + 0.3, np.zeros(40))
    sums = climbing.fit(images, target, poses, RADIUS)
    # by the definition, in float64
    last = images.samples_within(RADIUS)
    slices = np.empty((40, last, 2), np.float32)
    matrices = (2 * near[:, :2]).astype(np.float32)
    project(0, 40, matrices, images.kx[:last], images.ky[:last], target.spectrum, slices)
    model = images.ctf[:, :last] * (slices[..., 0] + 1j * slices[..., 1].astype(float))
    place = np.stack([images.kx, images.ky])[:, :last]
    data = images.data[:, :last, 0] + 1j * images.data[:, :last, 1].astype(float)
    data = data * np.exp(-2j * np.pi / BOX * (poses.shifts @ place))
    weight = inverse[0][images.shell[:last]]
    power = (weight * np.abs(data) ** 2).sum(1)
    expected = power - (weight * np.abs(data - model) ** 2).sum(1)
    np.testing.assert_allclose(2 * sums.cross - sums.norm, expected, rtol=1e-4, atol=0.02)

    def score(turn: np.ndarray, move: np.ndarray) -> np.ndarray:
        turned = Rotation.from_rotvec(turn).as_matrix() @ near
        fitted = climbing.fit(
            images, target, Poses(poses.row, turned, poses.shifts + move, poses.score), RADIUS
        )
        return 2 * fitted.cross - fitted.norm

    size = np.array([1e-3] * 3 + [1e-2] * 2)
    for axis, length in enumerate(size):
        step = np.zeros(5)
        step[axis] = length
        slope = (score(step[:3], step[3:]) - score(-step[:3], -step[3:])) / (2 * length)
        error = slope - sums.gradient[:, axis]
        assert np.linalg.norm(error) < 0.03 * np.linalg.norm(slope)


def test_a_search_of_all_poses_finds_them(truth: tuple[np.ndarray, np.ndarray]) -> None:
    rotations, shifts = truth
    images = images_of(rotations, shifts, 1.0, 2)
    target = target_of(sampled_map(), Grid(RADIUS), np.full((1, RADIUS + 1), 1 / 2))
    low = replace(target, radius=6)
    every = EveryPose(images, low, rotations_apart(16.0), shifts_within(4.0, 1.5), workers=2)
    many = every.best(np.arange(40), np.zeros((40, 2)), 8)
    assert (np.diff(many.score.reshape(40, 8), axis=1) <= 0).all()
    climbed, curvature = climbing.climb(images, target, many, 8, 6, workers=2)
    angle = Rotation.from_matrix(climbed.rotations @ rotations.transpose(0, 2, 1)).magnitude()
    assert np.mean(np.rad2deg(angle) < 5) >= 0.95
    close = np.rad2deg(angle) < 5
    # errors are those that the curvature promises
    turned = Rotation.from_matrix(climbed.rotations @ rotations.transpose(0, 2, 1)).as_rotvec()
    errors = np.concatenate([turned, climbed.shifts + shifts], axis=1)[close]
    chi = np.einsum("ni,nij,nj->n", errors, curvature[close], errors)
    assert 2.5 < np.median(chi) < 9  # of 5 degrees of freedom: 4.35


def test_steps_in_noise_reach_what_a_general_optimiser_finds(
    truth: tuple[np.ndarray, np.ndarray],
) -> None:
    rotations, shifts = truth
    images = images_of(rotations, shifts, 6.0, 3)
    target = target_of(sampled_map(), Grid(RADIUS), np.full((1, RADIUS + 1), 1 / 72))
    near = Rotation.from_rotvec(np.full((40, 3), 0.03)).as_matrix() @ rotations
    start = Poses(np.arange(40), near, -shifts + 0.2, np.zeros(40))
    found, _ = climbing.refine(images, target, start, RADIUS, 7, most=6.0)

    def lost(change: np.ndarray, row: int) -> float:
        turned = Rotation.from_rotvec(change[:3] / 20).as_matrix() @ near[row]
        pose = Poses(start.row[[row]], turned[None], start.shifts[[row]] + change[3:], np.zeros(1))
        return -float(climbing.fit(images, target, pose, RADIUS).score[0])

    best = [-minimize(lost, np.zeros(5), (row,), "Powell").fun for row in range(24)]
    # by the curvature of Gauss and Newton alone 0.12 nats are left to a quarter of the images
    assert np.quantile(best - found.score[:24], 0.75) < 0.05
    begun = climbing.fit(images, target, start, RADIUS).score[:24]
    assert np.median(best - begun) > 0.5


def test_rotations_are_even() -> None:
    rotations = rotations_apart(20.0)
    some = Rotation.random(200, random_state=1).as_matrix()
    trace = np.einsum("nij,mij->nm", some, rotations)
    nearest = np.rad2deg(np.arccos(np.clip((trace.max(axis=1) - 1) / 2, -1, 1)))
    assert nearest.max() < 20
    assert np.abs(rotations.mean(axis=0)).max() < 0.01


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """500 particles of one molecule without symmetry, their true map and a table without poses."""
    folder = tmp_path_factory.mktemp("consensus")
    rng = np.random.default_rng(7)
    body = rng.normal(scale=(8, 12, 20), size=(250, 3))
    arms = [rng.normal(scale=5.0, size=(120, 3)) + at for at in ((28, 0, 0), (-8, 26, 14))]
    molecule = Atoms(np.vstack([body, *arms]), np.full(490, 6.0))
    options = SimulateOptions(
        particles_per_state=500, box=32, pixel_size=4.0, snr=0.2, rotation_error=0, shift_error=0
    )
    write_simulation([molecule], folder, options=options, seed=5)
    particles = read_particles(folder / "particles.star")
    images = prepare_rows(particles, np.arange(500), None)
    made = next(iter(reconstruct(images, np.zeros(500, np.int32))))
    write_volume(folder / "true.mrc", made.volume, 4.0)
    table = open_table(folder / "particles.star")
    kept = [name for name in table.columns if "Angle" not in name or "Defocus" in name]
    kept = [name for name in kept if "Origin" not in name]
    rows = table.read(kept)
    text = (folder / "particles.star").read_text()
    head = text[: text.index("data_particles")]
    lines = [f"_{name} #{number}" for number, name in enumerate(kept, 1)]
    body_rows = [" ".join(str(rows[name][i]) for name in kept) for i in range(500)]
    blind = "\n".join([head + "data_particles", "", "loop_", *lines, *body_rows, ""])
    (folder / "blind.star").write_text(blind)
    return folder


def angles_apart(aligned: ParticleSet, true: ParticleSet) -> np.ndarray:
    """Angles (degrees) between poses, one common rotation taken out."""
    apart = euler_matrices(aligned.angles).transpose(0, 2, 1) @ euler_matrices(true.angles)
    turns = Rotation.from_matrix(apart)
    near = turns.magnitude() < np.deg2rad(30)
    degrees: np.ndarray = np.rad2deg((turns[near].mean().inv() * turns).magnitude())
    return degrees


def test_poses_are_found_blind(simulated: Path, tmp_path: Path) -> None:
    options = ConsensusOptions(engine="native", initial_lowpass=40, iterations=9)
    relion = RelionOptions(reference=simulated / "true.mrc")
    made = run_consensus(simulated / "blind.star", tmp_path / "o", consensus=options, relion=relion)
    assert [path.name for path in made] == [
        "particles.star", "consensus.mrc", "consensus_half1_unfil.mrc", "consensus_half2_unfil.mrc",
        "consensus_fsc.csv", "consensus.json",
    ]  # fmt: skip
    aligned, true = read_particles(made[0]), read_particles(simulated / "particles.star")
    assert set(aligned.random_subset) == {1, 2}
    apart = angles_apart(aligned, true)
    assert np.mean(apart < 10) > 0.9
    assert np.median(apart) < 4
    volume, reference = (read_volume(path)[0] for path in (made[1], simulated / "true.mrc"))
    assert shell_correlation(volume, reference)[1:7].min() > 0.9
    assert not list((tmp_path / "o").glob(".consensus*"))


def test_rough_poses_become_better(simulated: Path, tmp_path: Path) -> None:
    true = read_particles(simulated / "particles.star")
    rng = np.random.default_rng(0)
    images = prepare_rows(true, np.arange(500), None)
    turn = Rotation.from_rotvec(rng.normal(0, np.deg2rad(4), (500, 3))).as_matrix()
    rough = replace(
        images, matrices=(turn @ whole_rotations(images.matrices))[:, :2].astype(np.float32)
    )
    halves = rng.integers(0, 2, 500)
    consensus = find_consensus(
        rough, halves, Search(False, reach=2.0, most_iterations=3), workers=2
    )
    assert len(consensus.log) <= 3
    left = Rotation.from_matrix(
        consensus.rotations @ whole_rotations(images.matrices).transpose(0, 2, 1)
    )
    before = Rotation.from_matrix(turn).magnitude()
    assert np.median(left.magnitude()) < 0.6 * np.median(before)
    turned, moved = changes_of(rough, consensus)
    again = Rotation.from_rotvec(turned, degrees=True).as_matrix() @ whole_rotations(rough.matrices)
    np.testing.assert_allclose(again, consensus.rotations, atol=1e-6)
    assert moved.shape == (500, 2)


def test_a_run_realigns_the_poses_of_its_table(
    simulated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    true = read_particles(simulated / "particles.star")
    errors = np.random.default_rng(0).normal(0, 4, (500, 3))
    table = write_refined_poses(true, errors, np.zeros((500, 2)), tmp_path / "rough.star")
    options = replace(
        DEMO, reclassify=None, classify=replace(DEMO.classify, classes="3"),
        landscape=LandscapeOptions(states=StatesOptions(states="2")),
        relion=RelionOptions(reference=simulated / "true.mrc"),
    )  # fmt: skip

    def posed(table: Path, **asked: bool) -> Path | None:
        return aligned_table(
            table, tmp_path / "project", options, given={}, seed=0, gpu=None,
            flags=RunFlags(threads=2), **{"realign": True, "here": True, "dry_run": False} | asked,
        )  # fmt: skip

    assert posed(table, realign=False) == table
    with pytest.raises(UsageError, match="poses are refined on this machine"):
        posed(table, here=False)
    assert posed(table, dry_run=True) is None
    assert not (tmp_path / "project").exists()
    aligned = posed(table)
    assert aligned is not None
    before, after = (angles_apart(read_particles(path), true) for path in (table, aligned))
    assert np.median(after) < 0.6 * np.median(before)
    assert posed(aligned) == aligned
    assert posed(table, dry_run=True) == aligned  # then the stages can be planned

    def begun(table: Path, project: str, *, realign: bool | None = None) -> Path:
        outlook = outlook_of(
            table, tmp_path / project, options, realign=realign, given={}, seed=0, gpu=None,
            flags=RunFlags(threads=2), here=True, dry_run=False,
        )  # fmt: skip
        assert outlook is not None
        return outlook.table

    # by default: as the project began, and else what the images say of the poses
    asked: list[int] = []
    monkeypatch.setattr(fitted_poses, "FEWEST", 100)
    monkeypatch.setattr(fitted_poses, "fault_of_poses", lambda *_: asked.append(1) or "wrong")
    assert begun(table, "project") == aligned
    linked = tmp_path / "linked"
    linked.symlink_to(tmp_path, target_is_directory=True)
    assert begun(linked / "rough.star", "project") == aligned  # the same by another way
    assert not asked
    assert begun(table, "other", realign=False) == table
    assert not asked
    resample = tmp_path / "project" / "resample"  # then what was classified last counts
    resample.mkdir()
    for path, refined in ((aligned, True), (table, False)):
        entry = describe_input(path, resample, {})
        (resample / "job.json").write_text(json.dumps({"inputs": [entry], "options": {}}))
        assert began_realigned(tmp_path / "project") == refined
    known = tmp_path / "other" / "consensus"
    with monkeypatch.context() as patch:
        patch.setattr(beginning, "aligned_table", lambda table, *_, realign, **__: (
            tmp_path / "project/consensus/particles.star" if realign else table
        ))  # fmt: skip
        assert begun(table, "other") == aligned
    assert asked
    assert not known.exists()
    monkeypatch.setattr(fitted_poses, "fault_of_poses", lambda *_: None)
    assert begun(table, "other") == table


@pytest.fixture
def cryosparc(simulated: Path, tmp_path: Path) -> Path:
    """160 of the particles as cryoSPARC has them."""
    convert(simulated / "particles.star", tmp_path / "all.cs")
    return write_cs_rows(tmp_path / "all.cs", tmp_path / "particles.cs", np.arange(160))


def test_a_run_refines_poses_of_cryosparc_and_they_go_back(
    cryosparc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Path] = []
    monkeypatch.setattr(fitted_poses, "FEWEST", 100)
    monkeypatch.setattr(fitted_poses, "fault_of_poses", lambda *_: "wrong")
    monkeypatch.setattr(cli, "run_pipeline", lambda table, *_, **__: given.append(table) or [])
    words = ["run", "--i", str(cryosparc), "--o", str(tmp_path / "project"), "--classes", "3"]
    main([*words, "--states", "2", "--components", "3", "--j", "2"])
    aligned = tmp_path / "project" / "consensus" / "particles.star"
    assert given == [aligned]
    assert sources_of(aligned) == [cryosparc]
    main(["convert", "--i", str(aligned), "--passthrough", str(cryosparc),
          "--o", str(tmp_path / "back.cs")])  # fmt: skip
    before, after = read_particles(cryosparc), read_particles(aligned)
    back = read_particles(tmp_path / "back.cs")
    np.testing.assert_allclose(back.shifts, after.shifts, atol=1e-5)
    apart = [
        Rotation.from_matrix(euler_matrices(one.angles) @ euler_matrices(after.angles).mT)
        for one in (back, before)
    ]
    assert apart[0].magnitude().max() < 1e-6
    assert np.median(apart[1].magnitude()) > 1e-3


def test_particles_of_cryosparc_without_poses_are_aligned(
    cryosparc: Path, simulated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = read_cs(cryosparc)
    bare = [name for name in raw.dtype.names or () if not name.startswith("alignments3D/")]
    write_cs(tmp_path / "bare.cs", raw[bare])
    words = ["--i", str(tmp_path / "bare.cs"), "--reference", str(simulated / "true.mrc")]
    words += ["--o", str(tmp_path / "project"), "--dry-run"]
    main(["run", *words, "--classes", "3", "--states", "2", "--components", "3"])
    assert "all orientations of 160 particles" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="3"):
        main(["resample", "consensus", *words[:-1], "--engine", "relion"])
    said = capsys.readouterr().err
    assert f"alphacryo4d convert --i {tmp_path / 'bare.cs'} --o bare.star" in said
    assert not (tmp_path / "project").exists()


def test_a_refinement_goes_on_where_it_was_stopped(simulated: Path) -> None:
    images = prepare_rows(read_particles(simulated / "particles.star"), np.arange(120), None)
    halves = np.arange(120) % 2
    asked = Search(False, most_iterations=2)
    whole = Refinement(images, halves, asked, None, 1)
    whole.start(None)
    whole.iterate(lambda part: None)
    state = {name: np.array(value) for name, value in whole.state().items()}
    again = Refinement(images, halves, asked, None, 1)
    again.restore(state)
    for work in (whole, again):
        work.iterate(lambda part: None)
    np.testing.assert_array_equal(whole.rotations, again.rotations)
    np.testing.assert_array_equal(whole.maps.volume, again.maps.volume)
    assert again.finished
    assert len(again.log) == 2


def test_a_deadline_ends_an_iteration_after_any_block(
    simulated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alphacryo4d.alignment.consensus._BLOCK", 20)
    images = prepare_rows(read_particles(simulated / "particles.star"), np.arange(120), None)
    told: list[float] = []

    def check() -> None:
        if len(told) == 2:
            raise TimeLimitReached("--max-time")

    work = Refinement(images, np.arange(120) % 2, Search(False), None, 1)
    work.start(None)
    with pytest.raises(TimeLimitReached):
        work.iterate(told.append, check)
    assert told == pytest.approx([0.9 * 20 / 120, 0.9 * 40 / 120])


@pytest.mark.slow
def test_a_run_without_poses_aligns_first(simulated: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    words = ["run", "--i", str(simulated / "blind.star"), "--o", str(project), "--epochs", "1"]
    words += ["--reference", str(simulated / "true.mrc"), "--classes", "3", "--iter", "4"]
    words += ["--components", "3", "--states", "2", "--j", "2"]
    with pytest.raises(SystemExit, match="3"):
        main([*words, "--classes", "900", "--dry-run"])  # refused before the poses are found
    main([*words, "--dry-run"])
    assert not project.exists()
    with pytest.raises(SystemExit, match="2"):
        main([*words, "--submit"])
    main(words)
    aligned = read_particles(project / "vote" / "particles.star")
    true = read_particles(simulated / "particles.star")
    assert np.median(angles_apart(aligned, true)) < 5
    assert (project / "consensus" / "consensus.mrc").is_file()
    before = {path: path.stat().st_mtime_ns for path in project.rglob("*.npy")}
    main(words)
    assert before == {path: path.stat().st_mtime_ns for path in project.rglob("*.npy")}


def test_every_image_is_aligned_to_the_map_that_it_shows(
    truth: tuple[np.ndarray, np.ndarray],
) -> None:
    rotations, shifts = truth
    images = images_of(rotations, shifts, 1.0, 2)
    grid, noise = Grid(RADIUS), np.full((1, RADIUS + 1), 2.0)
    cube = sampled_map()
    other = cube.copy()
    other[cube.shape[0] // 2 + 1 :] = 0  # a part of the molecule is not there
    targets = [target_of(one, grid, 1 / noise) for one in (other, 0.3 * other, cube)]
    eye = np.tile(np.eye(3), (40, 1, 1))
    start = Poses(np.arange(40), eye, 0.5 - shifts, np.zeros(40))
    poses, model = several.EveryModel(images, targets, 2).best(start)
    right = Rotation.from_matrix(poses.rotations @ rotations.transpose(0, 2, 1)).magnitude()
    assert np.mean(np.rad2deg(right) < 5) >= 0.95
    assert np.mean(model == 2) >= 0.95


def test_images_are_moved_in_blocks_and_classified_without_the_shells_beyond(
    truth: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    images = images_of(*truth, 1.0, 2)
    rows = np.arange(40)[::-1].copy()
    rotations, shifts = truth[0][rows], truth[1][rows]
    whole = shifted_samples(images, images.data[rows], PIXEL * shifts)
    monkeypatch.setattr(half_maps, "_MOVED", 7)
    moved = half_maps.moved_images(images, rows, rotations, shifts, 6, 2)
    last = images.samples_within(6)
    assert (moved.radius, moved.data.shape) == (6, (40, last, 2))
    np.testing.assert_allclose(moved.data, whole[:, :last], rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(moved.ctf, images.ctf[rows, :last])
    held: list[int] = []

    def classified(part: PreparedImages, *_: object, **__: object) -> SimpleNamespace:
        held.append(part.radius)
        return SimpleNamespace(volumes=np.zeros(0))

    monkeypatch.setattr(several, "classify", classified)
    poses = Poses(rows, rotations, shifts, np.zeros(40))
    for radius in (9, 5):  # 15 A, from which classes start, are the shell 7
        several.class_volumes(images, poses, 2, radius, 1)
    assert held == [9, 7]


def test_a_search_against_classes_keeps_half_sets_apart(
    simulated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(several, "LEAST", 30)
    images = prepare_rows(read_particles(simulated / "particles.star"), np.arange(240), None)
    halves, asked = np.arange(240) % 2, Search(False, most_iterations=1, classes=2)
    work = Refinement(images, halves, asked, None, 2)
    work.start(None)
    work.iterate(lambda part: None)
    assert (work.further, work.finished) == (1, False)
    state = {name: np.array(value) for name, value in work.state().items()}
    other = replace(images, data=images.data.copy())
    other.data[1::2] = other.data[np.roll(np.arange(1, 240, 2), 1)]  # half-set 1 shows others
    again = Refinement(other, halves, asked, None, 2)
    again.restore(state)
    for one in (work, again):
        one.iterate(lambda part: None)
    np.testing.assert_array_equal(work.rotations[::2], again.rotations[::2])
    assert not np.array_equal(work.rotations[1::2], again.rotations[1::2])
    while not work.finished:
        work.iterate(lambda part: None)
    assert 4 <= len(work.log) <= 6
    whole = whole_rotations(images.matrices)
    angle = Rotation.from_matrix(work.rotations @ whole.transpose(0, 2, 1)).magnitude()
    assert np.median(np.rad2deg(angle)) < 3


def test_what_cannot_be_aligned_is_refused_before_the_work(simulated: Path, tmp_path: Path) -> None:
    blind = simulated / "blind.star"
    write_volume(tmp_path / "small.mrc", np.zeros((16, 16, 16), np.float32), 8.0)
    small = RelionOptions(reference=tmp_path / "small.mrc")
    for error, words, consensus, relion in (
        (UsageError, "--reference MAP", {}, RelionOptions()),
        (InputError, "--search global", {"search": "local"}, RelionOptions()),
        (InputError, "--search global", {"search": "near"}, RelionOptions()),
        (InputError, "box of 16", {}, small),
    ):
        asked = ConsensusOptions(engine="native", **consensus)
        with pytest.raises(error, match=words):
            run_consensus(blind, tmp_path / "o", consensus=asked, relion=relion)
    said = ["--i", str(blind), "--o", str(tmp_path / "e"), "--engine", "native", "--dry-run"]
    said += ["--reference", str(simulated / "true.mrc")]
    done = CliRunner().invoke(consensus_command, said, catch_exceptions=False)
    assert "all orientations of 500 particles" in done.output
    assert "then against 8 classes" in done.output
    assert not (tmp_path / "e").exists()
