"""Volumes and image stacks in MRC format, strict about truncation and values that are not finite.

``alphacryo4d.io.mrc`` is the face of the format; headers are read in ``mrc_header``. Pixels are
mapped and maps are written by mrcfile, which notices neither truncation nor NaN: the checks stand
here. Stacks are written image by image, since mrcfile must know their number beforehand.
"""

from __future__ import annotations

import math
import mmap
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import mrcfile
import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.core.errors import InputError
from alphacryo4d.core.files import atomic_path
from alphacryo4d.io.mrc_header import HEADER_BYTES, MrcHeader, header_type, read_header

__all__ = [
    "HEADER_BYTES",
    "MrcHeader",
    "StackWriter",
    "open_stack",
    "read_header",
    "read_volume",
    "release_pages",
    "write_stack",
    "write_volume",
]

_LABEL = b"AlphaCryo4D"


def open_stack(path: Path, header: MrcHeader | None = None) -> Array:
    """Memory map of an image stack.

    Parameters
    ----------
    path : Path
        Stack, with or without the MAP identifier.
    header : MrcHeader, optional
        Its header, where it was read already.

    Returns
    -------
    (n, ny, nx) array
        Pixels as stored, read only.

    Raises
    ------
    InputError
        The file is missing, truncated or no MRC file.
    """
    header = header or read_header(path)
    header.require_complete()
    header.require_plain_axes()
    try:
        return _mapped(header)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be mapped into memory ({error})") from error


def _mapped(header: MrcHeader) -> Array:
    """Pixels of a complete file as its header gives them, (nz, ny, nx), memory-mapped."""
    pixels = None
    # a wrong stamp of the byte order makes lengths of the header senseless: ValueError
    with warnings.catch_warnings(), suppress(ValueError, OverflowError):
        # real stacks lack the MAP identifier or the stamp, and some have bytes after their end
        warnings.simplefilter("ignore", RuntimeWarning)
        with mrcfile.mmap(header.path, mode="r", permissive=True) as file:
            pixels = file.data
    if (
        pixels is not None
        and pixels.dtype == np.dtype(header.dtype)
        and pixels.size == math.prod(header.shape)
        and getattr(pixels, "offset", header.offset) == header.offset
    ):
        return np.asanyarray(pixels.reshape(header.shape))
    # a wrong stamp of the byte order: the header says more than the stamp
    return np.memmap(
        header.path, dtype=header.dtype, mode="r", offset=header.offset, shape=header.shape
    )


def release_pages(stack: Array) -> None:
    """Let go of the pages of a memory map that were read; they stay in the system's cache.

    Without this a run over many stacks seems to hold them all in memory.
    """
    mapping = getattr(stack, "_mmap", None)
    if mapping is not None and hasattr(mapping, "madvise"):
        mapping.madvise(mmap.MADV_DONTNEED)


def read_volume(path: Path) -> tuple[Array, float]:
    """Read a cubic volume.

    Parameters
    ----------
    path : Path
        MRC map.

    Returns
    -------
    (n, n, n) float32 array, float
        Density in z, y, x, and the voxel size in Angstrom (0 where the header does not say).

    Raises
    ------
    InputError
        Missing, truncated, not cubic, other axes than x, y, z, or a voxel that is not finite.
    """
    header = read_header(path)
    header.require_complete()
    nz, ny, nx = header.shape
    if not nz == ny == nx:
        raise InputError(
            f"{path}: {nx} x {ny} x {nz} voxels are no cube; crop or pad it to a cubic box"
        )
    header.require_plain_axes()
    low, high = min(header.voxel_sizes), max(header.voxel_sizes)
    if low > 0 and high - low > 1e-3 * high:
        raise InputError(
            f"{path}: voxel sizes {header.voxel_sizes} differ between the axes; "
            "resample it to cubic voxels"
        )
    volume = np.array(_mapped(header), np.float32)
    bad = ~np.isfinite(volume)
    if bad.any():
        z, y, x = np.argwhere(bad)[0]
        raise InputError(
            f"{path}: voxel (z {z}, y {y}, x {x}) and {int(bad.sum()) - 1} more are not finite; "
            "make the map again"
        )
    return volume, header.voxel_size


