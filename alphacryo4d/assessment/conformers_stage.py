"""Conformers from files: atomic models and maps, checked and in one frame of reference."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from alphacryo4d.assessment.conformers import (
    MAP_SUFFIXES,
    MODEL_SUFFIXES,
    Atoms,
    Conformer,
    DensityMap,
    center_together,
    read_atoms,
)
from alphacryo4d.assessment.hinge import MOLECULES, make_molecule
from alphacryo4d.core.errors import InputError
from alphacryo4d.io.mrc import read_volume


def is_molecule(given: Sequence[str]) -> bool:
    """Whether the input is the name of one built-in molecule, and no file of that name."""
    return len(given) == 1 and given[0] in MOLECULES and not Path(given[0]).exists()


def load_conformers(given: Sequence[str], *, box: int, pixel_size: float) -> list[Conformer]:
    """Conformers by files, folders or the name of one molecule of :mod:`assessment.hinge`."""
    if is_molecule(given):
        return _check_sizes(given, make_molecule(given[0]), box=box, pixel_size=pixel_size)
    paths = find_conformers([Path(name) for name in given])
    return read_conformers(paths, box=box, pixel_size=pixel_size)


def find_conformers(inputs: Sequence[Path]) -> list[Path]:
    """Files of the conformers: files as given, those of folders in natural order."""
    conformers: list[Path] = []
    for path in inputs:
        if path.is_dir():
            inside = [p for p in path.iterdir() if _kind(p) is not None]
            if not inside:
                hides = (
                    ", and hides the built-in molecule of its name; work in another folder, or "
                    "rename it"
                )
                raise InputError(
                    f"{path}: holds no PDB, mmCIF or MRC files{hides * (str(path) in MOLECULES)}"
                )
            conformers += sorted(inside, key=_natural)
        elif not path.is_file():
            raise InputError(f"{path}: no such file")
        elif _kind(path) is None:
            raise InputError(
                f"{path}: not a name of a conformer; "
                f"known are {' '.join((*MODEL_SUFFIXES[:4], *MAP_SUFFIXES))}"
            )
        else:
            conformers.append(path)
    return conformers


def _natural(path: Path) -> list[Any]:
    return [int(w) if w.isdecimal() else w for w in re.split(r"(\d+)", path.name)]


def _kind(path: Path) -> str | None:
    name = path.name.lower()
    if name.endswith(MAP_SUFFIXES):
        return "map"
    return "model" if name.endswith(MODEL_SUFFIXES) else None


def read_conformers(paths: Sequence[Path], *, box: int, pixel_size: float) -> list[Conformer]:
    """Read conformers in one frame of reference, and check that they fit the box.

    Models are centred together by one vector; maps keep their centre, n // 2.

    Parameters
    ----------
    paths : sequence of Path
        PDB or mmCIF files, or MRC maps; not both.
    box, pixel_size : int, float
        Of the images, pixels and Angstrom.

    Raises
    ------
    InputError
        A file is damaged, kinds are mixed, or a conformer does not fit the box.
    """
    kinds = [_kind(path) for path in paths]
    if len(set(kinds)) != 1:
        raise InputError(f"{paths[0]} and others: atomic models and maps cannot be mixed")
    if kinds[0] == "model":
        models = center_together([read_atoms(path) for path in paths])
        return _check_sizes(list(map(str, paths)), models, box=box, pixel_size=pixel_size)
    return list(_read_maps(paths, box=box, pixel_size=pixel_size))


def _check_sizes(
    names: Sequence[str], models: Sequence[Atoms], *, box: int, pixel_size: float
) -> list[Conformer]:
    for number, atoms in enumerate(models):
        if 2 * atoms.radius > box * pixel_size:
            widest = 2 * max(one.radius for one in models)
            raise InputError(
                f"{names[min(number, len(names) - 1)]}: reaches {atoms.radius:.0f} A from the "
                f"centre of all conformers, but {box} pixels of {pixel_size} A hold "
                f"{box * pixel_size / 2:.0f} A; take --box "
                f"{2 * math.ceil(widest / pixel_size / 2)} or "
                f"--pixel-size {math.ceil(100 * widest / box) / 100:g}, or larger"
            )
    return list(models)


def _read_maps(paths: Sequence[Path], *, box: int, pixel_size: float) -> Iterator[DensityMap]:
    first: tuple[int, float] | None = None
    for path in paths:
        volume, voxel_size = read_volume(path)
        if voxel_size <= 0:
            raise InputError(f"{path}: the header has no voxel size; write it into the map")
        first = first or (len(volume), voxel_size)
        if len(volume) != first[0] or abs(voxel_size / first[1] - 1) > 1e-4:
            raise InputError(
                f"{path}: {len(volume)} voxels of {voxel_size:g} A, but {paths[0]} has {first[0]} "
                f"of {first[1]:g} A; conformers must share one grid"
            )
        if voxel_size > pixel_size * 1.001:
            raise InputError(
                f"{path}: voxel size {voxel_size:g} A holds no detail for pixels of {pixel_size} "
                f"A; take --pixel-size {voxel_size:g} or more"
            )
        if len(volume) * voxel_size > (box + 1) * pixel_size:
            raise InputError(
                f"{path}: edge of {len(volume) * voxel_size:.0f} A is longer than the box of "
                f"{box * pixel_size:.0f} A; crop the map or take a larger --box"
            )
        yield DensityMap(volume.astype(np.float64), voxel_size)
