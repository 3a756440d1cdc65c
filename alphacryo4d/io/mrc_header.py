"""Headers of MRC files, strict about truncation; other formats are told by their first bytes.

The header is read here (MRC2014), since real stacks lack the MAP identifier or the voxel size, and
since readers of headers do not notice truncation.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from alphacryo4d.core.errors import InputError
from alphacryo4d.core.files import require_file
from alphacryo4d.io.foreign import foreign_format

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
    available: int

    @property
    def voxel_size_is_known(self) -> bool:
        """False for 0 and 1, which programs write when they do not know."""
        return self.voxel_size > 0 and abs(self.voxel_size - 1) > 1e-6

    @property
    def axes_are_plain(self) -> bool:
        """Whether columns, rows and sections lie along x, y and z (or the header does not say)."""
        return self.axes in ((1, 2, 3), (0, 0, 0))

    def require_plain_axes(self) -> None:
        """Raise ``InputError`` where columns, rows and sections are other axes than x, y, z.

        RELION takes no notice of them and other programs turn the pixels: poses may belong to
        either, so that neither can be taken silently.
        """
        if not self.axes_are_plain:
            raise InputError(
                f"{self.path}: axes are stored as {self.axes}; write it again as x, y, z"
            )

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
        require_file(path)
        size = path.stat().st_size
        with path.open("rb") as stream:
            raw = stream.read(HEADER_BYTES)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from error
    if len(raw) < HEADER_BYTES:
        _refuse_foreign(path, raw)
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
        available=max(0, min(nz, (size - offset) // section)),
    )


def _byte_order(path: Path, raw: bytes) -> tuple[str, Any]:
    """Byte order under which the header makes sense."""
    for order in "<>":
        header = np.frombuffer(raw, header_type(order))[0]
        size, mode = header["size"].astype(np.int64), int(header["mode"])
        known = mode in _MODES or mode in _NAMES
        if known and (size > 0).all() and (size < 1 << 24).all() and header["extended"] >= 0:
            return order, header
    _refuse_foreign(path, raw)
    raise InputError(f"{path}: not an MRC file (its header makes no sense); check the name")


def _refuse_foreign(path: Path, raw: bytes) -> None:
    foreign = foreign_format(raw, path)
    if foreign is not None:
        raise InputError(f"{path}: not an MRC file but {foreign[0]}; {foreign[1]}")


def header_type(order: str) -> np.dtype[Any]:
    """Fields of the 1024 bytes of a header in one byte order, ``<`` or ``>``."""
    fields = [
        (name, order + kind, count) if count > 1 else (name, order + kind)
        for name, kind, count in _FIELDS
    ]
    return np.dtype(fields)
