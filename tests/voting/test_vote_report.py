"""The summary that people read: every figure of the report with its unit and its meaning."""

import numpy as np

from alphacryo4d.report.states import verdict_of_state
from alphacryo4d.voting.null_figures import add_null
from alphacryo4d.voting.report import add_support, make_report
from alphacryo4d.voting.summary import EXPLAINED, add_maps, batch_lines, summary
from alphacryo4d.voting.support import Support
from alphacryo4d.voting.votes import count_votes


def counted(particles=400, seed=3):
    """Report of random votes of two states in three batches, with a left-out fold."""
    rng = np.random.default_rng(seed)
    assignments = rng.integers(0, 2, (particles, 4)).astype(np.int32)
    assignments += 2 * np.arange(4, dtype=np.int32)
    left = rng.integers(0, 4, particles)
    heldout = assignments[np.arange(particles), left].copy()
    assignments[np.arange(particles), left] = -1
    states = np.tile([1, 2], 4).astype(np.int32)
    votes = np.empty((particles, 2), np.uint8)
    election = count_votes(assignments, states, 2, needed=3, out=votes)
    batches = rng.integers(1, 4, particles)
    report = make_report(assignments, states, 2, election, votes, batches=batches, heldout=heldout)
    return report | {"assign": "vote", "votes_needed": 3}, election


def support(gains):
    error = np.full(2, 0.01)
    return Support(0.5, 0.01, np.array(gains), error, np.array([1, 0]), 400)


def test_energies_are_those_of_the_voted_particles():
    report, election = counted()
    for entry in report["per_state"]:
        share = (election.states == entry["state"]).sum() / election.kept
        assert np.isclose(entry["energy_kt"], -np.log(share), atol=1e-6)


def test_the_summary_says_the_rule_and_what_the_columns_mean():
    report, _ = counted()
    text = summary(report)
    assert "3 of 3 votes needed" in text
    assert EXPLAINED in text
    assert "loss if merged" not in text
    nearest = summary(report | {"assign": "nearest"})
    assert "nearest centre" in nearest.splitlines()[0]


def test_a_state_that_is_not_needed_is_named_with_the_one_it_merges_with():
    report, _ = counted()
    add_support(report, support([0.3, 0.0]))
    text = summary(report)
    lines = {line.split()[0]: line for line in text.splitlines() if line.strip()[:1].isdigit()}
    assert "0.300 +- 0.010     2" in lines["1"]
    assert lines["1"].endswith("keep")
    assert lines["2"].endswith("merge with 1")
    assert "Not supported: state 2 (as one with 1)." in text
    assert "nats" in text


def test_a_state_that_the_test_cannot_judge_has_too_few_particles():
    report, _ = counted()
    wide = Support(0.5, 0.01, np.array([0.3, 0.1]), np.array([0.01, 0.4]), np.array([1, 0]), 400)
    add_support(report, wide)
    assert [one["advice"] for one in report["per_state"]] == ["keep", "too few particles"]
    none = Support(0.0, 0.01, np.array([0.3, 0.1]), np.array([0.01, 0.4]), np.array([1, 0]), 400)
    add_support(report, none)
    assert [one["advice"] for one in report["per_state"]] == ["merge with 2", "merge with 1"]


def test_states_that_end_as_one_are_one_conformation():
    report, _ = counted()
    one = Support(0.0, 0.0, np.zeros(2), np.zeros(2), np.array([1, 0]), 400)
    report["per_state"][0] |= {"particles": 0, "energy_kt": None}
    report["per_state"][1]["energy_kt"] = -0.0
    add_support(report, one)
    lines = [line for line in summary(report).splitlines() if line.strip()[:1].isdigit()]
    rows = [line for line in lines if " particles = " not in line]
    assert [row.split()[0] for row in rows] == ["2"]
    assert rows[0].endswith("one conformation")
    assert "-0.00" not in rows[0]
    assert verdict_of_state(report["per_state"][1])["text"].startswith("one conformation")


def test_a_resolution_at_the_limit_of_the_pixels_is_that_or_finer():
    report, _ = counted()
    add_maps(report, {"states": [{"state": 1, "resolution_masked": 8.83, "at_pixel_limit": True}]})
    assert "8.8 or finer  class001.mrc" in summary(report)


def test_resolution_and_map_come_and_go_with_the_maps():
    report, _ = counted()
    assert "resolution" not in summary(report)
    add_maps(report, {"states": [{"state": 1, "resolution_masked": 8.83}, {"state": 2}]})
    lines = summary(report).splitlines()
    assert lines[1].split()[-1] == "resolution"
    assert lines[3].split()[-2:] == ["8.8", "class001.mrc"]
    assert lines[4].split()[-2:] == ["-", "class002.mrc"]
    add_maps(report, {})
    assert "resolution" not in summary(report)


def test_batches_that_differ_by_chance_are_not_called_biased():
    report, _ = counted(20_000)
    batches = report["batches"]
    assert 0 < batches["cramer_v"] < 2.5 * batches["cramer_v_by_chance"]
    assert not any("BIAS" in line for line in batch_lines(batches))
    one = {**batches, "shares": batches["shares"][:1]}
    assert batch_lines(one) == []


def test_chance_is_what_random_batches_give():
    values = [counted(600, seed)[0]["batches"] for seed in range(30)]
    squares = np.mean([batches["cramer_v"] ** 2 for batches in values])
    assert np.isclose(squares, values[0]["cramer_v_by_chance"] ** 2, rtol=0.35)


def test_the_null_model_stands_beside_the_data():
    report, _ = counted()
    null, _ = counted(seed=4)
    add_support(report, support([0.3, 0.2]))
    add_null(report, null)
    lines = summary(report).splitlines()
    kept = next(line for line in lines if line.startswith("fraction of particles kept"))
    sides = report["null"]["data"], report["null"]["one_conformation"]
    assert [float(word) for word in kept.split()[-2:]] == [
        round(side["share_kept"], 3) for side in sides
    ]
    gain = next(line for line in lines if line.startswith("held-out gain"))
    assert gain.split()[-2:] == ["0.500", "-"]
