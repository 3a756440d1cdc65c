"""Files of volumes at points: widths of every shell, linear volumes, tables of all points."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from alphacryo4d.core import files
from alphacryo4d.core.arrays import Array
from alphacryo4d.core.errors import InputError
from alphacryo4d.core.reading import load_archive
from alphacryo4d.io.mrc import write_volume
from alphacryo4d.landscape.tables_stage import write_csv
from alphacryo4d.maths.fourier import resize_cubes
from alphacryo4d.particle_landscape.fold_stage import FOLDS
from alphacryo4d.particle_landscape.frame import common_frame
from alphacryo4d.particle_landscape.volumes import linear_volumes
from alphacryo4d.particles.particle_set import ParticleSet

if TYPE_CHECKING:
    from alphacryo4d.ml3d.images import PreparedImages

VOLUMES_JSON, VOLUMES_CSV = "volumes.json", "volumes.csv"
OPTIMISTIC = (
    "These FSC curves are optimistic: the coordinates of the particles come from components that "
    "saw both halves."
)


def volume_file(folder: Path, number: int, end: str = ".mrc") -> Path:
    """File of a point (from 1), ``volume_001.mrc``."""
    return folder / f"volume_{number:03d}{end}"


def shell_of(resolution: float | None, images: PreparedImages) -> int:
    """Shell of a resolution (A), within those of the images."""
    if not resolution:
        return 1
    shell = round(images.box * images.pixel_size / resolution)
    return int(np.clip(shell, 1, images.radius))


def write_widths(path: Path, by_shell: Array, images: PreparedImages) -> Path:
    """Width of every shell, the particles' own errors included, and the particles it is worth.

    ``by_shell`` (shells, 2).
    """
    shells = np.arange(1, len(by_shell))
    return write_csv(
        path,
        {
            "shell": shells,
            "resolution_angstrom": images.box * images.pixel_size / shells,
            "width_in_errors": by_shell[1:, 0],
            "particles_worth": by_shell[1:, 1],
        },
    )


def write_linear(
    landscape: Path, particles: ParticleSet, kept: int, points: list[Array], output: Path
) -> list[Path]:
    """``volume_001_linear.mrc``: mean and components of the folds of the first batch."""
    stored = sorted((landscape / FOLDS).glob("b1_f*.npz"))
    if not stored:
        raise InputError(
            f"{landscape / FOLDS}: no folds; run `landscape particles` again, or leave out --linear"
        )
    folds = [load_archive(path)["cubes"] for path in stored]
    frame = common_frame(folds, kept)
    box, paths = particles.box, []
    for number, point in enumerate(points, 1):
        cube = linear_volumes(folds, frame, point[None])[0]
        volume = resize_cubes(cube[None], box)[0] * np.float32(box)
        place = volume_file(output, number, "_linear.mrc")
        paths.append(write_volume(place, volume, particles.pixel_size))
    return paths


def write_tables(
    folder: Path, particles: ParticleSet, symmetry: str, entries: list[dict[str, Any]]
) -> list[Path]:
    """``volumes.csv`` and ``volumes.json``."""
    most = max(len(entry["coordinates"]) for entry in entries)
    columns: dict[str, Any] = {"point": np.array([entry["point"] for entry in entries])}
    for axis in range(most):
        columns[f"z{axis + 1}"] = np.array(
            [entry["coordinates"][axis] if axis < len(entry["coordinates"]) else np.nan
             for entry in entries]
        )  # fmt: skip
    names = ("particles", "worth_at_30_angstrom", "worth_at_resolution", "resolution_masked",
             "resolution_unmasked")  # fmt: skip
    for name in names:
        values = [entry[name] for entry in entries]
        columns[name] = np.array([np.nan if value is None else value for value in values])
    split = "a fixed random split" if particles.random_subset is None else "rlnRandomSubset"
    report = {
        "halves": split,
        "symmetry": symmetry,
        "note": OPTIMISTIC,
        "volumes": entries,
    }
    text = json.dumps(report, indent=1) + "\n"
    return [
        write_csv(folder / VOLUMES_CSV, columns),
        files.write_text(folder / VOLUMES_JSON, text),
    ]
