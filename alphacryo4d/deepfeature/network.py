"""The 3D deep residual autoencoder (section 4.2), layer by layer as in Table 1."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from alphacryo4d.deepfeature.devices import replicas_to_pool
from alphacryo4d.deepfeature.layers import reference_layer, transposed_glorot
from alphacryo4d.deepfeature.options import NetworkOptions

Floats = NDArray[np.float32]


class _Layers:
    """Layers of Table 1 with what they share; those named ``transconv`` are transposed."""

    def __init__(self, options: NetworkOptions, l2: float) -> None:
        self.options, self.l2 = options, l2

    def convolve(self, x: Any, filters: int, size: int, name: str, stride: int = 1) -> Any:
        import keras

        transposed = name.startswith("transconv")
        kind = keras.layers.Conv3DTranspose if transposed else keras.layers.Conv3D
        return kind(
            filters,
            size,
            strides=stride,
            padding="same",
            use_bias=False,  # the batch normalisation behind it has one
            kernel_initializer=transposed_glorot(stride) if transposed else "glorot_uniform",
            kernel_regularizer=keras.regularizers.L2(self.l2) if self.l2 else None,
            name=name,
        )(x)

    def normalize(self, x: Any, name: str) -> Any:
        """Batch normalisation by the moments of the whole batch, over all devices."""
        import keras

        return keras.layers.BatchNormalization(
            momentum=self.options.momentum,
            epsilon=1e-5,
            synchronized=replicas_to_pool(),
            name=f"{name}_bn",
        )(x)

    def step(self, x: Any, filters: int, size: int, name: str, stride: int = 1) -> Any:
        """C(x) of eq. 3: convolution, batch normalisation, ReLU."""
        import keras

        x = self.normalize(self.convolve(x, filters, size, name, stride), name)
        return keras.layers.ReLU(name=f"{name}_relu")(x)

    def block(self, x: Any, filters: int, name: str, stride: int = 1) -> Any:
        """Residual block C(C(x)) + x (eq. 3), with a 1x1x1 projection of x where shapes differ."""
        import keras

        inner = self.step(x, filters, 3, f"{name}_1", stride)
        inner = self.step(inner, filters, 3, f"{name}_2")
        if stride > 1:
            shortcut = f"{name}_shortcut"
            x = self.normalize(self.convolve(x, filters, 1, shortcut, stride), shortcut)
        return keras.layers.Add(name=f"{name}_add")([inner, x])


def build_network(box: int, options: NetworkOptions, *, l2: float = 0.0) -> tuple[Any, Any]:
    """Autoencoder and its encoder, with shared weights.

    Parameters
    ----------
    box : int
        Box size of the volumes in voxels, a multiple of 4.
    options : NetworkOptions
        Filters, centring and momentum.
    l2 : float
        Regularisation coefficient lambda of eq. 2.

    Returns
    -------
    autoencoder : keras.Model
        (v, n, n, n, 1) to (v, n, n, n, 1), values in [0, 1].
    encoder : keras.Model
        (v, n, n, n, 1) to the feature maps (v, n/4, n/4, n/4, narrow_filters).
    """
    import keras

    wide, narrow = options.wide_filters, options.narrow_filters
    layers = _Layers(options, l2)
    x = volume = keras.Input((box, box, box, 1), name="volume")
    if options.centred:
        x = reference_layer()("encode", name="centre")(x)
    x = layers.step(x, wide, 5, "conv1")
    x = layers.block(x, wide, "conv2", stride=2)
    x = layers.block(x, wide, "conv3")
    x = layers.block(x, narrow, "conv4", stride=2)
    x = layers.block(x, narrow, "conv5")
    x = features = layers.block(x, narrow, "conv6")
    x = layers.block(x, narrow, "transconv7", stride=2)
    x = layers.block(x, narrow, "transconv8")
    x = layers.block(x, wide, "transconv9", stride=2)
    x = layers.block(x, wide, "transconv10")
    x = layers.convolve(x, 1, 5, "transconv11")
    if options.centred:
        x = reference_layer()("decode", name="offset")(x)
    x = keras.layers.Activation("sigmoid", name="sigmoid")(x)
    return keras.Model(volume, x, name="autoencoder"), keras.Model(volume, features, name="encoder")


def _logit(values: Floats) -> Floats:
    inside = np.clip(values, 0.005, 0.995)
    return np.asarray(np.log(inside / (1 - inside)), np.float32)


def set_reference(autoencoder: Any, mean: Floats, deviation: float) -> None:
    """Give a centred network the mean training volume; without training it then predicts it.

    Parameters
    ----------
    autoencoder : keras.Model
        Network of :func:`build_network`.
    mean : (n, n, n) array
        Mean of the normalised training volumes.
    deviation : float
        Root mean square of their differences from it.
    """
    names = {layer.name for layer in autoencoder.layers}
    if "centre" not in names:
        return
    deviation = max(float(deviation), 1e-6)
    volume = mean[..., None].astype(np.float32)
    slope = max(float(np.mean(volume * (1 - volume))), 0.01)
    for name, reference, scale in (
        ("centre", volume, 1 / deviation),
        ("offset", _logit(volume), deviation / slope),
    ):
        layer = autoencoder.get_layer(name)
        layer.volume.assign(reference)
        layer.scale.assign(scale)
