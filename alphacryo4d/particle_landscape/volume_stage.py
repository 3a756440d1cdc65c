"""Volumes along the path, as maps of the full box."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.io.mrc import write_volume
from alphacryo4d.maths.fourier import resize_cubes
from alphacryo4d.particle_landscape.fold_stage import FoldInputs, read_fold
from alphacryo4d.particle_landscape.frame import common_frame
from alphacryo4d.particle_landscape.movie_stage import write_movie
from alphacryo4d.particle_landscape.volumes import linear_volumes

VOLUMES = "volumes"


def write_path_volumes(folder: Path, inputs: FoldInputs, images: Array, number: int) -> list[Path]:
    """Write volumes at equal distances along a path, ``volumes/path_001.mrc`` ..., and a movie.

    Parameters
    ----------
    folder : Path
        Folder of the particle landscape, with the results of the folds.
    inputs : FoldInputs
    images : (n, d) array
        The path, at equal arc length.
    number : int
        Volumes, both ends included.
    """
    folds = [read_fold(folder, 1, fold)["cubes"] for fold in range(1, inputs.folds + 1)]
    frame = common_frame(folds, inputs.options.components)
    rows = np.rint(np.linspace(0, len(images) - 1, number)).astype(int)
    written = []
    for count, row in enumerate(rows, 1):
        cube = linear_volumes(folds, frame, images[row : row + 1])[0]
        box = inputs.particles.box
        volume = resize_cubes(cube, box) * np.float32(box)
        place = folder / VOLUMES / f"path_{count:03d}.mrc"
        written.append(write_volume(place, volume, inputs.particles.pixel_size))
    return written + write_movie(written, folder / VOLUMES, "path")
