"""``resample components``: principal components of the particles, as volumes and coordinates."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from alphacryo4d.core import files
from alphacryo4d.core.arrays import Array
from alphacryo4d.core.job import start_job
from alphacryo4d.core.memory import half_of_memory
from alphacryo4d.core.progress import show_progress
from alphacryo4d.core.run_flags import RunFlags
from alphacryo4d.io.mrc import read_volume, write_volume
from alphacryo4d.io.star import write_tables
from alphacryo4d.ml3d.options import ClassifyOptions
from alphacryo4d.particles.particle_set import read_particles
from alphacryo4d.particles.samples import prepare_rows
from alphacryo4d.particles.views import settled
from alphacryo4d.relion.options import RelionOptions
from alphacryo4d.relion.preflight import check_map
from alphacryo4d.resample.native_stage import FoldCheckpoint

if TYPE_CHECKING:
    from alphacryo4d.ml3d.components import Components
    from alphacryo4d.ml3d.images import PreparedImages


CHECKPOINT = "checkpoint.npz"
MEAN = "mean.mrc"
COORDINATES = "coordinates.npy"
PRECISION = "coordinates_precision.npy"
TABLE = "components.star"


def run_components(
    table: Path,
    output: Path,
    *,
    classify: ClassifyOptions,
    relion: RelionOptions,
    seed: int = 0,
    memory: float | None = None,
    scratch: Path | None = None,
    flags: RunFlags = RunFlags(),
) -> list[Path]:
    """Principal components of the particles by probabilistic PCA.

    Writes the mean and the components as maps at the full box (``mean.mrc``,
    ``component_001.mrc`` ..., which a particle has with its coordinate as factor), the coordinates
    of every particle (``coordinates.npy``, (P, q) float32, of variance 1 over the particles), their
    precision by the data alone (``coordinates_precision.npy``, (P, q) float32), and
    ``components.star`` with the share of the variance of each component.

    Parameters
    ----------
    table, output : Path
        Particle table with poses; folder of the results.
    classify, relion : ClassifyOptions, RelionOptions
        Resolutions, number of components and iterations; mask and symmetry.
    seed, memory, scratch, flags
        As for the whole stage.
    """
    from alphacryo4d.maths.fourier import resize_cubes

    particles = read_particles(table).on_grid(*classify.grid)
    classify = settled(classify, particles, folder=None if flags.overwrite else output)
    inputs, mask = [table, *particles.stacks], None
    if relion.mask is not None:
        check_map(relion.mask, particles, what="mask", is_mask=True)
        mask = read_volume(relion.mask)[0]
        inputs.append(relion.mask)
    recorded = {name: getattr(classify, name) for name in _USED} | {"symmetry": relion.symmetry}
    with start_job(
        output, stage="components", options=recorded, inputs=inputs, seed=seed, flags=flags,
        in_place=True, remnants=(CHECKPOINT,),
    ) as job:  # fmt: skip
        if job.finished:
            return job.outputs
        checkpoint = FoldCheckpoint(output / CHECKPOINT)
        finest = min(classify.initial_resolution, classify.final_resolution or np.inf)
        with show_progress("read images") as progress:
            images = prepare_rows(
                particles, np.arange(len(particles)), finest, symmetry=relion.symmetry,
                noise_groups=classify.noise_groups, normalise=classify.normalise,
                diameter=classify.mask_diameter, threads=flags.threads, progress=progress,
                memory=memory or half_of_memory(), scratch=scratch or output / "scratch",
            )  # fmt: skip
        components = _fit(images, classify, finest, mask, checkpoint, seed, flags)
        maps = resize_cubes(components.cubes, images.box) * np.float32(images.box)
        job.add_outputs(_written(output, maps, components, images.pixel_size))
        checkpoint.remove()
        return job.outputs


def _fit(
    images: PreparedImages,
    classify: ClassifyOptions,
    finest: float,
    mask: Array | None,
    checkpoint: FoldCheckpoint,
    seed: int,
    flags: RunFlags,
) -> Components:
    """Few components at the first resolution, then all at the finest; from the checkpoint on."""
    from alphacryo4d.maths.threads import thread_count
    from alphacryo4d.ml3d.components import fit_components
    from alphacryo4d.ml3d.images import shell_of_resolution

    first, last = (
        shell_of_resolution(resolution, images.box, images.pixel_size)
        for resolution in (classify.initial_resolution, finest)
    )
    saved = checkpoint.load()
    with show_progress("components") as progress:
        return fit_components(
            images, np.arange(len(images)), min(classify.components, 7),
            classify.component_iterations, first, seed if saved is None else int(saved["seed"]),
            finer=(classify.components, classify.final_component_iterations, last),
            mask_diameter=classify.mask_diameter, solvent=mask,
            workers=thread_count(flags.threads), progress=progress, check=flags.deadline.check,
            saved=saved, checkpoint=checkpoint,
        )  # fmt: skip


_USED = (
    *("initial_resolution", "final_resolution", "components", "component_iterations"),
    *("final_component_iterations", "noise_groups", "mask_diameter"),
    *("normalise", "output_box", "voxel_size"),
)


def _written(output: Path, maps: Any, components: Any, pixel_size: float) -> list[Path]:
    """Maps, coordinates and the table of the components."""
    names = [MEAN, *(f"component_{number:03d}.mrc" for number in range(1, len(maps)))]
    outputs = [
        write_volume(output / name, volume, pixel_size)
        for name, volume in zip(names, maps, strict=True)
    ]
    back = np.empty(len(components.rows), np.int64)
    back[components.rows] = np.arange(len(components.rows))
    precision = np.diagonal(components.information, axis1=1, axis2=2)
    outputs.append(files.save_array(output / COORDINATES, components.coordinates[back]))
    outputs.append(files.save_array(output / PRECISION, np.ascontiguousarray(precision[back])))
    power = np.square(maps[1:], dtype=np.float64).sum(axis=(1, 2, 3))
    columns = {
        "rlnReferenceImage": [str(output / name) for name in names[1:]],
        "ac4dVarianceShare": (power / power.sum()).round(5),
    }
    return [*outputs, write_tables(output / TABLE, {"components": columns})]
