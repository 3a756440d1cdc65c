"""Names of the files that stages exchange, and how files are written: whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from alphacryo4d.core.errors import InputError, ResourceError
from alphacryo4d.core.reading import require_whole_array

# Files of a project folder (the contract); every stage takes the names from here.
RESAMPLE, DEEPFEATURE, LANDSCAPE, VOTE = "resample", "deepfeature", "landscape", "vote"
CONSENSUS, RECLASSIFY, PARTICLE_LANDSCAPE = "consensus", "reclassify", "particle_landscape"
PARTICLE_VOLUMES, VOTE_DENSITY = "particle_volumes", "vote-density"
STABILITY, VOTE_NULL = "landscape-stability", "vote-null"
VOLUMES_STAR, VOLUMES_NPY = "volumes.star", "volumes.npy"
GROUPS_NPY, ASSIGNMENTS_NPY, HELDOUT_NPY = "groups.npy", "assignments.npy", "heldout.npy"
IMAGES_NPY = "images.npy"
OUTLIERS_NPY = "outliers.npy"
SIGNAL_NPY = "signal.npy"
FEATURES_NPY, HISTORY_CSV, LOSS_PNG = "features.npy", "history.csv", "loss.png"
RECONSTRUCTIONS_NPY = "reconstructions.npy"
WEIGHTS_NPZ, NETWORK_TOML = "weights.npz", "network.toml"
EMBEDDING_NPY, ENERGY_NPY, ENERGY_ERROR_NPY = "embedding.npy", "energy.npy", "energy_error.npy"
BASINS_NPZ = "basins.npz"
COORDINATES_NPY, COVARIANCES_NPY = "coordinates.npy", "covariances.npy"
PATH_NPY, CENTERS_NPY, STATES_STAR = "path.npy", "centers.npy", "states.star"
VOLUME_STATES_NPY = "volume_states.npy"
PARTICLES_STAR, PARTICLES_CS, VOTES_NPY = "particles.star", "particles.cs", "votes.npy"
JOB_JSON = "job.json"
NO_RESULT = "no_result"
"""Entry of the results in a record: why finished work has none."""
TRIED = "tried_without_result"
"""The same in the record of a try beside a result, which stays."""
CONSENSUS_JSON, RECONSTRUCTION_JSON = "consensus.json", "reconstruction.json"

TEMPORARY = ".ac4d-"
"""How the names of files begin that are being written."""

LEFT_OUT, DROPPED = -1, -2
"""Codes of ``assignments.npy``: the particle was left out; its class was dropped."""


def fold_name(left_out: int, folds: int) -> str:
    """Digits of the groups that a fold holds: ``123`` for fold 4 of 4 (group 4 left out).

    Parameters
    ----------
    left_out : int
        Group that the fold leaves out, from 1.
    folds : int
        Number of groups, M + 1. With ten or more the digits are joined by ``-``.
    """
    kept = [str(group) for group in range(1, folds + 1) if group != left_out]
    return ("" if folds < 10 else "-").join(kept)


def batch_folder(resample: Path, batch: int) -> Path:
    """Folder of one batch, ``resample/batch1``."""
    return resample / f"batch{batch}"


def batch_table(resample: Path, batch: int) -> Path:
    """Particle table of one batch, ``resample/batch1/batch1.star``."""
    return batch_folder(resample, batch) / f"batch{batch}.star"


def fold_table(resample: Path, batch: int, left_out: int, folds: int) -> Path:
    """Particle table of one fold, ``resample/batch1/union123.star``."""
    return batch_folder(resample, batch) / f"union{fold_name(left_out, folds)}.star"


def fold_folder(resample: Path, batch: int, left_out: int, folds: int) -> Path:
    """Folder of the classification of one fold, ``resample/batch1/u123``."""
    return batch_folder(resample, batch) / f"u{fold_name(left_out, folds)}"


def volume_name(batch: int, left_out: int, folds: int, class_number: int) -> str:
    """Name of a volume, ``u123_b1_c001``."""
    return f"u{fold_name(left_out, folds)}_b{batch}_c{class_number:03d}"


def class_volume(folder: Path, iteration: int, class_number: int, half: int = 0) -> Path:
    """Volume of a class as RELION names it; ``half`` 1 or 2 names its half maps."""
    suffix = f"_half{half}_unfil" if half else ""
    return folder / f"run_it{iteration:03d}_class{class_number:03d}{suffix}.mrc"


def data_table(folder: Path, iteration: int) -> Path:
    """Assignments of a classification as RELION names them, ``run_it025_data.star``."""
    return folder / f"run_it{iteration:03d}_data.star"


_UNKNOWN = {errno.EINVAL, errno.EBADF, errno.EOPNOTSUPP, errno.ENOSYS, errno.EISDIR}
"""What file systems that cannot sync folders, as some network file systems, say of it."""


def _sync_folder(folder: Path) -> None:
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        if error.errno in {*_UNKNOWN, errno.EACCES}:  # it may be written in and not be read
            return
        raise
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _UNKNOWN:
            raise
    finally:
        os.close(descriptor)


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Temporary name beside ``path``; renamed to it after a clean end, removed after a fault.

    Raises
    ------
    ResourceError
        The disk is full or the folder cannot be written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            prefix=f"{TEMPORARY}{path.stem[:40]}.", suffix=path.suffix, dir=path.parent
        )
    except OSError as error:
        raise ResourceError(f"{path}: cannot be written: {error.strerror}") from error
    temporary = Path(name)
    with suppress(OSError):  # a file system without locks
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # it is in use: remove_stale
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        umask = os.umask(0)
        os.umask(umask)
        with suppress(PermissionError):  # a file system without modes
            temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        if error.filename not in (None, name, str(path)):  # of another file, read meanwhile
            raise
        raise ResourceError(
            f"{path}: writing failed ({error.strerror or error}); nothing was changed"
        ) from error
    finally:
        os.close(handle)
        with suppress(FileNotFoundError):
            temporary.unlink()


def remove_stale(path: Path) -> None:
    """Remove what a run that was killed was writing for a file; not what another run writes now."""
    for left in path.parent.glob(f"{TEMPORARY}{path.stem[:40]}.*{path.suffix}"):
        with suppress(OSError), left.open("ab") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            left.unlink()


def require_file(path: Path) -> None:
    """Raise ``InputError`` where a file is needed and there is none, or a folder."""
    if path.is_dir():
        raise InputError(f"{path}: is a folder; give a file")
    if not path.is_file():
        raise InputError(f"{path}: no such file")


def make_folder(folder: Path) -> Path:
    """Make an output folder and the folders above it.

    Raises
    ------
    InputError
        It is a file, lies below one, or cannot be made there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        in_the_way = next((p for p in (folder, *folder.parents) if p.is_file()), None)
        why = f"{in_the_way} is a file" if in_the_way else error.strerror
        raise InputError(
            f"{folder}: no folder can be made there ({why}); take another --o"
        ) from error
    return folder


