"""Junk that makes a state of a fold is left out, and the fold is fitted anew."""

from types import SimpleNamespace

import numpy as np
import pytest

from alphacryo4d.reclassify import clean_fit

STATES = np.repeat([0, 1, 2, 3], [300, 300, 300, 12])


@pytest.fixture
def fits(monkeypatch):
    """Rows of every fit; a fit gives each row the state it has in STATES."""
    seen = []

    def fit_states(poses, rows, start, options, **rest):
        seen.append(rows)
        assert len(start) == len(rows)
        assert (poses.rotations == 0).all()  # each fit begins at the poses given
        poses.rotations[rows] = 1
        posteriors = np.eye(4, dtype=np.float32)[STATES[rows]]
        return SimpleNamespace(posteriors=posteriors)

    monkeypatch.setattr(clean_fit, "fit_states", fit_states)
    return seen


def signal_of(weak):
    amplitude = np.random.default_rng(0).normal(1.0, 0.2, len(STATES))
    amplitude[weak] = np.linspace(0.4, 0.58, weak.sum())
    return np.stack([amplitude, amplitude, np.zeros(len(STATES))], axis=1)


def fitted(signal):
    rows, start = np.arange(len(STATES)), np.ones((len(STATES), 4), np.float32)
    poses = SimpleNamespace(rotations=np.zeros((len(rows), 3)), shifts=np.zeros((len(rows), 2)))

    def put(rows, rotations, shifts):
        poses.rotations[rows], poses.shifts[rows] = rotations, shifts

    poses.put = put
    return clean_fit.fit_without_junk(poses, rows, start, None, signal)


def test_a_state_of_junk_is_left_out(fits):
    fit, used = fitted(signal_of(STATES == 3))
    assert [len(rows) for rows in fits] == [912, 900]
    assert (used == np.flatnonzero(STATES < 3)).all()
    assert len(fit.posteriors) == 900


def test_a_rare_state_stays(fits):
    _, used = fitted(signal_of(np.zeros(len(STATES), bool)))
    assert [len(rows) for rows in fits] == [912]
    assert len(used) == 912


def test_a_large_state_of_weak_images_stays(fits):
    """A tenth of the particles of a fold is no junk that escaped."""
    _, used = fitted(signal_of(STATES == 2))
    assert len(fits) == 1
    assert len(used) == 912


def test_without_signals_nothing_is_left_out(fits):
    _, used = fitted(None)
    assert len(fits) == 1
    assert len(used) == 912
