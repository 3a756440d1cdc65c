"""``--keep-outliers``: junk that is named takes part all the same, and may be left out again."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alphacryo4d.assessment.options import SimulateOptions
from alphacryo4d.assessment.stage import run_simulate
from alphacryo4d.io.star import write_tables
from alphacryo4d.ml3d.options import ClassifyOptions
from alphacryo4d.particles.open import open_table
from alphacryo4d.reclassify.options import ReclassifyOptions
from alphacryo4d.reclassify.stage import run_reclassify
from alphacryo4d.resample.options import ResampleOptions
from alphacryo4d.resample.stage import run_resample
from alphacryo4d.voting.options import VoteOptions
from alphacryo4d.voting.stage import run_vote


def states_and_junk(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """State of every particle, 0 for none, and whether it is named as junk."""
    shown = open_table(folder / "particles.star").read(["rlnClassNumber", "ac4dOutlier"])
    states, named = (np.asarray(shown[name], int) for name in ("rlnClassNumber", "ac4dOutlier"))
    return states, named > 0


def voted(data: Path, project: Path, *, keep: bool) -> tuple[np.ndarray, np.ndarray]:
    """Resample and vote in a folder; every volume is in the one state that there is."""
    resample, landscape = project / "resample", project / "landscape"
    classify = ClassifyOptions(
        classes="2", components=2, component_iterations=2, iterations=2, initial_resolution=20.0,
        final_resolution=0, keep_outliers=keep,
    )  # fmt: skip
    table = data / "particles.star"
    run_resample(table, resample, options=ResampleOptions(), classify=classify, seed=1)
    landscape.mkdir(exist_ok=True)
    count = len(np.load(resample / "volumes.npy", mmap_mode="r"))
    np.save(landscape / "embedding.npy", np.zeros((count, 2), np.float32))
    columns = {"ac4dCenterX": [0.0], "ac4dCenterY": [0.0], "ac4dRadius": [1.0]}
    write_tables(landscape / "states.star", {"states": {"ac4dState": [1]} | columns})
    run_vote(
        resample, landscape, project / "vote", options=VoteOptions(reconstruct=False, test=False)
    )
    return states_and_junk(project / "vote")


def report_of(folder: Path) -> Any:
    return json.loads((folder / "report.json").read_text())


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """640 images, a fifth of them of no particle."""
    folder = tmp_path_factory.mktemp("data")
    options = SimulateOptions(
        particles_per_state=160, box=32, pixel_size=6.6, snr=0.2, snr_box=32, junk=0.2
    )
    run_simulate(["subunits"], folder, options=options, seed=4)
    return folder


@pytest.fixture(scope="module")
def project(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project as it is by default."""
    folder = tmp_path_factory.mktemp("project")
    voted(data, folder, keep=False)
    return folder


def test_junk_has_no_state_until_it_is_kept_in_the_same_project(
    data: Path, project: Path, tmp_path: Path
) -> None:
    states, junk = states_and_junk(project / "vote")
    none = np.load(data / "truth.npy") == 0
    assert junk[none].mean() > 0.9
    assert junk[~none].mean() < 0.01
    assert not states[junk].any()
    assert states[~junk].all()
    again = tmp_path / "again"
    shutil.copytree(project, again)
    for keep in (True, False):
        states, named = voted(data, again, keep=keep)
        np.testing.assert_array_equal(named, junk)
        assert (states[junk] > 0).all() if keep else not states[junk].any()
        assert states[~junk].all()
        report = report_of(again / "vote")
        assert report["no_signal"] == (0 if keep else junk.sum())
        assert report["no_signal_kept"] == (junk.sum() if keep else 0)


def test_a_reclassification_takes_junk_in_that_had_no_vote(
    data: Path, project: Path, tmp_path: Path
) -> None:
    _, junk = states_and_junk(project / "vote")
    shutil.copytree(project / "resample", tmp_path / "resample")
    (tmp_path / "vote").mkdir()
    table, truth = data / "particles.star", np.load(data / "truth.npy")
    first = {"rlnClassNumber": np.where(junk, 0, np.maximum(truth, 1))}
    open_table(table).write_with_columns(tmp_path / "vote/particles.star", first)
    inputs = [{"path": str(table), "size": table.stat().st_size}]
    inputs.append({"path": str(tmp_path / "resample/groups.npy")})
    (tmp_path / "vote/job.json").write_text(json.dumps({"status": "done", "inputs": inputs}))
    kept = {}
    for keep in (True, False):
        options = ReclassifyOptions(
            rounds=1, initial_resolution=20.0, final_resolution=20.0, require_heldout=False,
            merge=False, split_merge=False, refine_poses=False, keep_outliers=keep,
            reconstruct=False,
        )  # fmt: skip
        run_reclassify(tmp_path, tmp_path / "reclassify", options=options)
        states, named = states_and_junk(tmp_path / "reclassify")
        np.testing.assert_array_equal(named, junk)
        kept[keep] = (states[junk] > 0).mean()
        assert (states[~junk] > 0).mean() > 0.8
    assert kept[True] > 0.5
    assert kept[False] == 0
