"""Where the Fourier samples of images stay: in memory, or on disk."""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.core.errors import ResourceError
from alphacryo4d.core.files import new_map


def _on_disk(shape: tuple[int, ...], folder: Path, dtype: Any = np.float32) -> Array:
    """Array in a file without a name: no other run can touch it, and no end leaves it behind."""
    number, name = tempfile.mkstemp(prefix="alphacryo4d-", suffix=".npy", dir=folder)
    os.close(number)
    try:
        return new_map(Path(name), shape, dtype)
    finally:
        Path(name).unlink(missing_ok=True)


def room_for_samples(
    count: int, samples: int, radius: int, memory: float | None, scratch: Path | None
) -> tuple[Array, Array]:
    """Room for samples and their CTF: in memory, or in scratch files where that is too small.

    Parameters
    ----------
    count, samples, radius : int
        Images; Fourier samples of one, to that shell.
    memory : float, optional
        GB (2^30 bytes) that they may take; any amount by default.
    scratch : Path, optional
        Folder for more; what else is in it is left alone.

    Returns
    -------
    (count, samples, 2), (count, samples) float32 arrays

    Raises
    ------
    ResourceError
        More memory is needed, and there is no scratch folder.
    """
    needed = count * samples * 12 / 2**30
    shapes = (count, samples, 2), (count, samples)
    if memory is None or needed <= memory:
        return np.empty(shapes[0], np.float32), np.empty(shapes[1], np.float32)
    if scratch is None:
        raise ResourceError(
            f"the Fourier samples of {count} images to shell {radius} need {needed:.1f} GB, "
            f"more than {memory:.1f} GB; allow more --memory or a coarser resolution"
        )
    with _made(scratch):
        return _on_disk(shapes[0], scratch), _on_disk(shapes[1], scratch)


def copied(values: Array) -> Array:
    """Copy that lies where the values lie: in memory, or in another scratch file."""
    below: Any = values.base
    last: Any = values
    while isinstance(below, np.ndarray):
        below, last = below.base, below
    if not isinstance(below, mmap.mmap):
        return values.copy()
    folder = Path(last.filename).parent
    with _made(folder):
        copy = _on_disk(values.shape, folder, values.dtype)
    copy[...] = values
    return copy


@contextmanager
def _made(folder: Path) -> Iterator[None]:
    """A folder that is there meanwhile; one that was there before, or is in use, stays."""
    before = folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        if not before:
            with suppress(OSError):
                folder.rmdir()
