"""Inputs that were once read wrongly without a word; the right answer stands in each case.txt."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from small_tables import Done, run_command

from alphacryo4d.core.errors import InputError
from alphacryo4d.io.cs import read_cs
from alphacryo4d.particles.copies import half_sets, particle_images
from alphacryo4d.particles.particle_set import read_particles
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
        done = case.run("resample", "--i", f"{name}.star", "--o", "out", "--dry-run")
        assert done.returncode == code


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
    assert case.run("resample", "--i", str(path), "--o", "se", "--dry-run").returncode == 0
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


@pytest.mark.parametrize("name", ["relion5.star", "relion31.6opticsgroups.star"])
def test_nothing_but_the_images_is_missed_in_real_tables(shared_data: Path, name: str) -> None:
    kinds = {fault.kind for fault in examine(shared_data / "formats" / name).faults}
    assert kinds - {"unmodelled", "mixed-pixel-size"} == {"missing-stack"}
