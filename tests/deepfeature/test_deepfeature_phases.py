"""Convolutions in phases are the convolutions that Keras defines."""

import numpy as np
import pytest

from alphacryo4d.deepfeature.devices import start_tensorflow


@pytest.fixture(scope="module")
def ops():
    start_tensorflow()
    import keras

    return keras.ops


def phase_layer(size, kind, filters, inputs, kernel):
    from alphacryo4d.deepfeature.layers import layer_classes

    layer = layer_classes()["convolution"](filters, size, kind, 0.0)
    layer.build(inputs.shape)
    layer.kernel.assign(kernel)
    return layer(inputs)


@pytest.mark.parametrize(("size", "channels", "filters"), [(5, 1, 2), (3, 2, 2), (5, 2, 1)])
def test_same(ops, size, channels, filters):
    from alphacryo4d.deepfeature.phases import from_phases, to_phases

    rng = np.random.default_rng(0)
    grid = rng.normal(size=(2, 8, 8, 8, channels)).astype("f4")
    kernel = rng.normal(size=(size,) * 3 + (channels, filters)).astype("f4")
    ours = from_phases(phase_layer(size, "same", filters, to_phases(ops.array(grid)), kernel))
    keras = ops.conv(grid, kernel, padding="same")
    np.testing.assert_allclose(np.asarray(ours), np.asarray(keras), atol=1e-4)


@pytest.mark.parametrize("size", [1, 3])
def test_down(ops, size):
    from alphacryo4d.deepfeature.phases import to_phases

    rng = np.random.default_rng(1)
    grid = rng.normal(size=(2, 12, 12, 12, 2)).astype("f4")
    kernel = rng.normal(size=(size,) * 3 + (2, 1)).astype("f4")
    ours = phase_layer(size, "down", 1, to_phases(ops.array(grid)), kernel)
    keras = ops.conv(grid, kernel, strides=2, padding="same")
    np.testing.assert_allclose(np.asarray(ours), np.asarray(keras), atol=1e-4)


@pytest.mark.parametrize("size", [1, 3])
def test_up(ops, size):
    from alphacryo4d.deepfeature.phases import from_phases

    rng = np.random.default_rng(2)
    grid = rng.normal(size=(2, 6, 6, 6, 1)).astype("f4")
    kernel = rng.normal(size=(size,) * 3 + (1, 2)).astype("f4")
    ours = from_phases(phase_layer(size, "up", 2, ops.array(grid), kernel))
    transposed = np.moveaxis(kernel, -1, -2)
    keras = ops.conv_transpose(grid, transposed, strides=2, padding="same")
    np.testing.assert_allclose(np.asarray(ours), np.asarray(keras), atol=1e-4)


def test_plain(ops):
    rng = np.random.default_rng(3)
    grid = rng.normal(size=(2, 5, 5, 5, 1)).astype("f4")
    kernel = rng.normal(size=(3, 3, 3, 1, 1)).astype("f4")
    ours = phase_layer(3, "plain", 1, ops.array(grid), kernel)
    keras = ops.conv(grid, kernel, padding="same")
    np.testing.assert_allclose(np.asarray(ours), np.asarray(keras), atol=1e-4)


def test_batch_normalisation_pools_the_phases_of_a_channel(ops):
    from alphacryo4d.deepfeature.layers import layer_classes
    from alphacryo4d.deepfeature.phases import from_phases, to_phases

    rng = np.random.default_rng(4)
    grid = rng.normal([3.0, -1.0], [2.0, 0.5], size=(3, 4, 4, 4, 2)).astype("f4")
    layer = layer_classes()["normalization"](8, 0.9)
    ours = np.asarray(from_phases(layer(to_phases(ops.array(grid)), training=True)))
    moments = grid.mean((0, 1, 2, 3)), grid.std((0, 1, 2, 3))
    np.testing.assert_allclose(ours, (grid - moments[0]) / moments[1], atol=1e-3)
    np.testing.assert_allclose(np.asarray(layer.moving_mean), 0.1 * moments[0], rtol=1e-3)
    np.testing.assert_allclose(
        np.asarray(layer.moving_variance), 0.9 + 0.1 * moments[1] ** 2, rtol=1e-3
    )
