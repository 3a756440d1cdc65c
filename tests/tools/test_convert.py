"""convert: STAR to .cs and back, with nothing lost and conventions shown by projection."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from small_tables import OPTICS, make_images, modern_table, numbered, old_table, run_command

from alphacryo4d.core.errors import InputError, UsageError
from alphacryo4d.io.cs import read_cs, with_fields, write_cs
from alphacryo4d.io.cs_star import sources_of
from alphacryo4d.maths.rotations import euler_matrices
from alphacryo4d.particles.open import open_table
from alphacryo4d.particles.particle_set import ParticleSet, read_particles
from alphacryo4d.particles.refined import write_refined_poses
from alphacryo4d.tools.convert import convert
from alphacryo4d.tools.convert_uids import new_uids

BLOBS = np.array([[6.0, 0, 0], [0, 8, 0], [0, 0, 4], [-4, -5, 3]])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    make_images(tmp_path / "a.mrcs")
    return tmp_path


def posed_table(path: Path) -> Path:
    """Table whose poses, shifts, CTF and half-sets all differ."""
    modern_table(path, numbered("a.mrcs"), rlnClassNumber="3", rlnPhaseShift="12.5")
    table = open_table(path)
    rng = np.random.default_rng(3)
    values = {
        "rlnAngleRot": rng.uniform(-180, 180, 6),
        "rlnAngleTilt": np.array([0.0, 180.0, 90.0, 35.0, 170.0, 5.0]),
        "rlnAnglePsi": rng.uniform(-180, 180, 6),
        "rlnOriginXAngst": rng.uniform(-5, 5, 6),
        "rlnOriginYAngst": rng.uniform(-5, 5, 6),
        "rlnDefocusAngle": rng.uniform(-90, 90, 6),
        "rlnRandomSubset": np.array([1, 2, 2, 1, 1, 2]),
    }
    out = path.with_name("posed.star")
    table.write_with_columns(out, values, rename={name: f"x{name}" for name in values})
    return out


def projections(angles: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """Images of Gaussians in float64, by RELION's words: rot, tilt, psi and shifts."""
    grid = np.arange(-8.0, 8)
    y, x = np.meshgrid(grid, grid, indexing="ij")
    images = np.zeros((len(angles), 16, 16))
    turned = Rotation.from_euler("ZYZ", angles, degrees=True).inv()
    for image, turn, shift in zip(images, turned, shifts, strict=True):
        for place in turn.apply(BLOBS):
            square = (x - place[0] + shift[0]) ** 2 + (y - place[1] + shift[1]) ** 2
            image += np.exp(-square / 4)
    return images


def test_there_and_back_the_images_of_an_object_are_the_same(folder: Path) -> None:
    before = read_particles(posed_table(folder / "p.star"))
    convert(before.path, folder / "p.cs")
    convert(folder / "p.cs", folder / "again.star")
    after = read_particles(folder / "again.star")
    np.testing.assert_allclose(
        projections(after.angles, after.shifts),
        projections(before.angles, before.shifts),
        atol=1e-5,
    )
    for name in ("defocus", "phase_shift", "random_subset", "slice_index", "shifts"):
        np.testing.assert_allclose(
            getattr(after, name), getattr(before, name), rtol=1e-6, atol=2e-5, err_msg=name
        )
    for name in ("voltage", "spherical_aberration", "amplitude_contrast", "pixel_size", "box"):
        np.testing.assert_allclose(getattr(after.optics, name), getattr(before.optics, name))
    classes = after.table.read(["rlnClassNumber"])["rlnClassNumber"]
    assert set(classes.tolist()) == {3}
    rows = range(6)
    assert (after.images(rows) == before.images(rows)).all()


def test_projections_from_cs_are_those_from_star(folder: Path) -> None:
    star = read_particles(posed_table(folder / "p.star"))
    convert(star.path, folder / "p.cs")
    raw = read_cs(folder / "p.cs")
    # by cryoSPARC's words: the rotation of the pose turns the image's axes into the object's
    grid = np.arange(-8.0, 8)
    y, x = np.meshgrid(grid, grid, indexing="ij")
    images = projections(star.angles, star.shifts)
    for pose, shift, size, image in zip(
        raw["alignments3D/pose"],
        raw["alignments3D/shift"],
        raw["alignments3D/psize_A"],
        images,
        strict=True,
    ):
        axes = Rotation.from_rotvec(pose).as_matrix()
        offset = shift * size
        own = np.zeros((16, 16))
        for place in BLOBS:
            u, v = place @ axes[:, 0], place @ axes[:, 1]
            own += np.exp(-((x - u + offset[0]) ** 2 + (y - v + offset[1]) ** 2) / 4)
        np.testing.assert_allclose(own, image, atol=1e-5)


