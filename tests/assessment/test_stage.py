import filecmp
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import starfile
from click.testing import CliRunner

from alphacryo4d.assessment.cli import score, simulate
from alphacryo4d.assessment.conformers_stage import find_conformers, read_conformers
from alphacryo4d.assessment.hinge import MOLECULES, make_molecule
from alphacryo4d.assessment.options import ReferenceOptions, SimulateOptions
from alphacryo4d.assessment.reference_stage import make_reference
from alphacryo4d.assessment.score_stage import read_labels, run_score
from alphacryo4d.assessment.simulate import project
from alphacryo4d.assessment.stage import SCRATCH, run_simulate, simulate_demo
from alphacryo4d.core.errors import InputError, UsageError
from alphacryo4d.core.run_flags import RunFlags
from alphacryo4d.io.mrc import open_stack, read_header, write_volume
from alphacryo4d.particles.particle_set import read_particles

SMALL = SimulateOptions(particles_per_state=150, box=32, pixel_size=3.0, snr=0.5, snr_box=32)
TWO_THREADS = RunFlags(threads=2)
NAMES = ("particles.mrcs", "truth.npy", "true_poses.npy")


def run(command, *arguments):
    return CliRunner().invoke(command, [str(a) for a in arguments], catch_exceptions=True)


@pytest.fixture
def data(pdb_folder, tmp_path):
    run_simulate([str(pdb_folder)], tmp_path / "data", options=SMALL, seed=3, flags=TWO_THREADS)
    return tmp_path / "data"


def test_the_table_is_read_back_with_poses_optics_and_images(data):
    particles = read_particles(data / "particles.star")
    assert len(particles) == 450
    assert (particles.box, particles.pixel_size) == (32, 3.0)
    true = np.load(data / "true_poses.npy")
    assert (particles.shifts - true[:, 3:]).std() == pytest.approx(0.5, rel=0.1)
    images = particles.images(np.arange(450))
    np.testing.assert_array_equal(images, open_stack(data / "particles.mrcs"))
    assert read_header(data / "particles.mrcs").voxel_size == pytest.approx(3.0)


def test_the_table_is_one_that_starfile_reads(data):
    tables = starfile.read(data / "particles.star", always_dict=True)
    assert len(tables["particles"]) == 450
    assert tables["optics"]["rlnImagePixelSize"].tolist() == [3.0]


def test_nothing_in_the_table_tells_the_state(data):
    truth = np.load(data / "truth.npy")
    assert truth.dtype == np.int32
    assert np.bincount(truth).tolist() == [0, 150, 150, 150]
    table = starfile.read(data / "particles.star", always_dict=True)["particles"]
    assert "rlnClassNumber" not in table
    numbers = table.select_dtypes("number").to_numpy(float)
    numbers = numbers[:, numbers.std(axis=0) > 0]
    for column in numbers.T:
        assert abs(np.corrcoef(column, truth)[0, 1]) < 0.2
    assert abs(np.corrcoef(np.arange(len(truth)), truth)[0, 1]) < 0.2


def test_images_are_the_projections_at_the_true_poses_plus_noise(pdb_folder, tmp_path):
    quiet = SimulateOptions(particles_per_state=5, box=32, pixel_size=3.0, snr=float("inf"))
    run_simulate([str(pdb_folder)], tmp_path / "quiet", options=quiet)
    stack, truth = (
        open_stack(tmp_path / "quiet/particles.mrcs"),
        np.load(tmp_path / "quiet/truth.npy"),
    )
    poses = np.load(tmp_path / "quiet/true_poses.npy")
    defocus = read_particles(tmp_path / "quiet/particles.star").defocus
    conformers = read_conformers(find_conformers([pdb_folder]), box=32, pixel_size=3.0)
    for row in range(len(truth)):
        one = slice(row, row + 1)
        expected = project(
            conformers[truth[row] - 1], poses[one, :3], poses[one, 3:], box=32, pixel_size=3.0,
            defocus=defocus[one],
        )  # fmt: skip
        np.testing.assert_allclose(stack[row], expected[0], atol=1e-5 * np.abs(expected).max())


def test_snr_is_the_one_asked_for(pdb_folder, tmp_path):
    for name, snr in (("quiet", float("inf")), ("noisy", 0.25)):
        options = SimulateOptions(
            particles_per_state=100, box=32, pixel_size=3.0, snr=snr, snr_box=32
        )
        run_simulate([str(pdb_folder)], tmp_path / name, options=options, seed=1)
    signal = np.array(open_stack(tmp_path / "quiet/particles.mrcs"), np.float64)
    noise = open_stack(tmp_path / "noisy/particles.mrcs") - signal
    assert signal.var() / noise.var() == pytest.approx(0.25, rel=0.01)


