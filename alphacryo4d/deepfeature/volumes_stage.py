"""The volumes of a stage as the network takes them."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alphacryo4d.core import files
from alphacryo4d.core.errors import InputError
from alphacryo4d.deepfeature.normalize import normalize_volume, suitable_box
from alphacryo4d.maths.fourier import fourier_resize

logger = logging.getLogger(__name__)


class Volumes:
    """Memory-mapped volumes, read as the network takes them."""

    def __init__(self, source: Path) -> None:
        self.path = source / files.VOLUMES_NPY if source.is_dir() else source
        self.array = files.load_array(self.path, dtype=np.floating, ndim=4, memory_map=True)
        shape = self.array.shape
        if len(set(shape[1:])) != 1:
            raise InputError(f"{self.path}: volumes of shape {shape[1:]}; they must be cubes")
        self.count, self.box = shape[0], suitable_box(shape[1])
        if shape[1] < 8:
            raise InputError(f"{self.path}: box of {shape[1]} voxels; at least 8 are needed")
        if self.box != shape[1]:
            logger.info(
                "box of %d voxels is not a multiple of 4: Fourier-resampled to %d for the network",
                shape[1],
                self.box,
            )

    @property
    def inputs(self) -> list[Path]:
        """Files that the result depends on."""
        table = self.path.parent / files.VOLUMES_STAR
        named = self.path.name == files.VOLUMES_NPY and table.is_file()
        return [self.path, table] if named else [self.path]

    def read(self, rows: NDArray[np.intp]) -> NDArray[np.float32]:
        """Normalised volumes of some rows."""
        return np.stack([normalize_volume(fourier_resize(self.array[i], self.box)) for i in rows])

    def check(self) -> None:
        """Raise ``InputError`` for a value that is not finite, and warn about constant volumes."""
        for row in range(self.count):
            finite = np.isfinite(self.array[row])
            if not finite.all():
                z, y, x = np.argwhere(~finite)[0]
                raise InputError(
                    f"{self.path}: volume {row + 1}, voxel z={z} y={y} x={x} is not finite; "
                    "run the classification of its fold again"
                )
            if np.ptp(self.array[row]) == 0:
                logger.warning("%s: volume %d is constant", self.path, row + 1)


def prepare_volumes(source: Path, output: Path) -> Path:
    """Write the normalised volumes (eq. 1) as one float32 array.

    Parameters
    ----------
    source : Path
        Folder of the resample stage, or an array of volumes.
    output : Path
        ``.npy`` file to write.
    """
    volumes = Volumes(source)
    volumes.check()
    shape = (volumes.count, *(volumes.box,) * 3)
    with files.create_array(output, shape, np.float32) as array:
        for row in range(volumes.count):
            array[row] = volumes.read(np.array([row]))[0]
    return output
