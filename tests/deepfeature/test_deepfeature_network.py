import numpy as np
import pytest

from alphacryo4d.core.errors import InputError
from alphacryo4d.deepfeature.devices import start_tensorflow
from alphacryo4d.deepfeature.network import (
    build_network,
    read_weights,
    set_reference,
    set_weights,
)
from alphacryo4d.deepfeature.options import NetworkOptions


@pytest.fixture(scope="module")
def models():
    start_tensorflow()
    return build_network(20, NetworkOptions())


def test_output_has_the_box_and_the_encoding_a_quarter_of_it(models):
    autoencoder, encoder = models
    assert autoencoder.output_shape == (None, 20, 20, 20, 1)
    assert encoder.output_shape == (None, 5, 5, 5, 1)


def test_kernels_are_those_of_table_1(models):
    kernels = {
        name.removesuffix("_conv.kernel"): array.shape
        for name, array in read_weights(models[0]).items()
        if name.endswith("kernel")
    }
    assert kernels == {
        "conv1": (5, 5, 5, 1, 2),
        "block2_1": (3, 3, 3, 2, 2),
        "block2_2": (3, 3, 3, 2, 2),
        "block2_shortcut": (1, 1, 1, 2, 2),
        "block3_1": (3, 3, 3, 2, 2),
        "block3_2": (3, 3, 3, 2, 2),
        "block4_1": (3, 3, 3, 2, 1),
        "block4_2": (3, 3, 3, 1, 1),
        "block4_shortcut": (1, 1, 1, 2, 1),
        "block5_1": (3, 3, 3, 1, 1),
        "block5_2": (3, 3, 3, 1, 1),
        "block6_1": (3, 3, 3, 1, 1),
        "block6_2": (3, 3, 3, 1, 1),
        "block7_1": (3, 3, 3, 1, 1),
        "block7_2": (3, 3, 3, 1, 1),
        "block7_shortcut": (1, 1, 1, 1, 1),
        "block8_1": (3, 3, 3, 1, 1),
        "block8_2": (3, 3, 3, 1, 1),
        "block9_1": (3, 3, 3, 1, 2),
        "block9_2": (3, 3, 3, 2, 2),
        "block9_shortcut": (1, 1, 1, 1, 2),
        "block10_1": (3, 3, 3, 2, 2),
        "block10_2": (3, 3, 3, 2, 2),
        "conv11": (5, 5, 5, 2, 1),
    }


def test_a_centred_network_without_its_last_kernel_predicts_the_mean(models):
    autoencoder, _ = models
    mean = np.random.default_rng(0).uniform(0.1, 0.9, (20, 20, 20)).astype("f4")
    set_reference(autoencoder, mean, 0.05)
    weights = read_weights(autoencoder)
    weights["conv11_conv.kernel"] = np.zeros_like(weights["conv11_conv.kernel"])
    set_weights(autoencoder, weights)
    volume = np.random.default_rng(1).uniform(size=(1, 20, 20, 20, 1)).astype("f4")
    np.testing.assert_allclose(
        np.asarray(autoencoder(volume, training=False))[0, ..., 0], mean, atol=1e-5
    )


def test_a_network_that_is_not_centred_has_the_layers_of_the_paper_only():
    start_tensorflow()
    autoencoder, _ = build_network(8, NetworkOptions(centred=False))
    assert not {layer.name for layer in autoencoder.layers} & {"centre", "offset"}


@pytest.mark.parametrize("fault", ["missing", "unknown", "shape", "nan"])
def test_every_weight_must_be_set(models, fault):
    weights = read_weights(models[0])
    name = "block5_1_conv.kernel"
    if fault == "missing":
        del weights[name]
    elif fault == "unknown":
        weights["other"] = np.zeros(1, np.float32)
    elif fault == "shape":
        weights[name] = np.zeros((5, 5, 5, 1, 1), np.float32)
    else:
        weights[name] = np.full_like(weights[name], np.nan)
    with pytest.raises(InputError, match="train again"):
        set_weights(models[0], weights)