def test_the_same_seed_gives_the_same_files_whatever_the_threads(pdb_folder, tmp_path):
    options = SimulateOptions(particles_per_state=300, box=16, pixel_size=6.0)
    for name, threads, seed in (("one", 1, 5), ("three", 3, 5), ("other", 3, 6)):
        run_simulate(
            [str(pdb_folder)],
            tmp_path / name,
            options=options,
            seed=seed,
            flags=RunFlags(threads=threads),
        )
    for name in NAMES:
        bytes_of = {d: (tmp_path / d / name).read_bytes() for d in ("one", "three", "other")}
        assert bytes_of["one"] == bytes_of["three"]
        assert bytes_of["one"] != bytes_of["other"]
    one, three = ((tmp_path / d / "particles.star").read_text() for d in ("one", "three"))
    assert one.replace("/one/", "/three/") == three


def test_a_finished_simulation_is_not_done_again(data, pdb_folder, caplog):
    before = (data / "particles.mrcs").stat().st_mtime_ns
    run_simulate([str(pdb_folder)], data, options=SMALL, seed=3)
    assert (data / "particles.mrcs").stat().st_mtime_ns == before


def test_wrong_populations_do_not_claim_the_folder(pdb_folder, tmp_path):
    wrong = SimulateOptions(particles_per_state=3, box=16, pixel_size=6.0, populations="1,2,3,4,5")
    with pytest.raises(UsageError, match="5 numbers for"):
        run_simulate([str(pdb_folder)], tmp_path / "made", options=wrong)
    assert not (tmp_path / "made").exists()


def test_a_killed_simulation_goes_on_to_the_same_files(pdb_folder, tmp_path):
    arguments = ["simulate", "--i", str(pdb_folder), "--o", str(tmp_path / "killed")]
    arguments += ["--box", "32", "--pixel-size", "3", "--particles-per-state", "1500"]
    command = [sys.executable, "-m", "alphacryo4d", *arguments]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as running:
        while not list((tmp_path / "killed").glob(f"{SCRATCH}*")) and running.poll() is None:
            time.sleep(0.01)
        running.kill()
    assert not (tmp_path / "killed/particles.star").exists()
    options = SimulateOptions(particles_per_state=1500, box=32, pixel_size=3.0)
    run_simulate(
        [str(pdb_folder)], tmp_path / "killed", options=options, flags=RunFlags(resume=True)
    )
    run_simulate([str(pdb_folder)], tmp_path / "whole", options=options)
    for name in NAMES:
        assert filecmp.cmp(tmp_path / "killed" / name, tmp_path / "whole" / name, shallow=False)
    assert [path.name for path in (tmp_path / "killed").glob(".*")] == [".lock"]


def test_folders_are_read_in_natural_order(pdb_folder):
    names = [path.name for path in find_conformers([pdb_folder])]
    assert names == ["state1.pdb", "state2.pdb", "state10.pdb"]


def test_maps_give_the_same_particles_as_their_models(tmp_path, cloud):
    axis = (np.arange(32) - 16) * 3.0
    density = np.zeros((32,) * 3, np.float32)
    for position, weight in zip(cloud.positions, cloud.weights, strict=True):
        x, y, z = (np.exp(-((axis - p) ** 2) / (2 * 4.0**2)) for p in position)
        density += np.float32(weight) * z[:, None, None] * y[:, None] * x
    write_volume(tmp_path / "map.mrc", density, 3.0)
    options = SimulateOptions(particles_per_state=4, box=32, pixel_size=3.0, snr=float("inf"))
    run_simulate([str(tmp_path / "map.mrc")], tmp_path / "out", options=options, seed=2)
    poses = np.load(tmp_path / "out/true_poses.npy")
    defocus = read_particles(tmp_path / "out/particles.star").defocus
    images = open_stack(tmp_path / "out/particles.mrcs")
    expected = project(
        cloud, poses[:, :3], poses[:, 3:], box=32, pixel_size=3.0, atom_sigma=4.0, defocus=defocus
    )
    correlation = np.corrcoef(images.ravel(), expected.ravel())[0, 1]
    assert correlation > 0.99999


