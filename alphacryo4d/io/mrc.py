"""Volumes and image stacks in MRC format, strict about truncation and values that are not finite.

The header is read and written here (MRC2014), since real stacks lack the MAP identifier or the
voxel size, and since readers of headers do not notice truncation.
"""

from __future__ import annotations

import dataclasses
import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from alphacryo4d.core.errors import InputError
from alphacryo4d.core.files import atomic_path

Array = np.ndarray[Any, Any]

HEADER_BYTES = 1024
_MODES = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2"}
_NAMES = {3: "complex integers", 4: "Fourier transforms", 101: "4-bit pixels"}
_FIELDS: list[tuple[str, str, int]] = [
    ("size", "i4", 3),
    ("mode", "i4", 1),
    ("start", "i4", 3),
    ("sampling", "i4", 3),
    ("cell", "f4", 3),
    ("angles", "f4", 3),
    ("axes", "i4", 3),
    ("low", "f4", 1),
    ("high", "f4", 1),
    ("mean", "f4", 1),
    ("space_group", "i4", 1),
    ("extended", "i4", 1),
    ("extra1", "V8", 1),
    ("extended_type", "S4", 1),
    ("version", "i4", 1),
    ("extra2", "V84", 1),
    ("origin", "f4", 3),
    ("map", "S4", 1),
    ("stamp", "u1", 4),
    ("deviation", "f4", 1),
    ("labels", "i4", 1),
    ("label", "S80", 10),
]


@dataclasses.dataclass(frozen=True)
class MrcHeader:
    """What the header of an MRC file says.

    Attributes
    ----------
    path : Path
        File.
    shape : (int, int, int)
        Sections (images of a stack), rows, columns: nz, ny, nx.
    dtype : str
        Type of a pixel with byte order, such as ``<f4``.
    offset : int
        Where the pixels begin in the file.
    voxel_size : float
        Along x in Angstrom; 0 where the header does not say.
    axes : (int, int, int)
        mapc, mapr, maps.
    has_map : bool
        Whether the MAP identifier is there.
    available : int
        Whole sections that the file really holds.
    """

    path: Path
    shape: tuple[int, int, int]
    dtype: str
    offset: int
    voxel_size: float
    voxel_sizes: tuple[float, float, float]
    axes: tuple[int, int, int]
    has_map: bool
    available: int

    @property
    def voxel_size_is_known(self) -> bool:
        """False for 0 and 1, which programs write when they do not know."""
        return self.voxel_size > 0 and abs(self.voxel_size - 1) > 1e-6

    def require_complete(self) -> None:
        """Raise ``InputError`` where the file is shorter than its header says."""
        if self.available < self.shape[0]:
            raise InputError(
                f"{self.path}: truncated: the header promises {self.shape[0]} sections of "
                f"{self.shape[2]} x {self.shape[1]}, the file holds {self.available}; "
                "copy the file again from its source"
            )


