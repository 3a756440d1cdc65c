"""Class volumes of the prototype: links, alignment, arrays, counts."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import numpy as np

from alphacryo4d.core import files
from alphacryo4d.core.errors import InputError
from alphacryo4d.core.reading import read_text
from alphacryo4d.core.words import plural
from alphacryo4d.io.mrc import read_volume, write_volume
from alphacryo4d.io.star import read_tables
from alphacryo4d.particles.open import open_table
from alphacryo4d.prototype.tables import natural_key, write_parts

logger = logging.getLogger(__name__)

_NAME = re.compile(r"u([\d-]+)_b(\d+)_c(\d+)")
_CLASS_FILE = re.compile(r"run_it(\d+)_class(\d+)\.mrc")


def volume_stem(name: str) -> str:
    """``u123_b1_c1`` of a file name such as ``u123_b1_c1_aligned.mrc``."""
    match = _NAME.search(name)
    if match is None:
        raise InputError(f"{name}: not named like u123_b1_c1.mrc; run link.sh, or rename it")
    return f"u{match[1]}_b{match[2]}_c{int(match[3])}"


def volume_key(name: str) -> list[Any]:
    """Sort key that gives the order of ``volumes.star``: batch, group left out, class.

    Names of another kind come after these, with numbers in them taken as numbers.
    """
    match = _NAME.search(name)
    if match is None:
        return [1, natural_key(name)]
    kept = {int(group) for group in (match[1].split("-") if "-" in match[1] else match[1])}
    left_out = sorted(set(range(1, max(kept) + 2)) - kept)
    return [0, int(match[2]), left_out[0], int(match[3]), natural_key(name)]


def read_log(path: Path) -> list[str]:
    """Volumes of ``data.log`` in their order.

    Raises
    ------
    InputError
        The file is missing or a line is not "index name" with indices 1, 2, ...
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; run bigdata.py first")
    names = []
    for number, line in enumerate(read_text(path).splitlines(), 1):
        words = line.split()
        if len(words) != 2 or words[0] != str(number):
            raise InputError(f'{path}: line {number} is not "{number} NAME"; run bigdata.py again')
        names.append(words[1])
    return names


def link_classes(source: Path, output: Path) -> list[Path]:
    """Link class volumes into ``maps/`` and split their tables into ``stars/`` (``link.sh``).

    Parameters
    ----------
    source : Path
        Folder with ``batch1/u123/`` or ``batch1/union123/`` and so on. Where it holds
        ``volumes.star``, only the classes that it lists are taken.
    output : Path
        Folder for ``maps/u123_b1_c1.mrc`` and ``stars/u123_b1_c1.star``.
    """
    maps, stars = output / "maps", output / "stars"
    kept = _listed(source / files.VOLUMES_STAR)
    folders = [path for path in source.glob("batch*/u*") if path.is_dir()]
    if not folders:
        raise InputError(f"{source}: no batch1/u123 folders of classifications in it")
    for folder in (maps, stars):
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.glob("u*_b*_c*.*"):
            path.unlink()
    made: list[Path] = []
    for folder in sorted(folders, key=lambda path: natural_key(str(path))):
        fold = re.fullmatch(r"u(?:nion)?([\d-]+)", folder.name)
        batch = re.fullmatch(r"batch(\d+)", folder.parent.name)
        if fold and batch:
            made += _link_fold(folder, f"u{fold[1]}_b{batch[1]}", maps, stars, kept)
    logger.info("%s", plural(len(made), "class", "classes"))
    return made


def _listed(path: Path) -> set[str] | None:
    if not path.is_file():
        return None
    return {volume_stem(str(name)) for name in read_tables(path)["volumes"]["ac4dVolumeName"]}


def _link_fold(
    folder: Path, name: str, maps: Path, stars: Path, kept: set[str] | None
) -> list[Path]:
    volumes = {
        (int(match[1]), int(match[2])): path
        for path in folder.iterdir()
        if (match := _CLASS_FILE.fullmatch(path.name))
    }
    if not volumes:
        raise InputError(f"{folder}: no run_it..._class....mrc in it; classify this fold first")
    last = max(iteration for iteration, _ in volumes)
    table = open_table(files.data_table(folder, last))
    numbers = table.read(["rlnClassNumber"])["rlnClassNumber"]
    parts: dict[Path, Any] = {}
    made = []
    for (iteration, number), path in sorted(volumes.items()):
        rows = np.flatnonzero(numbers == number)
        stem = f"{name}_c{number}"
        if iteration != last or not len(rows) or (kept is not None and stem not in kept):
            continue
        parts[stars / f"{stem}.star"] = rows
        link = maps / f"{stem}.mrc"
        link.symlink_to(path.resolve())
        made.append(link)
    write_parts(table, parts)
    return made


