"""Inputs that were once read wrongly without a word; the right answer stands in each case.txt."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from small_tables import Done, run_command

from alphacryo4d.core.errors import InputError
from alphacryo4d.io.cs import read_cs
from alphacryo4d.ml3d.reconstruct import reconstruct
from alphacryo4d.particles.copies import half_sets, particle_images
from alphacryo4d.particles.particle_set import read_particles
from alphacryo4d.particles.samples import prepare_rows
from alphacryo4d.tools.check import examine


class Case:
    """Copy of the folder of one case, and commands that start there."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.capsys = capsys

    def run(self, *words: str) -> Done:
        done = run_command(self.capsys, *words)
        assert "Traceback" not in done.stderr
        return done


@pytest.fixture
def case(
    request: pytest.FixtureRequest,
    shared_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Case:
    folder = tmp_path / request.param
    shutil.copytree(shared_data / "cases" / request.param, folder)
    folder.chmod(0o755)
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    monkeypatch.chdir(folder)
    return Case(folder, capsys)


def of(name: str) -> pytest.MarkDecorator:
    """Mark a test as one of the case of this name."""
    return pytest.mark.parametrize("case", [name], indirect=True)


@of("cs-large-header")
def test_cs_header_of_any_length(case: Case) -> None:
    done = case.run("check", "--i", "particles.cs")
    assert done.returncode == 0, done.stderr
    assert len(read_cs(Path("particles.cs")).dtype.descr.__repr__()) > 10_000
    assert len(read_particles(Path("particles.cs"))) > 0


IMPLAUSIBLE = {
    "voltage-0": (3, "voltage is 0 kV"),
    "voltage-in-V": (3, "300 kV if it is in V"),
    "amplitude-in-percent": (3, "0.1 if it is in percent"),
    "defocus-negative": (0, "all defoci are negative"),
}


@of("implausible-optics")
@pytest.mark.parametrize("name", IMPLAUSIBLE)
def test_values_that_no_microscope_has(case: Case, name: str) -> None:
    code, message = IMPLAUSIBLE[name]
    done = case.run("check", "--i", f"{name}.star")
    assert done.returncode == code
    assert message in done.stderr
    if code:
        done = case.run(
            "resample", "--i", f"{name}.star", "--o", "out", "--classes", "2", "--dry-run"
        )
        assert done.returncode == code


def column_of(path: str, name: str) -> np.ndarray:
    """A column of numbers by counting labels and words, without this package."""
    lines = Path(path).read_text().split("data_particles")[1].splitlines()
    labels = [line.split()[0] for line in lines if line.startswith("_")]
    place = labels.index(f"_{name}")
    return np.array([float(line.split()[place]) for line in lines if "@" in line])


@of("per-particle-bfactor")
def test_b_factors_of_particles_are_no_doses(case: Case) -> None:
    done = case.run("check", "--full", "--i", "particles.star")
    assert done.returncode == 0, done.stderr
    assert "tomography" not in done.stderr
    particles = read_particles(Path("particles.star"))
    right = column_of("particles.star", "rlnCtfBfactor")
    assert len(np.unique(right)) > len(right) // 2
    np.testing.assert_allclose(particles.bfactor, right, rtol=1e-9)
    assert (particles.ctf_scale == 1).all()
    words = "--i", "particles.star", "--o", "o", "--classes", "2", "--dry-run"
    assert case.run("resample", *words).returncode == 0


def volume_of(path: str) -> np.ndarray:
    """Reconstruction of all particles of a table, as the program makes it."""
    particles = read_particles(Path(path))
    images = prepare_rows(particles, np.arange(len(particles)), None, threads=1)
    labels = np.zeros(len(particles), int)
    return next(iter(reconstruct(images, labels, threads=1))).volume


@of("phase-shift-in-optics")
def test_the_phase_shift_of_an_optics_group(case: Case) -> None:
    for name in ("optics", "rows"):
        done = case.run("check", "--full", "--i", f"{name}.star")
        assert done.returncode == 0, done.stderr
        particles = read_particles(Path(f"{name}.star"))
        assert (particles.phase_shift == 90).all()
        done = case.run("convert", "--i", f"{name}.star", "--o", f"{name}.cs")
        assert done.returncode == 0, done.stderr
        turned = read_cs(Path(f"{name}.cs"))["ctf/phase_shift_rad"]
        np.testing.assert_allclose(turned, np.pi / 2, rtol=1e-6)
    np.testing.assert_array_equal(volume_of("optics.star"), volume_of("rows.star"))


@of("row-values-over-optics")
def test_the_values_of_rows_go_before_those_of_optics_groups(case: Case) -> None:
    done = case.run("check", "--full", "--i", "particles.star")
    assert done.returncode == 0, done.stderr
    for words in (
        "rlnVoltage is 300.0 in the row and 200.0 in data_optics",
        "rlnSphericalAberration is 2.7 in the row and 0.01 in data_optics",
        "rlnAmplitudeContrast is 0.1 in the row and 0.5 in data_optics",
    ):
        assert words in done.stderr
    assert done.stderr.count("the row is taken, as RELION does") == 3
    particles = read_particles(Path("particles.star"))
    optics = particles.optics
    assert optics.voltage.tolist() == [300.0]
    assert optics.spherical_aberration.tolist() == [2.7]
    assert optics.amplitude_contrast.tolist() == [0.1]
    assert "in data_optics" not in case.run("check", "--i", "plain.star").stderr
    np.testing.assert_array_equal(volume_of("particles.star"), volume_of("plain.star"))


@of("random-subset-0")
@pytest.mark.parametrize(("name", "value"), [("zero", 0), ("one", 1)])
def test_half_sets_that_are_none(case: Case, name: str, value: int) -> None:
    path = Path(f"{name}.star")
    done = case.run("check", "--i", str(path))
    assert done.returncode == 0
    assert f"rlnRandomSubset is {value} in every row" in done.stderr
    halves = half_sets(read_particles(path))
    assert 20 < halves.sum() < len(halves) - 20
    done = case.run("convert", "--i", str(path), "--o", "z.cs")
    if value == 0:
        assert done.returncode == 3
        assert "rlnRandomSubset is 0 in every row" in done.stderr
    else:
        assert set(read_cs(Path("z.cs"))["alignments3D/split"].tolist()) == {0, 1}


@of("same-name-stack-in-cwd")
def test_another_stack_of_the_same_name(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    table = Path("../project/particles.star")
    right = read_particles(case.folder / "project/particles.star").images([0])
    monkeypatch.chdir(case.folder / "other")
    done = case.run("check", "--i", str(table))
    assert done.returncode == 3
    assert "is there twice and differs in" in done.stderr
    assert "--images-from" in done.stderr
    with pytest.raises(InputError, match="there twice"):
        read_particles(table)
    assert case.run("check", "--i", str(table), "--images-from", "../project").returncode == 0
    monkeypatch.setenv("ALPHACRYO4D_IMAGES_FROM", str(case.folder / "project"))
    assert (read_particles(table).images([0]) == right).all()


@of("symmetry-expanded")
def test_symmetry_expanded_particles(case: Case) -> None:
    path = Path("particles.star")
    done = case.run("check", "--i", str(path))
    assert done.returncode == 0, done.stderr
    assert "symmetry-expanded" in done.stderr
    words = "--i", str(path), "--o", "se", "--classes", "2", "--dry-run"
    assert case.run("resample", *words).returncode == 0
    done = case.run("convert", "--i", str(path), "--o", "se.cs")
    assert done.returncode == 0, done.stderr
    uids = read_cs(Path("se.cs"))["uid"]
    assert len(np.unique(uids)) == len(uids) == len(read_particles(path))
    done = case.run("resample", "split", "--i", str(path), "--o", "split")
    assert done.returncode == 0, done.stderr
    groups = np.load("split/groups.npy")
    images = particle_images(read_particles(path))
    assert (np.bincount(images) == 2).all()
    order = np.argsort(images, kind="stable")
    assert (groups[order[::2]] == groups[order[1::2]]).all()


@of("warp-subtomograms-3d")
def test_subtomograms_are_no_particles(case: Case) -> None:
    done = case.run("check", "--full", "--i", "particles.star")
    assert done.returncode == 3
    assert "subtomograms" in done.stderr
    assert "tomography is not supported" in done.stderr
    text = Path("particles.star").read_text()
    for column in ("rlnCtfImage", "rlnCoordinateZ"):
        text = text.replace(f"_{column} ", f"_{column}Other ")
    Path("other.star").write_text(text)
    with pytest.raises(InputError, match="16 sections.*tomography is not supported"):
        read_particles(Path("other.star"))


@of("background-not-zero")
def test_images_that_are_not_normalised(case: Case) -> None:
    done = case.run("check", "--full", "--i", "particles.star")
    assert done.returncode == 0
    assert "not normalised: their background is" in done.stderr


@of("one-image-of-huge-contrast")
def test_an_image_of_huge_contrast_is_named(case: Case) -> None:
    warnings = examine(Path("particles.star"), full=True).warnings
    assert [warning.kind for warning in warnings] == ["contrast-outliers"]
    assert "1 of 48 images" in str(warnings[0])


REAL = {"relion5.star": ["shared-image"], "relion31.6opticsgroups.star": []}


@pytest.mark.parametrize("name", REAL)
def test_nothing_but_the_images_is_missed_in_real_tables(shared_data: Path, name: str) -> None:
    report = examine(shared_data / "formats" / name)
    assert {fault.kind for fault in report.faults} == {"missing-stack"}
    assert [warning.kind for warning in report.warnings] == REAL[name]
    particles = read_particles(shared_data / "formats" / name, need_images=False)
    assert np.isfinite(particles.angles).all()
    assert np.isfinite(particles.shifts).all()
    assert (particles.optics.pixel_size > 0.5).all()


def test_aberrations_of_a_real_table_are_read(shared_data: Path) -> None:
    particles = read_particles(shared_data / "formats/relion5.star", need_images=False)
    aberrations = particles.optics.aberrations
    np.testing.assert_allclose(aberrations.beam_tilt, [[0.043489, 0.014097]])
    assert aberrations.odd[0][2] == pytest.approx(-1.79877045848)  # trefoil, apart from tilt
    assert aberrations.even[0][0] == pytest.approx(45.4677386628)
    assert not aberrations.premultiplied.any()


def test_every_case_has_a_test(shared_data: Path) -> None:
    text = Path(__file__).read_text()
    cases = {path.parent.name for path in (shared_data / "cases").glob("*/case.txt")}
    assert len(cases) >= 11
    assert {name for name in cases if f'@of("{name}")' not in text} == set()
