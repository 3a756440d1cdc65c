import numpy as np
import pandas as pd
import starfile

from alphacryo4d.reclassify.folds import read_first_states
from alphacryo4d.voting.junk import (
    add_junk,
    escaped_junk,
    groups_of_junk,
    junk_lines,
    outliers_named,
    signal_columns,
    without_states_of_junk,
)

SIGNAL = np.array(
    [[1.1, 0.1, 0], [0.9, 0.1, 0], [0.1, 0.1, 1], [np.nan, np.nan, 0], [0.0, 0.1, 1], [0.2, 0.1, 1]]
)
OUTLIERS = np.array([2, 3])


def test_columns_name_junk_and_images_unlike_all_others():
    columns = signal_columns(SIGNAL, OUTLIERS)
    assert columns["ac4dOutlier"].tolist() == [0, 0, 1, 1, 1, 1]
    assert columns["ac4dSignal"].tolist() == [1.1, 0.9, 0.1, 0.0, 0.0, 0.2]
    assert signal_columns(None, OUTLIERS) == {}


def test_a_state_of_junk_is_named_and_what_was_kept_is_counted():
    report = {"voted_out": 2, "per_state": [{"state": 1}, {"state": 2}, {"state": 3}]}
    add_junk(report, SIGNAL, OUTLIERS, np.array([1, 1, 0, 0, 2, 2]))
    assert report["per_state"][0]["signal"] == 1.0
    assert report["per_state"][2]["signal"] is None
    assert report["junk_states"] == [2]
    assert (report["outliers"], report["no_signal"], report["no_signal_kept"]) == ([4], 1, 2)
    named = "2 voted out (1 of them junk: no signal of the particle; 1 of them images unlike all"
    assert outliers_named(report).startswith(named)
    first, second = junk_lines(report)
    assert "state 2" in first
    assert second.startswith("2 particles")


def test_groups_whose_images_show_no_particle():
    amplitude = np.array([1.0, 0.9, np.nan, 0.1, 0.0, 0.3])
    labels = np.array([[0, 2], [0, -1], [1, 1], [1, 2], [1, -2], [2, 2]])
    many, groups = np.tile(amplitude, 100), np.tile(labels, (100, 1))
    assert groups_of_junk(many, groups, 4).tolist() == [False, True, False, False]
    assert not groups_of_junk(amplitude, labels, 4).any()  # too few to be sure


def test_junk_with_more_than_half_a_signal_fills_small_groups():
    """Measured: volumes of *mini* 0.05 with junk at consensus poses; a rare state stays one."""
    rng = np.random.default_rng(1)
    means = [0.501, 0.526, 0.512, 0.95, 0.76, *[1.0] * 8]
    spreads = [0.063, 0.14, 0.09, 0.2, 0.24, *[0.23] * 8]
    sizes = [81, 76, 22, 60, 96, *[300] * 8]
    amplitude = np.concatenate(
        [rng.normal(*one) for one in zip(means, spreads, sizes, strict=True)]
    )
    labels = np.repeat(np.arange(13), sizes)
    groups = groups_of_junk(amplitude, labels, 13)
    assert np.flatnonzero(groups).tolist() == [0, 1, 2]
    report = {"voted_out": 0, "per_state": [{"state": number} for number in range(1, 14)]}
    signal = np.stack([amplitude, amplitude, np.zeros(len(amplitude))], axis=1)
    add_junk(report, signal, np.zeros(0, int), labels + 1)
    assert report["junk_states"] == [1, 2, 3]
    kept, named, outliers = without_states_of_junk(labels + 1, signal, np.array([400]))
    assert not signal[:, 2].any()
    assert (named[:, 2] == (labels < 3)).all()
    assert outliers.tolist() == [*np.flatnonzero(labels < 3), 400]
    assert set(kept[labels < 3]) == {0}
    assert (kept[labels >= 3] == labels[labels >= 3] + 1).all()
    assert without_states_of_junk(kept, signal)[0] is kept
    assert without_states_of_junk(labels + 1, None)[0].all()