def align_maps(source: Path, output: Path, reference: Path) -> list[Path]:
    """Align volumes to a reference: ``maps_aligned/NAME_aligned.mrc`` (``fit.sh``).

    Parameters
    ----------
    source, output : Path
        Folder of ``.mrc`` files; folder for the aligned ones.
    reference : Path
        Volume that gives the frame.
    """
    from alphacryo4d.resample.alignment import Aligner, AlignOptions
    from alphacryo4d.resample.motion import apply_motion

    fixed, voxel_size = read_volume(reference)
    aligner = Aligner(np.asarray(fixed, np.float64), voxel_size, AlignOptions())
    written = []
    for path in map_files(source):
        volume, voxel = read_volume(path)
        if volume.shape != fixed.shape:
            raise InputError(f"{path}: box {volume.shape}, but {reference} has {fixed.shape}")
        alignment = aligner.align(np.asarray(volume, np.float64))
        moved = apply_motion(volume, alignment.motion)
        written.append(
            write_volume(output / f"{path.stem}_aligned.mrc", np.asarray(moved, np.float32), voxel)
        )
        logger.info(
            "%s: turned by %.2f degrees, moved by %.2f voxels, correlation %.3f to %.3f",
            path.name,
            alignment.motion.angle,
            alignment.motion.distance,
            alignment.correlation_before,
            alignment.correlation,
        )
    return written


def map_files(folder: Path) -> list[Path]:
    """Volumes of a folder by batch, fold and class of their names."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    volumes = sorted(folder.glob("*.mrc"), key=lambda path: volume_key(path.name))
    if not volumes:
        raise InputError(f"{folder}: no .mrc volumes in it")
    return volumes


def collect_maps(folder: Path, output: Path, *, standardize: bool = True) -> list[Path]:
    """Write ``rdata.npy``, ``rdata_3d.npy`` and ``data.log`` of a folder (``bigdata.py``).

    Parameters
    ----------
    folder : Path
        Folder of ``.mrc`` volumes.
    output : Path
        Folder for the arrays: (V, N^3) and (V, N, N, N), float32.
    standardize : bool
        Bring every volume of ``rdata.npy`` to mean 0 and deviation 1 by itself.
    """
    paths = map_files(folder)
    shape = read_volume(paths[0])[0].shape
    count, voxels = len(paths), int(np.prod(shape))
    flat_path, raw_path = output / "rdata.npy", output / "rdata_3d.npy"
    with (
        files.create_array(flat_path, (count, voxels), np.float32) as flat,
        files.create_array(raw_path, (count, *shape), np.float32) as raw,
    ):
        for row, path in enumerate(paths):
            volume = read_volume(path)[0]
            if volume.shape != shape:
                raise InputError(f"{path}: box {volume.shape}, but {paths[0]} has {shape}")
            raw[row] = volume
            flat[row] = standardized(volume, path) if standardize else volume.ravel()
    lines = [f"{number} {path.name}\n" for number, path in enumerate(paths, 1)]
    log = files.write_text(output / "data.log", "".join(lines))
    logger.info("%d volumes of %s voxels", count, " x ".join(map(str, shape)))
    return [flat_path, raw_path, log]


def standardized(values: Any, source: object) -> Any:
    """Z-score of one volume or feature map by itself (eq. 4), flat."""
    flat = np.asarray(values, np.float64).ravel()
    deviation = flat.std()
    if not deviation > 0:
        raise InputError(f"{source}: constant, so it has no z-score; drop this class")
    return ((flat - flat.mean()) / deviation).astype(np.float32)


def count_particles(stars: Path, log: Path, output: Path) -> Path:
    """Write ``num.txt``: the particles of every volume of ``data.log`` (``enumerate.sh``)."""
    counts = []
    for name in read_log(log):
        path = stars / f"{volume_stem(name)}.star"
        if not path.is_file():
            raise InputError(f"{path}: no such file, but {log} lists {name}")
        counts.append(open_table(path).rows)
    return files.write_text(output, "".join(f"{count}\n" for count in counts))
