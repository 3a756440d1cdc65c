"""What a reclassification changed: every particle is counted once on each side."""

import numpy as np
import pytest

from alphacryo4d.reclassify.folds import describe_changes
from alphacryo4d.reclassify.populations import changes_by_state, states_gone, voted_energies
from alphacryo4d.voting.summary import change_table


def test_the_table_adds_up_on_both_sides():
    rng = np.random.default_rng(1)
    before, after = rng.integers(0, 4, (2, 500))
    rows = changes_by_state(before, after, 3)
    for row in rows:
        k = row["state"]
        assert row["before"] == row["stayed"] + row["moved_out"] + row["voted_out"]
        assert row["after"] == row["stayed"] + row["moved_in"] + row["newly_voted"]
        assert row["before"] == (before == k).sum()
        assert row["after"] == (after == k).sum()
    whole = describe_changes(before, after)
    assert sum(row["stayed"] for row in rows) == whole["stayed"]
    for name in ("moved_out", "moved_in"):
        assert sum(row[name] for row in rows) == whole["moved"]
    assert sum(row["voted_out"] for row in rows) == whole["newly_voted_out"]


def test_a_state_that_was_merged_is_named_under_its_old_number():
    before = np.array([1, 1, 2, 3, 3, 3, 0])
    gone = states_gone(before, np.array([1, 3]))
    assert gone == [{"state": 2, "particles": 1}]
    rows = changes_by_state(np.array([1, 1, 0, 2, 2, 2, 0]), np.array([1, 2, 1, 2, 2, 2, 0]), 2)
    lines = change_table({"changes_by_state": rows, "states_gone": gone})
    assert lines[-1].endswith("2 (1 particle)")
    assert lines[2].split() == ["1", "2", "1", "1", "0", "0", "1", "2"]


def test_energies_are_of_fractions_with_the_error_of_counting():
    rng = np.random.default_rng(2)
    energies, errors = voted_energies(np.array([700, 200, 100, 0]))
    assert np.allclose(np.exp(-energies[:3]), [0.7, 0.2, 0.1])
    assert np.isnan(energies[3])
    draws = rng.multinomial(1000, [0.7, 0.2, 0.1], 4000)
    spread = np.array([voted_energies(one)[0] for one in draws]).std(0)
    assert spread == pytest.approx(errors[:3], rel=0.06)
