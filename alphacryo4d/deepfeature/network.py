"""The 3D deep residual autoencoder (section 4.2, Table 1), built from its options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alphacryo4d.core.errors import InputError
from alphacryo4d.deepfeature.layers import layer_classes
from alphacryo4d.deepfeature.options import NetworkOptions

Floats = NDArray[np.float32]
REDUCTION = 4
"""Box size of a volume over that of its feature map."""


class _Builder:
    """Puts the layers together; every layer has a name that its weights are stored under."""

    def __init__(self, options: NetworkOptions, l2: float) -> None:
        self.options, self.l2 = options, l2
        self.layers = layer_classes()

    def convolve(self, x: Any, filters: int, size: int, kind: str, name: str) -> Any:
        make = self.layers["convolution"]
        return make(filters, size, kind, self.l2, name=f"{name}_conv")(x)

    def normalize(self, x: Any, filters: int, name: str) -> Any:
        make = self.layers["normalization"]
        phases = x.shape[-1] // filters
        return make(phases, self.options.momentum, name=f"{name}_norm")(x)

    def step(self, x: Any, filters: int, kind: str, name: str, size: int = 3) -> Any:
        """C(x) of eq. 3: convolution, batch normalisation, ReLU."""
        import keras

        x = self.normalize(self.convolve(x, filters, size, kind, name), filters, name)
        return keras.layers.ReLU(name=f"{name}_relu")(x)

    def block(self, x: Any, filters: int, name: str, kind: str) -> Any:
        """Residual block C(C(x)) + x (eq. 3), projecting x where shapes differ.

        ``same`` and ``down`` take phases, ``same`` and ``up`` give phases.
        """
        import keras

        inner = self.step(x, filters, kind, f"{name}_1")
        second = {"down": "plain", "up": "same"}.get(kind, kind)
        inner = self.step(inner, filters, second, f"{name}_2")
        if kind in ("down", "up"):
            x = self.convolve(x, filters, 1, kind, f"{name}_shortcut")
            x = self.normalize(x, filters, f"{name}_shortcut")
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
    build = _Builder(options, l2)
    volume = keras.Input((box, box, box, 1), name="volume")
    x = volume
    if options.centred:
        x = build.layers["reference"]("encode", name="centre")(x)
    phases, grid = build.layers["to_phases"], build.layers["from_phases"]
    x = build.step(phases(name="phases_full")(x), wide, "same", "conv1", size=5)
    x = build.block(x, wide, "block2", "down")
    x = build.block(phases(name="phases_half")(x), wide, "block3", "same")
    x = build.block(x, narrow, "block4", "down")
    x = build.block(x, narrow, "block5", "plain")
    x = features = build.block(x, narrow, "block6", "plain")
    x = build.block(x, narrow, "block7", "up")
    x = build.block(x, narrow, "block8", "same")
    x = build.block(grid(name="grid_half")(x), wide, "block9", "up")
    x = build.block(x, wide, "block10", "same")
    x = grid(name="grid_full")(build.convolve(x, 1, 5, "same", "conv11"))
    if options.centred:
        x = build.layers["reference"]("decode", name="offset")(x)
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


def read_weights(model: Any) -> dict[str, Floats]:
    """Weights of a network as plain arrays, by layer and name."""
    return {weight.path.replace("/", "."): np.asarray(weight) for weight in model.weights}


def set_weights(model: Any, arrays: Mapping[str, Floats], *, source: str = "weights") -> None:
    """Set every weight of a network, and check that each was set.

    Raises
    ------
    InputError
        A weight is missing, unknown, of another shape or not finite.
    """
    named = {weight.path.replace("/", "."): weight for weight in model.weights}
    missing, unknown = sorted(named.keys() - arrays.keys()), sorted(arrays.keys() - named.keys())
    if missing or unknown:
        raise InputError(
            f"{source}: weights of another network (missing: {', '.join(missing[:3]) or 'none'}; "
            f"unknown: {', '.join(unknown[:3]) or 'none'}); train again"
        )
    for name, weight in named.items():
        array = arrays[name]
        if tuple(array.shape) != tuple(weight.shape):
            raise InputError(
                f"{source}: {name} has shape {tuple(array.shape)}, the network has "
                f"{tuple(weight.shape)}; train again with these volumes"
            )
        if not np.isfinite(array).all():
            raise InputError(f"{source}: {name} holds values that are not finite; train again")
        weight.assign(array)
    for name, weight in named.items():
        if not np.array_equal(np.asarray(weight), np.asarray(arrays[name], np.float32)):
            raise InputError(f"{source}: {name} could not be set")
