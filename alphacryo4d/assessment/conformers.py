"""Conformers: atoms from PDB and mmCIF files, or density on a grid."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from alphacryo4d.assessment.imaging import FloatArray
from alphacryo4d.core.arrays import Array
from alphacryo4d.core.errors import InputError

logger = logging.getLogger(__name__)

MAP_SUFFIXES = (".mrc", ".map", ".ccp4")
MODEL_SUFFIXES = (".pdb", ".ent", ".cif", ".mmcif", ".pdb.gz", ".ent.gz", ".cif.gz", ".mmcif.gz")


@dataclass(frozen=True)
class Atoms:
    """Point scatterers of one conformer.

    ``positions`` is (A, 3): x, y, z in Angstrom from the centre of the box;
    ``weights`` is (A,): atomic number times occupancy.
    """

    positions: FloatArray
    weights: FloatArray

    @property
    def radius(self) -> float:
        """Distance of the outermost atom from the centre, Angstrom."""
        return float(np.linalg.norm(self.positions, axis=1).max())


@dataclass(frozen=True)
class DensityMap:
    """Density of one conformer: ``density`` (n, n, n) as z, y, x, origin at n // 2."""

    density: Array
    voxel_size: float

    @property
    def radius(self) -> float:
        """Half the edge of the map, Angstrom."""
        return float(self.density.shape[0] * self.voxel_size / 2)


Conformer = Atoms | DensityMap


def read_atoms(path: Path) -> Atoms:
    """Atoms of the first model of a PDB or mmCIF file, in the frame of the file.

    Raises
    ------
    InputError
        The file is missing, cannot be parsed or holds no atoms.
    """
    import gemmi

    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        structure = gemmi.read_structure(str(path))
    except (RuntimeError, ValueError, OSError) as error:
        raise InputError(f"{path}: not a readable PDB or mmCIF file ({error})") from error
    if len(structure) > 1:
        logger.warning(
            "%s: holds %d models, only the first is used; one file a conformer",
            path,
            len(structure),
        )
    table = [
        (*atom.pos.tolist(), atom.element.atomic_number * atom.occ)
        for chain in (structure[0] if len(structure) else ())
        for residue in chain
        for atom in residue
    ]
    values = np.array(table, np.float64).reshape(-1, 4)
    if not len(values) or not values[:, 3].sum() > 0:
        raise InputError(
            f"{path}: holds no atoms; give a PDB or mmCIF file with ATOM records, or an MRC map"
        )
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0]) + 1
        raise InputError(f"{path}: atom {row} has a position that is not a number")
    return Atoms(values[:, :3], values[:, 3])


def center_together(conformers: Sequence[Atoms]) -> list[Atoms]:
    """Move all conformers by one vector, so that their mean centre of mass is the origin.

    One vector for all keeps the frame that they share: what moves is then the motion alone.
    """
    centers = [np.average(atoms.positions, axis=0, weights=atoms.weights) for atoms in conformers]
    center = np.mean(centers, axis=0)
    return [Atoms(atoms.positions - center, atoms.weights) for atoms in conformers]