def test_a_reclassification_begins_without_the_states_of_junk(tmp_path, caplog):
    states = np.repeat([1, 2, 3, 0], [50, 60, 5, 5])
    amplitude = np.where(states == 3, 0.4, 1.0)
    signal = np.stack([amplitude, amplitude, states == 0], axis=1)
    table = pd.DataFrame({"rlnImageName": "000001@a.mrcs", "rlnClassNumber": states})
    starfile.write(table, tmp_path / "particles.star")
    with caplog.at_level("INFO"):
        seeds, _, _ = without_states_of_junk(read_first_states(tmp_path, len(states)), signal)
    assert np.bincount(seeds).tolist() == [10, 50, 60]
    assert "is left out: state 3" in caplog.text
    assert np.bincount(read_first_states(tmp_path, len(states)))[3] == 5


def signals_of_states(sizes, junk, seed=0):
    """Signals (P, 3), states and truth; each state has so much junk, with signals of 0.35 to 0.6.

    A thousand more images were named as junk.
    """
    rng = np.random.default_rng(seed)
    states = np.concatenate([np.repeat(np.arange(1, len(sizes) + 1), sizes), np.zeros(1000, int)])
    is_junk = states == 0
    for state, some in enumerate(junk, 1):
        is_junk[np.flatnonzero(states == state)[:some]] = True
    strong = rng.normal(1.0, 0.2, 20_000)
    strong = strong[strong > 0.36][: len(states)]
    amplitude = np.where(is_junk, rng.uniform(0.35, 0.6, len(states)), strong)
    amplitude[states == 0] = rng.normal(0, 0.1, 1000)
    named = (states == 0).astype(float)
    return np.stack([amplitude, np.full(len(states), 0.1), named], axis=1), states, is_junk


def test_junk_that_gathers_in_a_small_state_is_named():
    signal, states, is_junk = signals_of_states([4000, 140, 4000], [10, 22, 10])
    out = escaped_junk(signal, states, 3)
    small = states == 2
    assert not out[~small].any()  # a hundredth in a large state is no more than weak particles are
    assert out[small & is_junk].mean() > 0.8
    assert out[small & ~is_junk].mean() < 0.04


def test_no_junk_escapes_where_none_was_named_or_gathers():
    signal, states, _ = signals_of_states([4000, 140, 40], [0, 0, 0], seed=1)
    assert not escaped_junk(signal, states, 3).any()
    signal, states, _ = signals_of_states([4000, 140, 40], [0, 22, 0])
    signal[:, 2] = 0
    assert not escaped_junk(signal[states > 0], states[states > 0], 3).any()
    assert not escaped_junk(None, states, 3).any()


def test_states_of_other_amplitudes_and_heavy_tails_lose_no_particle():
    rng = np.random.default_rng(2)
    sizes, means = (6000, 5000, 1000), (1.2, 0.75, 0.6)
    states = np.concatenate([np.repeat([1, 2, 3], sizes), np.zeros(1000, int)])
    kept = np.concatenate([rng.normal(m, 0.08, n) for m, n in zip(means, sizes, strict=True)])
    amplitude = np.concatenate([kept, rng.normal(0, 0.08, 1000)])
    signal = np.stack([amplitude, np.full(len(states), 0.08), states == 0], axis=1)
    assert escaped_junk(signal, states, 3).sum() < 5
    states = np.concatenate([np.repeat([1, 2], 20_000), np.zeros(1000, int)])
    kept = 1 + 0.12 * rng.standard_t(5, 40_000)
    amplitude = np.concatenate([np.maximum(kept, 0.2), rng.normal(0, 0.08, 1000)])
    signal = np.stack([amplitude, np.full(len(states), 0.08), states == 0], axis=1)
    assert not escaped_junk(signal, states, 2).any()


def test_copies_of_an_image_are_one_in_the_evidence_of_junk():
    signal, states, _ = signals_of_states([3000, 60], [0, 4])
    copied = np.repeat(signal, 12, axis=0), np.repeat(states, 12)
    images = np.repeat(np.arange(len(states)), 12)
    once = escaped_junk(signal, states, 2)
    assert (escaped_junk(*copied, 2, images)[::12] == once).all()
