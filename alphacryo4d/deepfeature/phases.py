"""3D convolutions with one or two filters, arranged so that they run fast.

A convolution with a single channel leaves vector units idle. Here a grid of even size is kept as
its 2x2x2 *phases*: (n, n, n, c) becomes (n/2, n/2, n/2, 8 c), and a kernel of the full grid becomes
a 3x3x3 kernel between phases. The result is the same convolution with the same weights (the tests
compare it with Keras), several times quicker on a CPU.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_PHASES = {"same": (2, 2), "down": (2, 1), "up": (1, 2), "plain": (1, 1)}
"""Phases of an axis before and after a convolution of each kind."""


def _taps(kind: str, size: int) -> NDArray[np.float32]:
    """Which tap of a 1D kernel joins input phase p of block b + d to output phase q of block b.

    Returns
    -------
    (3, p, q, size) array
        1 where the tap applies; d = -1, 0, 1. ``same`` keeps the grid (odd size, centred), ``down``
        and ``up`` are strides of 2 with the padding of TensorFlow's ``same``; ``plain`` is ``same``
        on a grid that is not in phases.
    """
    phases_in, phases_out = _PHASES[kind]
    table = np.zeros((3, phases_in, phases_out, size), np.float32)
    for d in (-1, 0, 1):
        for p in range(phases_in):
            for q in range(phases_out):
                tap = {
                    "same": 2 * d + p - q + size // 2,
                    "down": 2 * d + p,
                    "up": q - 2 * d,
                    "plain": d + size // 2,
                }[kind]
                if 0 <= tap < size:
                    table[d + 1, p, q, tap] = 1
    return table


def phase_matrix(kind: str, size: int) -> tuple[NDArray[np.float32], tuple[int, int]]:
    """Matrix that turns a cubic kernel into the kernel between phases.

    Parameters
    ----------
    kind : str
        ``same``, ``plain``, ``down`` (stride 2) or ``up`` (transposed, stride 2).
    size : int
        Edge of the kernel in voxels.

    Returns
    -------
    matrix : (27 * P * Q, size^3) array
        Zeros and ones, for P phases of the input and Q of the output.
    phases : (int, int)
        P and Q, each 1 or 8.
    """
    axis = _taps(kind, size)
    blocks, phases_in, phases_out, _ = axis.shape
    matrix = np.einsum("apqi,brsj,ctuk->abcprtqsuijk", axis, axis, axis, optimize=True)
    phases = (phases_in**3, phases_out**3)
    return matrix.reshape(blocks**3 * phases[0] * phases[1], size**3), phases


def to_phases(volumes: Any) -> Any:
    """Grid (v, n, n, n, c) as its phases (v, n/2, n/2, n/2, 8 c)."""
    from keras import ops

    n, channels = volumes.shape[1], volumes.shape[-1]
    half = n // 2
    split = ops.reshape(volumes, (-1, half, 2, half, 2, half, 2, channels))
    return ops.reshape(
        ops.transpose(split, (0, 1, 3, 5, 2, 4, 6, 7)), (-1, half, half, half, 8 * channels)
    )


def from_phases(phases: Any) -> Any:
    """Phases (v, n/2, n/2, n/2, 8 c) as the grid (v, n, n, n, c)."""
    from keras import ops

    half, channels = phases.shape[1], phases.shape[-1] // 8
    split = ops.reshape(phases, (-1, half, half, half, 2, 2, 2, channels))
    n = 2 * half
    return ops.reshape(ops.transpose(split, (0, 1, 4, 2, 5, 3, 6, 7)), (-1, n, n, n, channels))
