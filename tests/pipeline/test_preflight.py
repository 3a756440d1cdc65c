"""What is refused before any work, by `run` and by its dry run alike."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from alphacryo4d.cli import main
from alphacryo4d.core.errors import InputError, MissingProgramError, ResourceError, UsageError
from alphacryo4d.core.foresight import require_writable
from alphacryo4d.io.mrc import write_volume
from alphacryo4d.particles.open import open_table
from alphacryo4d.particles.particle_set import read_particles
from alphacryo4d.pipeline import fitted_poses
from alphacryo4d.pipeline.options import DEMO
from alphacryo4d.pipeline.preflight import require_possible
from alphacryo4d.relion.version import installed_version


@pytest.fixture(scope="module")
def particles(easy_data: Path):
    return read_particles(easy_data / "particles.star")


def changed(part: str, **values: object):
    whole, *inner = part.split(".")
    old = getattr(DEMO, whole)
    for name in inner:
        values = {name: replace(getattr(old, name), **values)}
    return replace(DEMO, **{whole: replace(old, **values)})


GOOD = changed("landscape.states", states="4")


def test_what_can_be_done_passes(particles, tmp_path: Path) -> None:
    require_possible(particles, tmp_path / "project", GOOD)
    assert not (tmp_path / "project").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (changed("relion", symmetry="X2"), "symmetry 'X2' is not known"),
        (changed("classify", initial_resolution=8.0), "finer than Nyquist.* 2 x 5 A = 10 A"),
        (changed("classify", final_resolution=3.0), "--final-resolution 3: finer than Nyquist"),
        (changed("landscape.states", states="17"), "more than the 16 classes of a fold"),
        (changed("classify", classes="100x4"), "400 classes"),
        (changed("classify", mask_diameter=200.0), "larger than the box, 32 px of 5 A = 160 A"),
        (changed("landscape.states", centers="gone.npy"), "gone.npy: no such file"),
        (changed("vote", threshold="4"), "4"),
        (changed("resample", box=100), "--box 100"),
    ],
)
def test_options_that_the_run_would_refuse_are_refused_first(
    particles, tmp_path: Path, options, said: str
) -> None:
    with pytest.raises((UsageError, InputError), match=said):
        require_possible(particles, tmp_path / "project", options)


def test_a_mask_of_another_box_is_refused(particles, tmp_path: Path) -> None:
    write_volume(tmp_path / "mask.mrc", np.ones((48, 48, 48), np.float32), voxel_size=5.0)
    for options in (
        changed("relion", mask=tmp_path / "mask.mrc"),
        changed("classify", focus_mask=tmp_path / "mask.mrc"),
    ):
        with pytest.raises(InputError, match="box of 48 voxels, the particles 32"):
            require_possible(particles, tmp_path / "project", options)


def test_a_reference_is_looked_at_and_said_to_be_no_use_where_there_are_poses(
    easy_data: Path, tmp_path: Path, capsys
) -> None:
    table, project = easy_data / "particles.star", tmp_path / "project"
    words = ["run", "--i", str(table), "--o", str(project), "--classes", "4", "--dry-run"]
    with pytest.raises(SystemExit) as ended:
        main([*words, "--reference", str(tmp_path / "gone.mrc")])
    assert ended.value.code == 3
    said = capsys.readouterr().err
    assert "gone.mrc: no such file" in said
    assert "is not used" not in said
    write_volume(tmp_path / "map.mrc", np.ones((32, 32, 32), np.float32), 5.0)
    main([*words, "--reference", str(tmp_path / "map.mrc")])
    assert f"map.mrc is not used: {table} has poses" in capsys.readouterr().err


def test_a_warning_of_the_table_is_said_once(easy_data: Path, tmp_path: Path, capsys) -> None:
    table = open_table(easy_data / "particles.star")
    one_half = {"rlnRandomSubset": np.ones(table.rows, int)}
    path = table.write_with_columns(easy_data / "one_half.star", one_half)
    main(["run", "--i", str(path), "--o", str(tmp_path / "p"), "--classes", "4", "--dry-run"])
    assert capsys.readouterr().err.count("rlnRandomSubset is 1 in every row") == 1


def test_a_dry_run_says_what_becomes_of_the_poses(
    easy_data: Path, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["run", "--i", str(easy_data / "particles.star"), "--o", str(tmp_path / "project")]
    words += ["--classes", "4", "--dry-run", "--j", "1"]
    monkeypatch.setattr(fitted_poses, "FEWEST", 100)
    judged = "poses are judged by their images first (about"
    main(words)
    assert judged in capsys.readouterr().err
    main([*words, "--no-realign"])
    assert judged not in capsys.readouterr().err
    main([*words, "--realign"])
    said = capsys.readouterr().err
    assert "would climb from the poses" in said
    assert "poses first: about" in said
    assert "about, on 1 thread: resample" in said


def test_all_faults_are_said_at_once(particles, tmp_path: Path) -> None:
    options = replace(
        changed("landscape.states", states="17"), relion=changed("relion", symmetry="X2").relion
    )
    with pytest.raises(UsageError) as fault:
        require_possible(particles, tmp_path / "project", options)
    assert len(str(fault.value).splitlines()) == 2


def test_a_gpu_that_is_not_there_is_said(particles, tmp_path: Path, caplog) -> None:
    caplog.set_level("INFO", "alphacryo4d")
    require_possible(particles, tmp_path / "project", GOOD, gpu="97")
    assert "done on the CPU" in caplog.text
    with pytest.raises(UsageError, match="--gpu x"):
        require_possible(particles, tmp_path / "project", GOOD, gpu="x")


def test_a_gpu_for_the_training_goes_with_relion_and_a_cluster_has_its_own(
    particles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog
) -> None:
    caplog.set_level("INFO", "alphacryo4d")
    monkeypatch.setenv("PATH", str(tmp_path))
    installed_version.cache_clear()
    options = replace(GOOD, resample=replace(GOOD.resample, engine="relion"))
    require_possible(particles, tmp_path / "project", options, gpu="0", here=False)
    assert "on the CPU" not in caplog.text
    with pytest.raises(MissingProgramError, match="relion_refine"):
        require_possible(particles, tmp_path / "project", options, gpu="0")


@pytest.mark.parametrize("place", ["file", "file/below", "/proc/project", "/proc/1/project"])
def test_a_place_that_cannot_be_written_is_refused(place: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises((UsageError, ResourceError), match="give a folder|take another folder"):
        require_writable(tmp_path / place)


@pytest.mark.parametrize("more", [[], ["--dry-run"]])
def test_the_command_refuses_with_and_without_dry_run(
    more: list[str], easy_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["run", "--i", str(easy_data / "particles.star"), "--o", str(tmp_path / "p")]
    with pytest.raises(SystemExit, match="2"):
        main([*words, "--sym", "Q7", "--states", "99", *more])
    said = capsys.readouterr().err
    assert "symmetry 'Q7'" in said
    assert "--states 99" in said
    assert not (tmp_path / "p").exists()
    shutil.rmtree(tmp_path / "p", ignore_errors=True)
    with pytest.raises(SystemExit, match="2"):
        main(["resample", *words[1:], "--initial-resolution", "3", *more])
    assert "Nyquist" in capsys.readouterr().err


def test_a_folder_of_a_stage_is_no_project(easy_data: Path, tmp_path: Path, capsys) -> None:
    table = str(easy_data / "particles.star")
    small = ["--classes", "4", "--states", "2", "--j", "2"]
    vote = tmp_path / "ac4d" / "vote"
    vote.mkdir(parents=True)
    record = '{"stage": "vote", "status": "done", "outputs": [], "steps": {}, "inputs": []}'
    (vote / "job.json").write_text(record)
    for more in ([], ["--dry-run"], ["--overwrite"]):
        with pytest.raises(SystemExit) as ended:
            main(["run", "--i", table, "--o", str(vote), *small, *more])
        assert ended.value.code == 2
        assert "holds the results of `vote`, not of `run`" in capsys.readouterr().err
    assert [path.name for path in vote.iterdir()] == ["job.json"]
    assert (vote / "job.json").read_text() == record
