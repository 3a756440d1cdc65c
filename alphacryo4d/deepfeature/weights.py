"""Weights of the network as plain arrays, those of earlier versions too."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alphacryo4d.core.errors import InputError

Floats = NDArray[np.float32]

REFERENCE = ("centre.", "offset.")
"""How the weights begin that a training does not change."""

_EARLIER = re.compile(r"(?:conv|block)(\d+)(_1|_2|_shortcut|)_(conv|norm)\.(\w+)")
_FIRST_TRANSPOSED = 7
_UPSAMPLING = ("7_1", "7_shortcut", "9_1", "9_shortcut")


def read_weights(model: Any) -> dict[str, Floats]:
    """Weights of a network as plain arrays, by layer and name."""
    return {weight.path.replace("/", "."): np.asarray(weight) for weight in model.weights}


def convert_weights(arrays: Mapping[str, Floats]) -> dict[str, Floats]:
    """Weights that a version before plain Keras layers wrote, as those of this network.

    There the decoder's kernels had their input channels before their output channels, and those of
    stride 1 were kernels of a convolution, the mirror image of the transposed one. Other weights
    are given back as they are.
    """
    if "conv11_conv.kernel" not in arrays:
        return dict(arrays)
    converted = {}
    for name, array in arrays.items():
        parts = _EARLIER.fullmatch(name)
        if parts is None:
            converted[name] = array
            continue
        number, place, kind, weight = parts.groups()
        transposed = int(number) >= _FIRST_TRANSPOSED
        if transposed and kind == "conv":
            if number + place not in _UPSAMPLING:
                array = array[::-1, ::-1, ::-1]
            array = np.ascontiguousarray(np.swapaxes(array, -1, -2))
        layer = f"{'transconv' if transposed else 'conv'}{number}{place}"
        converted[f"{layer}{'_bn' if kind == 'norm' else ''}.{weight}"] = array
    return converted


def set_weights(model: Any, arrays: Mapping[str, Floats], *, source: str = "weights") -> None:
    """Set every weight of a network, and check that each was set.

    Raises
    ------
    InputError
        A weight is missing, unknown, of another shape or not finite.
    """
    arrays = convert_weights(arrays)
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
