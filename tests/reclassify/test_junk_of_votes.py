"""Junk in a project: a state of the votes that is junk, and junk that makes a state of a fold."""

import json

import numpy as np
import simulated

from alphacryo4d.particles.open import open_table
from alphacryo4d.reclassify.options import ReclassifyOptions
from alphacryo4d.reclassify.stage import run_reclassify

QUICK = ReclassifyOptions(
    final_resolution=15.0, initial_resolution=20.0, reconstruct=False, mask_diameter=100.0,
    refine_poses=False,
)  # fmt: skip
NOTHING = np.zeros((0, 3))
SHAPES = [*(np.vstack([simulated.BODY, arm]) for arm in simulated.ARMS[:2]), NOTHING]


def reclassified(folder, truth, voted, rng, amplitude_of_junk):
    """Report, log and states of a project; images of SHAPES[2] are junk that was not named."""
    table, _ = simulated.simulate(folder, truth, 0.3, rng, shapes=SHAPES)
    simulated.write_project(folder, table, voted, rng)
    amplitude = rng.normal(1.0, 0.15, len(truth))
    junk = truth == 2
    amplitude[junk] = rng.uniform(*amplitude_of_junk, junk.sum())
    signal = np.stack([amplitude, np.full(len(truth), 0.15), np.zeros(len(truth))], axis=1)
    np.save(folder / "resample" / "signal.npy", signal.astype(np.float32))
    run_reclassify(folder, folder / "reclassify", options=QUICK)
    report = json.loads((folder / "reclassify" / "report.json").read_text())
    states = open_table(folder / "reclassify" / "particles.star").read(["rlnClassNumber"])
    return report, states["rlnClassNumber"]


def test_a_state_of_junk_spans_nothing(tmp_path, caplog):
    rng = np.random.default_rng(3)
    truth = rng.choice(3, 1500, p=[0.45, 0.45, 0.1])
    with caplog.at_level("INFO"):
        report, states = reclassified(tmp_path, truth, truth + 1, rng, (0.0, 0.3))
    assert "is left out: state 3" in caplog.text
    assert report["states"] == 2
    assert not states[truth == 2].any()
    assert report["no_signal"] == (truth == 2).sum()
    for state in (1, 2):
        assert (truth[states == state] == state - 1).mean() > 0.85
        assert (states[truth == state - 1] == state).mean() > 0.9


def test_junk_that_makes_a_state_of_a_fold_is_left_out_of_every_round(tmp_path):
    """Two voted states are halves of one, so that junk without a vote makes a state."""
    rng = np.random.default_rng(4)
    truth = rng.choice(3, 2000, p=[0.6, 0.34, 0.06])
    halves = np.where(rng.random(2000) < 0.5, 1, 3)
    voted = np.select([truth == 0, truth == 1], [halves, 2], 0)
    report, states = reclassified(tmp_path, truth, voted, rng, (0.5, 0.6))
    rounds = sum(line.startswith("round 2: 2 states") for line in report["log"])
    assert rounds == 1
    assert sum("fitted without" in line for line in report["log"]) == 8
    assert (states[truth == 2] > 0).mean() < 0.05
    assert (states[truth < 2] > 0).mean() > 0.95