def write_bad(folder: Path, kind: str) -> list[Path]:
    volume = np.ones((16, 16, 16), np.float32)
    if kind == "no atoms":
        (folder / "bad.pdb").write_text("HEADER    NOTHING\nEND\n")
        return [folder / "bad.pdb"]
    if kind == "no voxel size":
        write_volume(folder / "a.mrc", volume, 0.0)
        return [folder / "a.mrc"]
    if kind == "other grid":
        write_volume(folder / "a.mrc", volume, 3.0)
        write_volume(folder / "b.mrc", volume, 2.0)
        return [folder / "a.mrc", folder / "b.mrc"]
    if kind == "too coarse":
        write_volume(folder / "a.mrc", volume, 4.0)
        return [folder / "a.mrc"]
    if kind == "too large":
        write_volume(folder / "a.mrc", np.ones((40, 40, 40), np.float32), 3.0)
        return [folder / "a.mrc"]
    if kind == "missing":
        return [folder / "gone.pdb"]
    if kind == "truncated":
        write_volume(folder / "a.mrc", volume, 3.0)
        (folder / "a.mrc").write_bytes((folder / "a.mrc").read_bytes()[:5000])
        return [folder / "a.mrc"]
    (folder / "notes.txt").write_text("hello")
    return [folder / "notes.txt"]


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("no atoms", "no atoms"),
        ("no voxel size", "voxel size"),
        ("other grid", "share one grid"),
        ("too coarse", "pixel-size"),
        ("too large", "longer than the box"),
        ("missing", "no such file"),
        ("truncated", "truncated"),
        ("unknown", "not a name of a conformer"),
    ],
)
def test_bad_conformers_are_named_and_nothing_is_left(tmp_path, kind, words):
    paths = write_bad(tmp_path, kind)
    options = SimulateOptions(particles_per_state=2, box=32, pixel_size=3.0)
    with pytest.raises(InputError, match=words) as error:
        run_simulate([str(p) for p in paths], tmp_path / "out", options=options)
    assert any(path.name in str(error.value) for path in paths)
    assert not (tmp_path / "out/particles.star").exists()


def test_a_molecule_larger_than_the_box_is_refused(pdb_folder):
    with pytest.raises(InputError, match=r"take --box \d+ or --pixel-size") as error:
        read_conformers(find_conformers([pdb_folder]), box=16, pixel_size=1.0)
    box, size = re.findall(r"--(?:box|pixel-size) ([\d.]+\d|\d)", str(error.value))
    read_conformers(find_conformers([pdb_folder]), box=int(box), pixel_size=1.0)
    read_conformers(find_conformers([pdb_folder]), box=16, pixel_size=float(size))


@pytest.mark.parametrize(
    "wrong", [{"box": 33}, {"pixel_size": 0}, {"snr": -1}, {"defocus_min": 4.0}, {"shift": -1}]
)
def test_wrong_options_are_refused(wrong):
    with pytest.raises(UsageError, match="--"):
        SimulateOptions(**wrong)


def test_dry_run_says_the_size_and_writes_nothing(pdb_folder, tmp_path):
    result = run(
        simulate, "--i", pdb_folder, "--o", tmp_path / "out", "--dry-run", "--json",
        "--particles-per-state", 1000,
    )  # fmt: skip
    plan = json.loads(result.output)
    assert (plan["states"], plan["particles"]) == (3, 3000)
    assert plan["bytes_on_disk"] == 3000 * 64 * 64 * 4
    assert not (tmp_path / "out").exists()


