"""The first votes on simulated particles: states that are real, and states that are not."""

import json

import numpy as np
import pytest
import simulated

from alphacryo4d.io.star import write_tables
from alphacryo4d.ml3d.options import ClassifyOptions
from alphacryo4d.resample.options import ResampleOptions
from alphacryo4d.resample.stage import run_resample
from alphacryo4d.voting.options import VoteOptions
from alphacryo4d.voting.stage import run_vote

COUNT = 1200


def vote(folder, truth, snr, **more):
    """Resample, put every volume into the state that most of its particles are in, vote."""
    rng = np.random.default_rng(21)
    table, _ = simulated.simulate(folder, truth, snr, rng)
    resample, landscape = folder / "resample", folder / "landscape"
    classify = ClassifyOptions(
        classes="4", iterations=8, initial_resolution=20.0, components=4, mask_diameter=100.0
    )
    run_resample(table, resample, options=ResampleOptions(), classify=classify)
    assignments = np.load(resample / "assignments.npy")
    volumes = int(assignments.max()) + 1
    if len(np.unique(truth)) > 1:
        counts = [np.bincount(truth[(assignments == v).any(axis=1)]) for v in range(volumes)]
        states = np.array([int(count.argmax()) + 1 for count in counts])
    else:
        states = np.arange(volumes) % 2 + 1
    landscape.mkdir()
    np.save(landscape / "embedding.npy", np.zeros((volumes, 2), np.float32))
    np.save(landscape / "volume_states.npy", states.astype(np.int32))
    columns = ("ac4dCenterX", "ac4dCenterY", "ac4dRadius")
    write_tables(
        landscape / "states.star",
        {"states": {"ac4dState": np.array([1, 2]), **dict.fromkeys(columns, np.ones(2))}},
    )
    run_vote(resample, landscape, folder / "vote", options=VoteOptions(**more))
    return json.loads((folder / "vote" / "report.json").read_text())


def test_real_states_are_supported(tmp_path):
    truth = np.random.default_rng(1).integers(0, 2, COUNT)
    report = vote(tmp_path, truth, 0.3)
    assert report["support"]["states_supported"]
    assert [entry["supported"] for entry in report["per_state"]] == [True, True]
    assert report["heldout_agreement"] > report["heldout_chance"] + 0.2
    assert (tmp_path / "vote" / "class001_half1_unfil.mrc").is_file()


@pytest.mark.parametrize("snr", [0.3, 1e-8])
def test_one_conformer_and_noise_have_no_states(tmp_path, snr):
    report = vote(tmp_path, np.zeros(COUNT, int), snr, reconstruct=False)
    assert not report["support"]["states_supported"]
    assert "States are not supported" in report["verdict"]
    assert "States are not supported" in (tmp_path / "vote" / "summary.txt").read_text()
