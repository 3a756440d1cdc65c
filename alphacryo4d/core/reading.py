"""Files that this program wrote, read with distrust: bounded memory, nothing executed."""

from __future__ import annotations

import json
import math
import warnings
import zipfile
from pathlib import Path
from tokenize import TokenError
from typing import Any, BinaryIO

import numpy as np

from alphacryo4d.core.errors import InputError

_AGAIN = "remove it and give the command again that wrote it"

UNREADABLE = (ArithmeticError, EOFError, MemoryError, RuntimeError, SyntaxError, TokenError,
              TypeError, ValueError)  # fmt: skip
"""What NumPy says of a damaged header of ``.npy``, which Python's parser reads."""


def require_whole_array(stream: BinaryIO, size: int) -> None:
    """Refuse a ``.npy`` whose header names more values than the file holds, before any is read.

    Parameters
    ----------
    stream : file
        At the start of the array; it is put back there.
    size : int
        Bytes from there to its end.

    Raises
    ------
    ValueError
        It is cut short, holds objects, or is no array.
    """
    start = stream.tell()
    try:
        with warnings.catch_warnings():  # of words in a header that is no header
            warnings.simplefilter("ignore", (SyntaxWarning, UserWarning))
            shape, dtype = _header(stream)
    except UNREADABLE as error:
        said = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise ValueError(f"its header is damaged: {said}") from error
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which can run code")
    plain = all(type(length) is int and 0 <= length < 1 << 40 for length in shape)
    if not plain or dtype.itemsize == 0:
        raise ValueError(f"its header is damaged: shape {shape} of {dtype}"[:200])
    needed = stream.tell() - start + math.prod(shape) * dtype.itemsize
    if needed > size:
        raise ValueError(f"cut short: {size:,} bytes of {needed:,}")
    stream.seek(start)


def _header(stream: BinaryIO) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    else:
        shape, _, dtype = np.lib.format.read_array_header_2_0(stream)
    return shape, dtype


def load_archive(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """Arrays of an ``.npz``; never unpickles, and takes no more memory than the file is long.

    Raises
    ------
    InputError
        The file is missing, damaged, packed, or holds objects.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            if sum(entry.file_size for entry in entries) > path.stat().st_size:
                raise ValueError("it says that it holds more than it has bytes")
            for entry in entries:
                with archive.open(entry) as stream:
                    require_whole_array(stream, entry.file_size)  # type: ignore[arg-type]
                with archive.open(entry) as stream:
                    name = entry.filename.removesuffix(".npy")
                    arrays[name] = np.lib.format.read_array(stream, allow_pickle=False)
    # zipfile says RuntimeError, or a kind of it, of packings and locks that it cannot open
    except (ValueError, EOFError, zipfile.BadZipFile, RuntimeError) as error:
        raise InputError(f"{path}: not a readable .npz file ({error}); {_AGAIN}") from error
    return arrays


def read_text(path: Path, way_out: str = "write it as UTF-8") -> str:
    """Text of a file.

    Raises
    ------
    InputError
        It is missing, or no text in UTF-8.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not text in UTF-8 ({error}); {way_out}") from error


def read_numbers(path: Path, **layout: Any) -> np.ndarray[Any, Any]:
    """Numbers of a text file, by :func:`numpy.loadtxt`.

    Raises
    ------
    InputError
        It is missing, or does not hold numbers of that layout.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # an empty file: its shape tells
            warnings.simplefilter("error", DeprecationWarning)  # older numpy rounds to integers
            return np.loadtxt(path, **layout)
    except (ValueError, OverflowError, DeprecationWarning) as error:
        said = str(error).splitlines()[0][:200]
        raise InputError(f"{path}: not a table of numbers ({said})") from error


def read_object(path: Path, way_out: str = _AGAIN) -> dict[str, Any]:
    """A JSON object from a file.

    Parameters
    ----------
    path : Path
    way_out : str
        What to do where it is damaged.

    Raises
    ------
    InputError
        It is missing, no JSON, or no object.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not valid JSON ({error}); {way_out}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: not a JSON object; {way_out}")
    return content