def read_header(path: Path) -> MrcHeader:
    """Read the header of a volume or stack and compare it with the size of the file.

    Raises
    ------
    InputError
        The file is missing, no MRC file, or of a kind that holds no real pixels.
    """
    path = Path(path)
    try:
        if not path.is_file():
            raise InputError(f"{path}: no such file")
        size = path.stat().st_size
        with path.open("rb") as stream:
            raw = stream.read(HEADER_BYTES)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from error
    if len(raw) < HEADER_BYTES:
        raise InputError(
            f"{path}: {len(raw)} bytes are too few for an MRC header; "
            "the file is truncated or not an MRC file"
        )
    order, header = _byte_order(path, raw)
    mode = int(header["mode"])
    if mode not in _MODES:
        kind = _NAMES.get(mode, "an unknown kind of pixel")
        raise InputError(f"{path}: holds {kind} (mode {mode}); convert it to real 32-bit pixels")
    nx, ny, nz = (int(n) for n in header["size"])
    offset = HEADER_BYTES + int(header["extended"])
    section = nx * ny * np.dtype(_MODES[mode]).itemsize
    sampling = np.where(header["sampling"] > 0, header["sampling"], header["size"])
    sizes = np.asarray(header["cell"], np.float64) / sampling
    sizes = np.where(np.isfinite(sizes) & (sizes > 0), sizes, 0.0)
    return MrcHeader(
        path=path,
        shape=(nz, ny, nx),
        dtype=order + _MODES[mode],
        offset=offset,
        voxel_size=float(sizes[0]),
        voxel_sizes=(float(sizes[0]), float(sizes[1]), float(sizes[2])),
        axes=(int(header["axes"][0]), int(header["axes"][1]), int(header["axes"][2])),
        has_map=bytes(header["map"])[:3] == b"MAP",
        available=max(0, min(nz, (size - offset) // section)),
    )


def _byte_order(path: Path, raw: bytes) -> tuple[str, Any]:
    """Byte order under which the header makes sense."""
    for order in "<>":
        header = np.frombuffer(raw, _header_type(order))[0]
        size, mode = header["size"].astype(np.int64), int(header["mode"])
        known = mode in _MODES or mode in _NAMES
        if known and (size > 0).all() and (size < 1 << 24).all() and header["extended"] >= 0:
            return order, header
    raise InputError(f"{path}: not an MRC file (its header makes no sense); check the name")


def _header_type(order: str) -> np.dtype[Any]:
    fields = [
        (name, order + kind, count) if count > 1 else (name, order + kind)
        for name, kind, count in _FIELDS
    ]
    return np.dtype(fields)


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
    try:
        return np.memmap(
            header.path, dtype=header.dtype, mode="r", offset=header.offset, shape=header.shape
        )
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be mapped into memory ({error})") from error


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
    if header.axes not in ((1, 2, 3), (0, 0, 0)):
        raise InputError(f"{path}: axes are stored as {header.axes}; write it again as x, y, z")
    low, high = min(header.voxel_sizes), max(header.voxel_sizes)
    if low > 0 and high - low > 1e-3 * high:
        raise InputError(
            f"{path}: voxel sizes {header.voxel_sizes} differ between the axes; "
            "resample it to cubic voxels"
        )
    pixels = np.fromfile(path, header.dtype, nz * ny * nx, offset=header.offset)
    volume = pixels.reshape(header.shape).astype(np.float32)
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
    numbers = (volume.min(), volume.max(), volume.mean(dtype=np.float64), _deviation(volume))
    header = _new_header(volume.shape, voxel_size, numbers, is_stack=False)
    with atomic_path(Path(path)) as temporary, temporary.open("wb") as stream:
        stream.write(header)
        stream.write(volume.data.cast("B"))
    return Path(path)


def _deviation(volume: Array) -> float:
    return float(volume.std(dtype=np.float64))


def _new_header(
    shape: tuple[int, ...], voxel_size: float, statistics: tuple[Any, ...], *, is_stack: bool
) -> bytes:
    nz, ny, nx = shape
    header = np.zeros((), _header_type("<"))
    header["size"] = header["sampling"] = (nx, ny, nz)
    if is_stack:
        header["sampling"] = (nx, ny, 1)
    header["mode"] = 2
    header["cell"] = header["sampling"] * np.float64(voxel_size)
    header["angles"] = 90
    header["axes"] = (1, 2, 3)
    header["low"], header["high"], header["mean"], header["deviation"] = statistics
    header["space_group"] = 0 if is_stack else 1
    header["version"] = 20140
    header["map"], header["stamp"] = b"MAP ", (0x44, 0x44, 0, 0)
    header["labels"] = 1
    label = header["label"]
    label[0] = b"AlphaCryo4D"
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
        self.stream.write(_new_header(shape, self.pixel_size, statistics, is_stack=True))


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