def test_old_tables_become_the_same_cs(folder: Path) -> None:
    convert(modern_table(folder / "new.star", numbered("a.mrcs")), folder / "new.cs")
    convert(old_table(folder / "old.star", numbered("a.mrcs")), folder / "old.cs")
    assert read_cs(folder / "new.cs").tobytes() == read_cs(folder / "old.cs").tobytes()


def test_real_particles_come_back(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "formats/cryosparc_P12_J24_001_particles.cs"
    raw = np.load(path, allow_pickle=False)
    convert(path, tmp_path / "p.star")
    convert(tmp_path / "p.star", tmp_path / "p.cs")
    again = read_cs(tmp_path / "p.cs")
    exact = ["uid", "blob/path", "blob/idx", "blob/shape", "blob/sign", "alignments3D/split"]
    for name in [*exact, "alignments3D/class", "ctf/df1_A", "ctf/accel_kv", "blob/psize_A"]:
        assert (again[name] == raw[name]).all(), name
    turn = Rotation.from_rotvec(again["alignments3D/pose"]).inv() * Rotation.from_rotvec(
        raw["alignments3D/pose"]
    )
    assert turn.magnitude().max() < 2e-6
    np.testing.assert_allclose(again["alignments3D/shift"], raw["alignments3D/shift"], atol=1e-5)
    np.testing.assert_allclose(again["ctf/df_angle_rad"], raw["ctf/df_angle_rad"], atol=1e-6)


def test_a_selection_goes_back_with_every_field(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "formats/cryosparc_P12_J24_001_particles.cs"
    raw = np.load(path, allow_pickle=False)
    convert(path, tmp_path / "p.star")
    mask = np.random.default_rng(1).random(len(raw)) < 0.2
    open_table(tmp_path / "p.star").write_rows(tmp_path / "state.star", mask)
    count = convert(tmp_path / "state.star", tmp_path / "state.cs", passthrough=[path])
    assert count == mask.sum()
    assert sources_of(tmp_path / "state.star") == [path.absolute()]
    votes = {"ac4dVotes": np.ones(len(raw), int)}
    open_table(tmp_path / "p.star").write_with_columns(tmp_path / "voted.star", votes)
    assert sources_of(tmp_path / "voted.star") == [path.absolute()]
    again = np.load(tmp_path / "state.cs", allow_pickle=False)
    assert again.dtype == raw.dtype
    assert again.tobytes() == raw[mask].tobytes()


def refined_table(path: Path, out: Path, rows: np.ndarray) -> ParticleSet:
    """Table with other poses in some rows, as a refinement writes it."""
    particles = read_particles(path, need_images=False)
    rng = np.random.default_rng(8)
    turns, moves = rng.normal(0, 3, (len(particles), 3)), rng.normal(0, 2, (len(particles), 2))
    turns[~rows], moves[~rows] = 0, 0
    write_refined_poses(particles, turns, moves, out)
    return read_particles(out, need_images=False)


def test_refined_poses_go_back_and_others_stay(
    shared_data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    raw = np.load(shared_data / "formats/cryosparc_P12_J24_001_particles.cs", allow_pickle=False)
    raw["alignments3D/psize_A"] = 2 * raw["blob/psize_A"]  # of a binned refinement
    beam = {"ctf/shift_A": (0.7, -1.3), "ctf/anisomag": (0.01, 0.002, -0.003, 0.004)}
    raw = with_fields(raw, {k: np.tile(np.float32(v), (len(raw), 1)) for k, v in beam.items()})
    write_cs(tmp_path / "p.cs", raw)
    convert(tmp_path / "p.cs", tmp_path / "p.star")
    some = np.random.default_rng(2).random(len(raw)) < 0.5
    refined = refined_table(tmp_path / "p.star", tmp_path / "refined.star", some)
    assert "ac4dInputAngleRot" in refined.table.columns
    with caplog.at_level("INFO"):
        convert(tmp_path / "refined.star", tmp_path / "back.cs", passthrough=[tmp_path / "p.cs"])
    assert f"the poses of {some.sum()} of {len(raw)} particles are not those" in caplog.text
    back = np.load(tmp_path / "back.cs", allow_pickle=False)
    assert back.dtype == raw.dtype
    assert back[~some].tobytes() == raw[~some].tobytes()
    for name in raw.dtype.names:
        if name not in ("alignments3D/pose", "alignments3D/shift"):
            assert back[name].tobytes() == raw[name].tobytes(), name
    convert(tmp_path / "back.cs", tmp_path / "again.star")
    again = read_particles(tmp_path / "again.star", need_images=False)
    np.testing.assert_allclose(again.shifts, refined.shifts, atol=1e-5)
    np.testing.assert_allclose(
        euler_matrices(again.angles), euler_matrices(refined.angles), atol=1e-6
    )


def test_poses_that_were_found_go_back_to_a_file_without(folder: Path) -> None:
    convert(posed_table(folder / "p.star"), folder / "posed.cs")
    posed = read_cs(folder / "posed.cs")
    bare = [name for name in posed.dtype.names or () if not name.startswith("alignments3D/")]
    particles = posed[bare].copy()
    particles["ctf/shift_A"] = (0.7, -1.3)
    write_cs(folder / "bare.cs", particles)
    convert(folder / "posed.cs", folder / "found.star")
    convert(folder / "found.star", folder / "back.cs", passthrough=[folder / "bare.cs"])
    back, found = read_cs(folder / "back.cs"), read_particles(folder / "found.star")
    assert (back[bare] == particles).all()
    for name in ("split", "class", "psize_A"):
        assert (back[f"alignments3D/{name}"] == posed[f"alignments3D/{name}"]).all()
    again = read_particles(folder / "back.cs")
    np.testing.assert_allclose(again.shifts, found.shifts, atol=1e-5)
    np.testing.assert_allclose(
        euler_matrices(again.angles), euler_matrices(found.angles), atol=1e-6
    )


def test_a_file_without_images_is_named_on_the_way_back(
    shared_data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = shared_data / "formats/empiar_10076_7.cs"
    raw = np.load(path, allow_pickle=False)
    poses = [name for name in raw.dtype.names if not name.startswith("blob/")]
    write_cs(tmp_path / "particles.cs", raw[poses].copy())
    convert(path, tmp_path / "p.star")
    convert(tmp_path / "p.star", tmp_path / "p.cs", passthrough=[tmp_path / "particles.cs"])
    assert "no field blob/path" in caplog.text
    caplog.clear()
    both = [tmp_path / "particles.cs", path]
    convert(tmp_path / "p.star", tmp_path / "p.cs", passthrough=both)
    assert "blob/path" in (np.load(tmp_path / "p.cs").dtype.names or ())
    assert not caplog.text


def test_a_selection_of_other_particles_is_refused(shared_data: Path, tmp_path: Path) -> None:
    convert(shared_data / "formats/empiar_10076_7.cs", tmp_path / "p.star")
    other = shared_data / "formats/cryosparc_P12_J24_001_particles.cs"
    with pytest.raises(InputError, match="lacks 7 of the 7 particles"):
        convert(tmp_path / "p.star", tmp_path / "p.cs", passthrough=[other])
    assert not (tmp_path / "p.cs").exists()


def test_new_identities_do_not_change_and_do_not_repeat() -> None:
    names, codes = ["a.mrcs", "b.mrcs"], np.repeat([0, 1], 50_000)
    slices = np.tile(np.arange(50_000), 2)
    uids = new_uids(names, codes, slices)
    assert len(np.unique(uids)) == 100_000
    assert (uids == new_uids(names, codes, slices)).all()
    order = np.random.default_rng(0).permutation(100_000)
    assert (uids[order] == new_uids(names, codes[order], slices[order])).all()
    copies = new_uids(names, np.zeros(3, int), np.array([1, 2, 1]))
    assert (copies[:2] == new_uids(names, np.zeros(2, int), np.array([1, 2]))).all()
    assert len(set(copies.tolist())) == 3


def test_optics_groups_become_exposure_groups(folder: Path) -> None:
    second = OPTICS | {"rlnOpticsGroup": "7", "rlnVoltage": "200", "rlnOpticsGroupName": "two"}
    path = modern_table(
        folder / "p.star",
        numbered("a.mrcs"),
        optics=[OPTICS, second],
        groups=["1", "7", "7", "1", "1", "7"],
    )
    convert(path, folder / "p.cs")
    raw = read_cs(folder / "p.cs")
    assert raw["ctf/accel_kv"].tolist() == [300, 200, 200, 300, 300, 200]
    assert raw["ctf/exp_group_id"].tolist() == [1, 2, 2, 1, 1, 2]
    again = read_particles(folder / "p.cs")
    assert again.optics.voltage[again.optics_group].tolist() == [300, 200, 200, 300, 300, 200]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rlnCtfDataAreCtfPremultiplied": "1"}, "Premultiplied"),
        ({"rlnImageDimensionality": "3"}, "subtomograms"),
    ],
)
def test_what_cs_cannot_say_is_refused(folder: Path, change: dict[str, str], message: str) -> None:
    path = modern_table(folder / "p.star", numbered("a.mrcs"), optics=[OPTICS | change])
    with pytest.raises(InputError, match=message):
        convert(path, folder / "p.cs")
    assert not (folder / "p.cs").exists()


def test_missing_values_come_from_options(folder: Path) -> None:
    path = old_table(folder / "p.star", numbered("a.mrcs"))
    path.write_text(path.read_text().replace("rlnVoltage", "x"))
    with pytest.raises(InputError, match=r"no voltage \(--voltage\)"):
        convert(path, folder / "p.cs")
    convert(path, folder / "p.cs", voltage=200)
    assert set(read_cs(folder / "p.cs")["ctf/accel_kv"].tolist()) == {200.0}


def test_wrong_pairs_of_names_are_refused(folder: Path) -> None:
    path = modern_table(folder / "p.star", numbered("a.mrcs"))
    for out in ("q.star", "q.txt", "q"):
        with pytest.raises(UsageError, match="cannot convert"):
            convert(path, folder / out)
    convert(path, folder / "p.cs")
    with pytest.raises(UsageError, match="same file"):
        convert(folder / "p.cs", folder / "." / "p.cs")


@pytest.mark.parametrize("name", ["a b", "x;y", "$(touch hacked)", "-rf", "it's", "é"])
def test_hostile_stack_names_survive(folder: Path, name: str) -> None:
    images = make_images(folder / f"{name}.mrcs")
    path = modern_table(folder / "p.star", [f'"2@{name}.mrcs"'])
    convert(path, folder / "p.cs")
    convert(folder / "p.cs", folder / "again.star")
    again = read_particles(folder / "again.star")
    assert (again.images([0])[0] == images[1]).all()
    assert not Path("hacked").exists()


def test_the_command_names_its_result(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    modern_table(folder / "p.star", numbered("a.mrcs"))
    done = run_command(capsys, "convert", "--i", "p.star", "--o", "p.cs")
    assert (done.returncode, done.stdout) == (0, "p.cs\n")
    done = run_command(capsys, "convert", "--i", "p.star", "--o", "p.cs")
    assert done.returncode == 2
    assert "--overwrite" in done.stderr
    done = run_command(capsys, "convert", "--i", "p.star", "--o", "p.cs", "--overwrite", "--json")
    assert json.loads(done.stdout) == {"results": ["p.cs"], "particles": 6}


def test_the_command_fails_without_a_trace(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = modern_table(folder / "p.star", numbered("a.mrcs"))
    path.write_text(path.read_text().replace("80.25", "x", 1))
    done = run_command(capsys, "convert", "--i", "p.star", "--o", "p.cs")
    assert done.returncode == 3
    assert "row 1: rlnAngleTilt is 'x'" in done.stderr
    assert "Traceback" not in done.stderr
    assert not Path("p.cs").exists()


def lacking(folder: Path, *, old: bool) -> Path:
    """Table without voltage and amplitude contrast, in either dialect."""
    if old:
        path = old_table(folder / "old.star", numbered("a.mrcs"))
        text = path.read_text().replace("_rlnVoltage", "_ac4dOther")
        path.write_text(text.replace("_rlnAmplitudeContrast", "_ac4dElse"))
        return path
    optics = {k: v for k, v in OPTICS.items() if k not in ("rlnVoltage", "rlnAmplitudeContrast")}
    return modern_table(folder / "new.star", numbered("a.mrcs"), optics=[optics], optics_last=True)


@pytest.mark.parametrize("old", [False, True])
def test_optics_that_a_table_lacks_are_filled_in(folder: Path, old: bool) -> None:
    table = lacking(folder, old=old)
    with pytest.raises(InputError, match="--voltage"):
        read_particles(table)
    convert(table, folder / "full.star", voltage=200.0, amplitude_contrast=0.07)
    particles = read_particles(folder / "full.star")
    assert particles.optics.voltage.tolist() == [200.0]
    assert particles.optics.amplitude_contrast.tolist() == [0.07]
    assert particles.optics.spherical_aberration.tolist() == [2.7]
    rows = [line for line in table.read_bytes().splitlines() if b"@" in line]
    filled = [line for line in (folder / "full.star").read_bytes().splitlines() if b"@" in line]
    assert len(filled) == 6
    if old:
        assert all(line.startswith(row.rstrip()) for line, row in zip(filled, rows, strict=True))
    else:
        assert filled == rows


def test_an_optics_table_that_is_missing_is_written(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As ``check`` says that it can be."""
    path = modern_table(folder / "p.star", numbered("a.mrcs"))
    whole = read_particles(path)
    text = path.read_text()
    path.write_text("\n" + text[text.index("data_particles") :])
    words = ["--pixel-size", "1.5", "--voltage", "300", "--cs", "2.7"]
    words += ["--amplitude-contrast", "0.1"]
    refused = run_command(capsys, "check", "--i", "p.star", *words)
    assert refused.returncode == 3
    shown = f"convert --i p.star --o completed.star {' '.join(words)}"
    assert "table data_optics missing; restore it" in refused.stderr
    assert shown in refused.stderr
    lacking = run_command(capsys, *shown.split()[:-2])
    assert lacking.returncode == 3
    assert "has no data_optics; give --amplitude-contrast as well" in lacking.stderr
    assert run_command(capsys, *shown.split()).returncode == 0
    assert Path("completed.star").read_bytes().endswith(path.read_bytes())
    particles = read_particles(Path("completed.star"))
    for name in ("pixel_size", "voltage", "spherical_aberration", "amplitude_contrast", "box"):
        np.testing.assert_allclose(getattr(particles.optics, name), getattr(whole.optics, name))
    sound = run_command(capsys, "check", "--i", "completed.star", "--voltage", "300")
    assert sound.returncode == 0
    assert "next: alphacryo4d run --i completed.star --o project" in sound.stderr
    assert sound.stderr.rstrip().endswith("--voltage 300")


def test_commands_take_optics_that_the_table_lacks(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = lacking(folder, old=False)
    words = ["resample", "classify", "--i", str(table), "--o", "o", "--classes", "2", "--iter", "1"]
    refused = run_command(capsys, *words)
    assert refused.returncode == 3
    assert "--voltage" in refused.stderr
    given = ["--voltage", "200", "--amplitude-contrast", "0.1", "--limit-resolution", "8"]
    assert run_command(capsys, *words, *given, "--dry-run").returncode == 0
    assert not Path("o").exists()
    done = run_command(capsys, *words, *given)
    assert done.returncode == 0, done.stderr
    assert open_table(Path("o/run_it001_data.star")).rows == 6
    assert read_particles(Path("o/input.star")).optics.voltage.tolist() == [200.0]


def test_what_cannot_be_filled_in_is_refused(folder: Path) -> None:
    table = lacking(folder, old=False)
    with pytest.raises(InputError, match="--voltage -1: must be positive"):
        convert(table, folder / "full.star", voltage=-1.0)
    assert not (folder / "full.star").exists()


def test_a_table_without_uids_says_the_way_out_of_passthrough(folder: Path) -> None:
    convert(posed_table(folder / "p.star"), folder / "made.cs")
    wanted = r"p\.star: has no column ac4dUid.*made\.cs.*without --passthrough"
    with pytest.raises(InputError, match=wanted):
        convert(folder / "p.star", folder / "back.cs", passthrough=[folder / "made.cs"])
