"""Weights that an earlier version wrote give the features that they gave there."""

from pathlib import Path

import numpy as np
import pytest

from alphacryo4d.core.errors import InputError
from alphacryo4d.deepfeature.checkpoint_stage import load_arrays, load_state, save_arrays
from alphacryo4d.deepfeature.devices import start_keras
from alphacryo4d.deepfeature.features import extract_features, reconstruct_volumes
from alphacryo4d.deepfeature.options import NetworkOptions
from alphacryo4d.deepfeature.weights import convert_weights


@pytest.fixture(scope="module")
def earlier():
    """A network with random weights as version 0.1.0.dev wrote it, and what it computed."""
    start_keras()
    arrays = load_arrays(Path(__file__).with_name("earlier_network.npz"))
    weights = {k: v for k, v in arrays.items() if not k.startswith("expected:")}
    expected = {k.partition(":")[2]: v for k, v in arrays.items() if k.startswith("expected:")}
    return weights, expected


def test_earlier_weights_give_the_same_features(earlier):
    weights, expected = earlier
    volumes = expected["volumes"]
    parts = extract_features(
        lambda rows: volumes[rows], 3, 8, weights, network=NetworkOptions(), batch_size=2
    )
    features = np.concatenate([features for _, features in parts])
    np.testing.assert_allclose(features, expected["features"], atol=1e-5)


def test_earlier_weights_give_the_same_reconstructions(earlier):
    weights, expected = earlier
    made = reconstruct_volumes(expected["volumes"], weights, network=NetworkOptions())
    np.testing.assert_allclose(made, expected["reconstructions"], atol=1e-5)


def test_weights_of_today_are_left_as_they_are(earlier):
    converted = convert_weights(earlier[0])
    again = convert_weights(converted)
    assert "transconv11.kernel" in again
    assert all(again[name] is converted[name] for name in converted)


def test_earlier_weights_of_another_network_are_refused(earlier):
    weights = {k: v for k, v in earlier[0].items() if "block5" not in k}
    with pytest.raises(InputError, match="conv5_1.kernel.*train again"):
        reconstruct_volumes(earlier[1]["volumes"], weights, network=NetworkOptions())


def test_a_checkpoint_of_an_earlier_version_is_left_out(tmp_path, caplog):
    save_arrays(tmp_path / "checkpoint1.npz", {"plateau": np.zeros(5), "history": np.ones((1, 5))})
    assert load_state(tmp_path) is None
    assert "of an earlier version; the training starts again" in caplog.text
