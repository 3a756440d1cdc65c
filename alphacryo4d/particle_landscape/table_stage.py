"""The particle table with the coordinates of every particle."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from alphacryo4d.core import files
from alphacryo4d.io.star import ParticleTable
from alphacryo4d.particle_landscape.frame import unpacked
from alphacryo4d.particle_landscape.frame_stage import COORDINATES, COVARIANCES

COORDINATES_STAR = "coordinates.star"
COORDINATE, ERROR = "ac4dCoordinate", "ac4dCoordinateError"
_DIGITS = 5
_BLOCK = 65_536


def write_coordinate_table(folder: Path, table: ParticleTable) -> Path:
    """Write ``coordinates.star``: every row of a table, with coordinates and their errors.

    Parameters
    ----------
    folder : Path
        Folder of the particle landscape.
    table : ParticleTable
        With a row for every particle of the landscape.
    """
    coordinates = files.load_array(folder / COORDINATES, ndim=2)
    covariances = files.load_array(folder / COVARIANCES, ndim=2, memory_map=True)
    count = coordinates.shape[1]
    errors = np.empty_like(coordinates)
    for begin in range(0, len(errors), _BLOCK):
        part = slice(begin, begin + _BLOCK)
        own = unpacked(np.asarray(covariances[part]), count)
        errors[part] = np.sqrt(np.diagonal(own, axis1=1, axis2=2))
    columns = {}
    for name, values in ((COORDINATE, coordinates), (ERROR, errors)):
        for axis in range(count):
            columns[f"{name}{axis + 1}"] = np.round(values[:, axis].astype(np.float64), _DIGITS)
    return table.write_with_columns(folder / COORDINATES_STAR, columns)
