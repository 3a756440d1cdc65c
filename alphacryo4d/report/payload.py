"""What travels inside the page: JSON, and arrays as deflated bytes in base64."""

from __future__ import annotations

import base64
import json
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from alphacryo4d.core.arrays import Array

KINDS = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32")
"""Kinds that JavaScript has typed arrays for."""


class Payload:
    """Arrays of a page by name; JSON names them."""

    def __init__(self) -> None:
        self.arrays: dict[str, Array] = {}

    def add(self, name: str, array: Array) -> str:
        """Keep an array under a name; returns the name."""
        assert array.dtype.name in KINDS, array.dtype
        self.arrays[name] = np.ascontiguousarray(array)
        return name

    def elements(self) -> str:
        """One inert ``script`` element an array, which the page decodes when it needs it."""
        return "\n".join(
            f'<script type="text/plain" class="array" data-name="{name}" '
            f'data-kind="{array.dtype.name}" data-shape="{",".join(map(str, array.shape))}">'
            f"{packed(array)}</script>"
            for name, array in self.arrays.items()
        )


def packed(array: Array) -> str:
    """Little-endian bytes of an array, deflated, in base64."""
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    return base64.b64encode(zlib.compress(little.tobytes(), 6)).decode("ascii")


def safe_json(data: Any) -> str:
    """JSON that cannot end the element it stands in; what is not finite becomes null."""
    text = json.dumps(_finite(data), allow_nan=False, separators=(",", ":"))
    for character, escape in (("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026")):
        text = text.replace(character, escape)
    return text.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _finite(value: Any) -> Any:
    """Arrays as lists, keys and paths as text, and None for numbers that are not finite."""
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return _finite(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value