def write_text(path: Path, text: str) -> Path:
    """Write a text file whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def save_array(path: Path, array: np.ndarray[Any, Any]) -> Path:
    """Write an array as ``.npy`` whole or not at all."""
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.save(stream, array, allow_pickle=False)
    return path


def new_map(path: Path, shape: tuple[int, ...], dtype: Any) -> np.memmap[Any, Any]:
    """New memory-mapped ``.npy`` whose room on disk is taken at once.

    Without it a disk that is full ends the program by a signal at the first touch of a page.

    Raises
    ------
    OSError
        The disk is full; the file is removed.
    """
    array = np.lib.format.open_memmap(path, mode="w+", shape=shape, dtype=dtype)
    try:
        with path.open("r+b") as stream:
            os.posix_fallocate(stream.fileno(), 0, path.stat().st_size)
    except AttributeError:  # macOS
        pass
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
            path.unlink(missing_ok=True)
            raise OSError(error.errno, os.strerror(error.errno or 0), str(path)) from error
    return array


@contextmanager
def create_array(path: Path, shape: tuple[int, ...], dtype: Any) -> Iterator[np.ndarray[Any, Any]]:
    """Memory-mapped ``.npy`` to fill; it appears under its name after a clean end."""
    with atomic_path(path) as temporary:
        array = new_map(temporary, shape, dtype)
        yield array
        array.flush()
        del array


def load_array(
    path: Path, *, dtype: Any = None, ndim: int | None = None, memory_map: bool = False
) -> np.ndarray[Any, Any]:
    """Read a ``.npy`` file with a check of its kind and dimensions; never unpickles.

    Parameters
    ----------
    path : Path
        File to read.
    dtype : type, optional
        Scalar kind that the array must have, such as ``np.floating`` or ``np.int32``.
    ndim : int, optional
        Number of dimensions that the array must have.
    memory_map : bool
        Map the file instead of reading it.

    Raises
    ------
    InputError
        The file is missing, truncated, holds objects or is not as asked.
    """
    require_file(path)
    try:
        with path.open("rb") as stream:
            if stream.read(2) == b"PK":
                raise InputError(f"{path}: an archive, but a single .npy array is needed")
            stream.seek(0)
            require_whole_array(stream, path.stat().st_size)
        array: np.ndarray[Any, Any] = np.load(
            path, mmap_mode="r" if memory_map else None, allow_pickle=False
        )
    except (ValueError, OSError, EOFError) as error:
        raise InputError(f"{path}: not a readable .npy file ({error})") from error
    if dtype is not None and not np.issubdtype(array.dtype, dtype):
        kind = getattr(dtype, "__name__", str(dtype))
        raise InputError(f"{path}: holds {array.dtype}, but {kind} is needed")
    if ndim is not None and array.ndim != ndim:
        raise InputError(f"{path}: has {array.ndim} dimensions, but {ndim} are needed")
    return array


def file_digest(path: Path) -> str:
    """SHA-256 of a file as hex digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