def test_simulate_takes_what_the_shell_expands(pdb_folder, tmp_path):
    files = find_conformers([pdb_folder])
    result = run(
        simulate, "--i", *files, "--o", tmp_path / "out", "--box", 16, "--pixel-size", 6,
        "--particles_per_state", 3, "--populations", "4,1,1",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert np.bincount(np.load(tmp_path / "out/truth.npy")).tolist() == [0, 6, 2, 1]
    assert len(np.load(tmp_path / "out/truth.npy")) == 9


def label_table(data: Path, labels, rows=None) -> Path:
    """The table with classes, in the order of ``rows``."""
    tables = starfile.read(data / "particles.star", always_dict=True)
    tables["particles"]["rlnClassNumber"] = labels
    if rows is not None:
        tables["particles"] = tables["particles"].iloc[rows]
    path = data / "labelled.star"
    starfile.write(tables, path)
    return path


def test_score_command_prints_the_figures(data):
    truth = np.load(data / "truth.npy")
    table = label_table(data, np.where(np.arange(450) % 3 == 0, 0, truth))
    result = run(score, "--i", table, "--truth", data / "truth.npy", "--json")
    report = json.loads(result.output)
    assert (report["precision"], report["states_found"]) == (1.0, 3)
    assert report["kept"] == pytest.approx(2 / 3)
    text = run(score, "--i", table, "--truth", data / "truth.npy").output
    assert "mean precision 1.000" in text
    assert "states found 3 of 3" in text


def test_errors_of_the_poses_are_those_that_were_put_in(data):
    table = label_table(data, np.load(data / "truth.npy"))
    true = data / "true_poses.npy"
    _, report = run_score(table, data / "truth.npy", true_poses=true)
    assert report["pose_errors"]["degrees"] == pytest.approx(1.0, rel=0.1)
    assert report["pose_errors"]["angstrom"] == pytest.approx(0.5, rel=0.1)
    np.save(data / "few.npy", np.load(true)[:3])
    with pytest.raises(InputError, match=r"few.npy: has shape \(3, 5\)"):
        run_score(table, data / "truth.npy", true_poses=data / "few.npy")


def test_rows_in_another_order_are_matched_by_image(data):
    truth = np.load(data / "truth.npy")
    rows = np.random.default_rng(0).permutation(450)[:400]
    table = label_table(data, truth, rows)
    with pytest.raises(InputError, match="--order"):
        read_labels(table, 450)
    labels = read_labels(table, 450, data / "particles.star")
    expected = np.zeros(450, int)
    expected[rows] = truth[rows]
    np.testing.assert_array_equal(labels, expected)


def test_reference_is_right_nearly_always_where_there_is_little_noise(pdb_folder, tmp_path):
    options = SimulateOptions(
        particles_per_state=60, box=32, pixel_size=3.0, snr=2.0, snr_box=32,
        rotation_error=0, shift_error=0,
    )  # fmt: skip
    run_simulate([str(pdb_folder)], tmp_path / "out", options=options)
    truth = np.load(tmp_path / "out/truth.npy")
    known = make_reference(
        [str(pdb_folder)],
        tmp_path / "out/particles.star",
        ReferenceOptions(8.0, "fixed"),
        threads=2,
    )
    assert (known[:, 0] == truth).mean() > 0.9
    assert known[:, 1].mean() == pytest.approx((known[:, 0] == truth).mean(), abs=0.08)


def test_ratio_to_the_reference_is_one_for_the_reference_itself(data, pdb_folder):
    known = make_reference([str(pdb_folder)], data / "particles.star", ReferenceOptions(9.0))
    np.save(data / "reference.npy", known)
    table = label_table(data, known[:, 0].astype(int))
    _, report = run_score(table, data / "truth.npy", reference=[str(data / "reference.npy")])
    assert report["reference"]["precision_ratio"] == pytest.approx(1.0)


def test_volume_scores_come_from_the_assignments(data):
    truth = np.load(data / "truth.npy")
    assignments = np.stack([truth - 1, truth + 2, truth + 5, np.full(450, -1)], axis=1)
    np.save(data / "assignments.npy", assignments.astype(np.int32))
    table = label_table(data, np.ones(450, int))
    _, report = run_score(table, data / "truth.npy", assignments=data / "assignments.npy")
    assert report["states_found"] == 1
    assert report["volumes"]["precision"] == 1.0
    assert report["volumes"]["votes_with_true_labels"]["precision"] == 1.0


@pytest.mark.parametrize("name", list(MOLECULES))
def test_built_in_molecules_are_of_protein_size_and_fit_the_demo_box(name):
    conformers = make_molecule(name)
    assert len(conformers) == MOLECULES[name][1]
    assert all(250 < len(atoms.positions) * 0.110 < 500 for atoms in conformers)  # kDa
    assert all(atoms.radius < 100 for atoms in conformers)


def test_hinge_moves_one_domain_and_leaves_the_other():
    first, last = make_molecule("hinge")[0], make_molecule("hinge")[-1]
    offset = (first.positions - last.positions)[0]
    moved = np.linalg.norm(first.positions - last.positions - offset, axis=1)
    assert 0.4 < (moved < 1e-9).mean() < 0.7
    assert moved.max() > 60


def test_unknown_numbers_of_states_are_refused():
    with pytest.raises(UsageError, match="4 states"):
        make_molecule("subunits", 5)
    with pytest.raises(UsageError, match="unknown"):
        make_molecule("virus")


def test_demo_data_are_easy_for_the_reference(tmp_path):
    table, truth = simulate_demo(tmp_path / "demo", flags=TWO_THREADS)
    known = make_reference(["hinge"], table, ReferenceOptions(15.0, "fixed"), threads=2)
    assert (known[:, 0] == np.load(truth)).mean() > 0.85


@pytest.mark.slow
def test_reference_reproduces_the_benchmark(shared_data, tmp_path):
    """NLRP3 at SNR 0.01: 0.758 to 15 A and 0.888 to 8 A (20,000 particles; here 6,000)."""
    options = SimulateOptions(particles_per_state=300, snr=0.01)
    run_simulate([str(shared_data / "nlrp3")], tmp_path / "out", options=options, flags=TWO_THREADS)
    truth = np.load(tmp_path / "out/truth.npy")
    for resolution, expected in ((15.0, 0.758), (8.0, 0.888)):
        known = make_reference(
            [str(shared_data / "nlrp3")], tmp_path / "out/particles.star",
            ReferenceOptions(resolution, "fixed"), threads=2,
        )  # fmt: skip
        assert (known[:, 0] == truth).mean() == pytest.approx(expected, abs=0.02)
