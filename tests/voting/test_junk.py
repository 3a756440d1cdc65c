import numpy as np

from alphacryo4d.voting.junk import (
    add_junk,
    groups_of_junk,
    junk_lines,
    outliers_named,
    signal_columns,
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
