"""The rules of the training, without a network."""

import gc
from types import SimpleNamespace

import numpy as np
import pytest

from alphacryo4d.core.errors import UsageError
from alphacryo4d.deepfeature.callbacks import plateau_callbacks
from alphacryo4d.deepfeature.devices import start_keras
from alphacryo4d.deepfeature.feed import (
    batch_count,
    batch_rows,
    feed_class,
    mean_volume,
    split_volumes,
)
from alphacryo4d.deepfeature.options import NetworkOptions, TrainOptions
from alphacryo4d.deepfeature.training import squared_error, train_autoencoder


def run_rule(errors, **options):
    """Rates after each epoch, and the number of epochs after which the training stopped."""
    start_keras()
    import keras

    model = SimpleNamespace(optimizer=keras.optimizers.Adam(0.01), stop_training=False)
    callbacks, rates = plateau_callbacks(TrainOptions(**options)), []
    for callback in callbacks:
        callback.set_model(model)
        callback.on_train_begin()
    for epoch, error in enumerate(errors):
        logs = {"val_error": error}
        for callback in callbacks:
            callback.on_epoch_end(epoch, logs)
        rates.append(float(model.optimizer.learning_rate))
        if model.stop_training:
            break
    return len(rates) if model.stop_training else None, rates


def test_rate_falls_to_a_tenth_after_three_epochs_without_gain():
    _, rates = run_rule([1.0, 0.5, 0.6, 0.5, 0.7])
    np.testing.assert_allclose(rates, [0.01, 0.01, 0.01, 0.01, 0.001])


def test_a_gain_starts_the_count_again():
    _, rates = run_rule([1.0, 1.1, 1.1, 0.5, 0.6, 0.6])
    np.testing.assert_allclose(rates, [0.01] * 6)


def test_less_than_a_thousandth_is_no_gain():
    assert run_rule([0.5, 0.4997, 0.4997, 0.4996])[1][-1] == pytest.approx(0.001)
    assert run_rule([0.5, 0.4994, 0.4997, 0.4996])[1][-1] == pytest.approx(0.01)


def test_training_stops_when_two_lower_rates_brought_nothing():
    stopped, rates = run_rule([1.0] * 30, minimum_epochs=10)
    assert stopped == 10
    assert rates[5] == pytest.approx(0.001)
    assert rates[8] == pytest.approx(1e-4)


def test_training_does_not_stop_before_the_least_number_of_epochs():
    assert run_rule([1.0] * 30, minimum_epochs=15)[0] == 15
    assert run_rule([1.0] * 30, early_stop=False)[0] is None


def test_a_gain_at_a_lower_rate_keeps_the_training_going():
    assert run_rule([1.0] + [1.0] * 6 + [0.5] + [0.5] * 6, minimum_epochs=10)[0] is None


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
    rows = np.arange(10)
    parts = [batch_rows(rows, index, 4) for index in range(batch_count(rows, 4))]
    assert [len(part) for part, _ in parts] == [4, 4, 4]
    np.testing.assert_array_equal(np.concatenate([part[:count] for part, count in parts]), rows)
    np.testing.assert_array_equal(parts[-1][0], [8, 9, 0, 1])
    np.testing.assert_array_equal(batch_rows(np.arange(3), 0, 8)[0], [0, 1, 2, 0, 1, 2, 0, 1])


def test_input_and_target_are_copies_of_their_own():
    start_keras()
    volumes = np.random.default_rng(0).uniform(size=(8, 4, 4, 4)).astype("f4")
    before = volumes.copy()
    feed = feed_class()(lambda rows: volumes[: len(rows)], np.arange(8), 8, fillers=1.0)
    given, target, _ = feed[0]
    given[:] = 7
    np.testing.assert_array_equal(target[..., 0], before)
    np.testing.assert_array_equal(volumes, before)


def test_fillers_of_the_last_batch_weigh_nothing_where_errors_are_measured():
    start_keras()
    import keras

    rng = np.random.default_rng(0)
    volumes = rng.uniform(size=(5, 4, 4, 4)).astype("f4")
    feed = feed_class()(lambda rows: volumes[rows], np.arange(5), 4, fillers=0.0)
    metric = keras.metrics.MeanMetricWrapper(squared_error, name="error")
    for given, _, weights in feed:
        metric.update_state(given, np.zeros_like(given), sample_weight=weights)
    assert float(metric.result()) == pytest.approx(np.mean(volumes**2), rel=1e-6)


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


def test_a_training_leaves_no_graph_behind():
    start_keras()
    volumes = np.random.default_rng(5).normal(size=(8, 8, 8, 8)).astype(np.float32)
    small = NetworkOptions(wide_filters=2, narrow_filters=2)

    def graphs_after_training():
        options = TrainOptions(epochs=1)
        train_autoencoder(lambda rows: volumes[rows], 8, 8, network=small, options=options, seed=1)
        gc.collect()
        return sum(type(kept).__name__ == "FuncGraph" for kept in gc.get_objects())

    assert graphs_after_training() == graphs_after_training()
