"""The rules of the training, without a network."""

import numpy as np
import pytest

from alphacryo4d.core.errors import UsageError
from alphacryo4d.deepfeature.options import NetworkOptions, TrainOptions
from alphacryo4d.deepfeature.training import Plateau, batches, mean_volume, split_volumes


def run_rule(errors, **options):
    plateau, rates = Plateau(0.01), []
    for error in errors:
        plateau = plateau.after(error, TrainOptions(**options))
        rates.append(plateau.rate)
    return plateau, rates


def test_rate_falls_to_a_tenth_after_three_epochs_without_gain():
    _, rates = run_rule([1.0, 0.5, 0.6, 0.5, 0.7])
    np.testing.assert_allclose(rates, [0.01, 0.01, 0.01, 0.01, 0.001])


def test_a_gain_starts_the_count_again():
    _, rates = run_rule([1.0, 1.1, 1.1, 0.5, 0.6, 0.6])
    np.testing.assert_allclose(rates, [0.01] * 6)


def test_training_stops_when_two_lower_rates_brought_nothing():
    plateau, rates = run_rule([1.0] + [1.0] * 8)
    assert not plateau.stop
    plateau, rates = run_rule([1.0] + [1.0] * 9)
    assert plateau.stop
    assert rates[-1] == pytest.approx(1e-4)


def test_a_gain_at_a_lower_rate_keeps_the_training_going():
    plateau, _ = run_rule([1.0] + [1.0] * 6 + [0.5] + [0.5] * 6)
    assert not plateau.stop


def test_held_out_volumes_are_never_trained_on():
    train, held_out = split_volumes(160, None, seed=3)
    assert len(held_out) == 16
    np.testing.assert_array_equal(np.sort(np.concatenate([train, held_out])), np.arange(160))


def test_validation_size_is_clamped_to_half_of_the_volumes():
    train, held_out = split_volumes(11, 200, seed=0)
    assert (len(train), len(held_out)) == (6, 5)


def test_one_volume_cannot_be_trained_on():
    with pytest.raises(UsageError, match="at least 2"):
        split_volumes(1, None, seed=0)


def test_an_epoch_shows_every_volume_in_batches_of_one_size():
    parts = list(batches(np.arange(10), 4))
    assert [len(part) for part in parts] == [4, 4, 4]
    assert set(np.concatenate(parts)) == set(range(10))
    assert [len(part) for part in batches(np.arange(3), 8)] == [3]


def test_the_error_of_the_mean_is_that_of_a_plain_computation():
    volumes = np.random.default_rng(0).uniform(size=(6, 4, 4, 4)).astype("f4")
    mean, spread, error = mean_volume(lambda rows: volumes[rows], np.arange(4), np.arange(4, 6))
    np.testing.assert_allclose(mean, volumes[:4].mean(0), rtol=1e-6)
    assert spread == pytest.approx(np.mean((volumes[:4] - volumes[:4].mean(0)) ** 2), rel=1e-5)
    assert error == pytest.approx(np.mean((volumes[4:] - volumes[:4].mean(0)) ** 2), rel=1e-5)


@pytest.mark.parametrize(
    "wrong", [{"epochs": 0}, {"batch_size": 0}, {"regularization": -1.0}, {"factor": 1.0}]
)
def test_impossible_training_options_are_refused(wrong):
    with pytest.raises(UsageError):
        TrainOptions(**wrong)


def test_impossible_network_options_are_refused():
    with pytest.raises(UsageError):
        NetworkOptions(narrow_filters=0)
