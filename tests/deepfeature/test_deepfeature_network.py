import numpy as np
import pytest

from alphacryo4d.core.errors import InputError
from alphacryo4d.deepfeature.devices import start_tensorflow
from alphacryo4d.deepfeature.layers import transposed_glorot
from alphacryo4d.deepfeature.network import build_network, set_reference
from alphacryo4d.deepfeature.options import NetworkOptions
from alphacryo4d.deepfeature.weights import read_weights, set_weights


@pytest.fixture(scope="module")
def models():
    start_tensorflow()
    return build_network(20, NetworkOptions())


def test_output_has_the_box_and_the_encoding_a_quarter_of_it(models):
    autoencoder, encoder = models
    assert autoencoder.output_shape == (None, 20, 20, 20, 1)
    assert encoder.output_shape == (None, 5, 5, 5, 1)


TABLE_1 = """
conv1 Conv3D 5 2 20
conv2_1 Conv3D 3 2 10
conv2_2 Conv3D 3 2 10
conv2_shortcut Conv3D 1 2 10
conv3_1 Conv3D 3 2 10
conv3_2 Conv3D 3 2 10
conv4_1 Conv3D 3 1 5
conv4_2 Conv3D 3 1 5
conv4_shortcut Conv3D 1 1 5
conv5_1 Conv3D 3 1 5
conv5_2 Conv3D 3 1 5
conv6_1 Conv3D 3 1 5
conv6_2 Conv3D 3 1 5
transconv7_1 Conv3DTranspose 3 1 10
transconv7_2 Conv3DTranspose 3 1 10
transconv7_shortcut Conv3DTranspose 1 1 10
transconv8_1 Conv3DTranspose 3 1 10
transconv8_2 Conv3DTranspose 3 1 10
transconv9_1 Conv3DTranspose 3 2 20
transconv9_2 Conv3DTranspose 3 2 20
transconv9_shortcut Conv3DTranspose 1 2 20
transconv10_1 Conv3DTranspose 3 2 20
transconv10_2 Conv3DTranspose 3 2 20
transconv11 Conv3DTranspose 5 1 20
"""
"""Layer, kind, edge of the kernel, filters, edge of the output for a box of 20 voxels."""


def test_layers_are_those_of_table_1(models):
    rows = [
        (layer.name, type(layer).__name__, layer.kernel_size[0], layer.filters, layer.output.shape)
        for layer in models[0].layers
        if hasattr(layer, "kernel_size")
    ]
    made = {" ".join(map(str, (*row[:4], row[4][1]))) for row in rows}
    assert made == set(TABLE_1.split("\n")) - {""}


def test_every_convolution_of_a_block_is_normalised_and_rectified(models):
    names = {layer.name for layer in models[0].layers}
    steps = [line.split()[0] for line in TABLE_1.split("\n") if line]
    assert {f"{name}_bn" for name in steps if name != "transconv11"} <= names
    assert {f"{n}_relu" for n in steps if n[-1] != "t" and n != "transconv11"} <= names
    assert {f"conv{n}_add" for n in range(2, 7)} <= names
    assert {f"transconv{n}_add" for n in range(7, 11)} <= names


def test_the_summary_shows_the_layers_of_keras(models, capsys):
    models[0].summary()
    text = capsys.readouterr().out
    for kind in ("Conv3D", "Conv3DTranspose", "BatchNormalization", "Add", "ReLU"):
        assert f"({kind[:8]}" in text


def test_a_centred_network_without_its_last_kernel_predicts_the_mean(models):
    autoencoder, _ = models
    mean = np.random.default_rng(0).uniform(0.1, 0.9, (20, 20, 20)).astype("f4")
    set_reference(autoencoder, mean, 0.05)
    weights = read_weights(autoencoder)
    weights["transconv11.kernel"] = np.zeros_like(weights["transconv11.kernel"])
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
    name = "conv5_1.kernel"
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


@pytest.mark.parametrize("stride", [1, 2])
def test_a_transposed_kernel_begins_as_that_of_a_convolution(stride):
    start_tensorflow()
    import keras

    grid = np.random.default_rng(0).normal(size=(1, 6, 6, 6, 1)).astype("f4")
    keras.utils.set_random_seed(3)
    kernel = np.asarray(transposed_glorot(stride)((3, 3, 3, 2, 1)))
    keras.utils.set_random_seed(3)
    drawn = np.asarray(keras.initializers.GlorotUniform()((3, 3, 3, 1, 2)))
    if stride == 2:
        np.testing.assert_array_equal(kernel, np.swapaxes(drawn, 3, 4))
        return
    made = keras.ops.conv_transpose(grid, kernel, padding="same")
    wanted = keras.ops.conv(grid, drawn, padding="same")
    np.testing.assert_allclose(np.asarray(made), np.asarray(wanted), atol=1e-5)