def write_volume(path: Path, array: Array, voxel_size: float) -> Path:
    """Write a volume, whole or not at all.

    Parameters
    ----------
    path : Path
        MRC map.
    array : (nz, ny, nx) array
        Finite density.
    voxel_size : float
        Angstrom.
    """
    volume = np.ascontiguousarray(array, dtype="<f4")
    if volume.ndim != 3 or not np.isfinite(volume).all():
        raise InputError(f"{path}: a volume must have three axes and finite voxels")
    with atomic_path(Path(path)) as temporary, mrcfile.new(temporary, overwrite=True) as file:
        file.set_data(volume)
        file.set_volume()
        file.voxel_size = voxel_size
        # mrcfile's label holds the time; the same map is the same file
        file.header.label[0], file.header.nlabl = _LABEL, 1
    return Path(path)


def _new_header(shape: tuple[int, ...], voxel_size: float, statistics: tuple[Any, ...]) -> bytes:
    nz, ny, nx = shape
    header = np.zeros((), header_type("<"))
    header["size"], header["sampling"] = (nx, ny, nz), (nx, ny, 1)
    header["mode"] = 2
    header["cell"] = header["sampling"] * np.float64(voxel_size)
    header["angles"] = 90
    header["axes"] = (1, 2, 3)
    header["low"], header["high"], header["mean"], header["deviation"] = statistics
    header["space_group"] = 0
    header["version"] = 20140
    header["map"], header["stamp"] = b"MAP ", (0x44, 0x44, 0, 0)
    header["labels"] = 1
    label = header["label"]
    label[0] = _LABEL
    header["label"] = label
    return header.tobytes()


class StackWriter:
    """Appends images to a stack; made by :func:`write_stack`."""

    def __init__(self, stream: BinaryIO, pixel_size: float) -> None:
        self.stream = stream
        self.pixel_size = pixel_size
        self.count = 0
        self.size: tuple[int, int] | None = None
        self.low, self.high, self.total, self.squares = np.inf, -np.inf, 0.0, 0.0
        stream.write(bytes(HEADER_BYTES))

    def append(self, images: Array) -> None:
        """Add one (ny, nx) image or (n, ny, nx) images; all of one size and finite."""
        images = np.ascontiguousarray(images, dtype="<f4")
        images = images.reshape(-1, *images.shape[-2:])
        if self.size is None:
            self.size = (images.shape[1], images.shape[2])
        if images.shape[1:] != self.size:
            raise ValueError(f"images of {images.shape[1:]} in a stack of {self.size}")
        if not images.size:
            return
        with np.errstate(invalid="ignore", over="ignore"):
            self.total += float(images.sum(dtype=np.float64))
            self.squares += float(np.square(images, dtype=np.float64).sum())
        self.low, self.high = min(self.low, images.min()), max(self.high, images.max())
        if not np.isfinite(self.total):
            raise InputError(f"{self.stream.name}: an image to be written is not finite")
        self.stream.write(images.data.cast("B"))
        self.count += len(images)

    def finish(self) -> None:
        """Write the header."""
        if self.size is None or not self.count:
            raise ValueError("a stack must hold an image")
        pixels = self.count * self.size[0] * self.size[1]
        mean = self.total / pixels
        deviation = np.sqrt(max(0.0, self.squares / pixels - mean**2))
        statistics = (self.low, self.high, mean, deviation)
        self.stream.seek(0)
        shape = (self.count, *self.size)
        self.stream.write(_new_header(shape, self.pixel_size, statistics))


@contextmanager
def write_stack(path: Path, pixel_size: float) -> Iterator[StackWriter]:
    """Write a stack image by image; it appears under its name after a clean end.

    Parameters
    ----------
    path : Path
        ``.mrcs`` file.
    pixel_size : float
        Angstrom.

    Yields
    ------
    StackWriter
        Call ``append(images)``.
    """
    with atomic_path(Path(path)) as temporary, temporary.open("wb") as stream:
        writer = StackWriter(stream, pixel_size)
        yield writer
        writer.finish()
