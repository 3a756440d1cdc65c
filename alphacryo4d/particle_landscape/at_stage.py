"""`volume`: maps at points of the particle landscape, from all particles near them."""

from __future__ import annotations

import dataclasses
import functools
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from alphacryo4d.core import files
from alphacryo4d.core.arrays import Array
from alphacryo4d.core.errors import InputError, UsageError
from alphacryo4d.core.job import Job, start_job
from alphacryo4d.core.progress import show_progress
from alphacryo4d.core.run_flags import RunFlags
from alphacryo4d.maths.threads import thread_count
from alphacryo4d.particle_landscape.frame import packed_size, unpacked
from alphacryo4d.particle_landscape.frame_stage import COORDINATES, COVARIANCES
from alphacryo4d.particle_landscape.movie_stage import write_movie
from alphacryo4d.particle_landscape.nearness import (
    Nearness,
    nearness,
    trial_widths,
    weights_near,
)
from alphacryo4d.particle_landscape.points_stage import kept_components, read_points
from alphacryo4d.particle_landscape.volume_files_stage import (
    OPTIMISTIC,
    shell_of,
    volume_file,
    write_linear,
    write_tables,
    write_widths,
)
from alphacryo4d.particle_landscape.volume_options import VolumeOptions
from alphacryo4d.particles.copies import half_sets
from alphacryo4d.particles.particle_set import ParticleSet
from alphacryo4d.reconstruction.map_stage import remove_scratch, write_maps
from alphacryo4d.reconstruction.stage import source_particles
from alphacryo4d.voting.inputs_stage import read_outliers
from alphacryo4d.voting.recorded_stage import (
    Recorded,
    prepare_recorded,
    read_mask,
    recorded_of,
    resample_of,
    symmetry_of,
)

if TYPE_CHECKING:
    from alphacryo4d.ml3d.images import PreparedImages
    from alphacryo4d.ml3d.reconstruct import Reconstruction

logger = logging.getLogger(__name__)

SCRATCH = ".scratch"
FEWEST_NEAR = 10.0
"""Particles, by the masses of their posteriors within an error, without which there is no map."""
_BLOCK = 65_536
_WIDEST, _NARROWEST, _LEAST = 5, 200, 30
"""The widest neighbourhood is worth a 5th of all particles, the narrowest a 200th, at least 30."""


@dataclass(frozen=True)
class PointInputs:
    """What the points share: particles, halves, and the posteriors of all that take part."""

    landscape: Path
    particles: ParticleSet
    recorded: Recorded
    rows: Array
    """Particles that take part."""
    halves: Array
    """Half-set of each of them."""
    mean: Array
    covariance: Array
    options: VolumeOptions
    flags: RunFlags


def run_volumes(
    landscape: Path,
    output: Path,
    *,
    options: VolumeOptions | None = None,
    flags: RunFlags = RunFlags(),
) -> list[Path]:
    """Reconstruct the molecule at points of a particle landscape.

    The stacks are inputs too: one with another content makes the maps again, or is refused.

    Parameters
    ----------
    landscape : Path
        Folder that ``landscape particles`` wrote.
    output : Path
        Output folder.
    options : VolumeOptions, optional
    flags : RunFlags, optional

    Returns
    -------
    list of Path
        Map, half maps and curves of every point, and tables of all points.
    """
    options = options or VolumeOptions()
    kept = kept_components(landscape)
    points, names = read_points(options.at, landscape, kept)
    if options.movie and len(points) < 2:
        raise UsageError("--movie: one point makes no movie; give more, such as --at path:20")
    options = dataclasses.replace(options, symmetry=symmetry_of(landscape, options.symmetry))
    particles = source_particles(landscape)
    inputs = [landscape / COORDINATES, landscape / COVARIANCES]
    inputs += [*([options.mask] if options.mask else []), *particles.stacks]
    recorded = {"volume": options, "points": [list(map(float, point)) for point in points]}
    with start_job(
        output, stage="volume", options=recorded, inputs=inputs, flags=flags
    ) as job:  # fmt: skip
        if not job.finished:
            _all_points(job, _read(landscape, kept, options, flags, particles), points, names)
        return job.outputs


def _read(
    landscape: Path, kept: int, options: VolumeOptions, flags: RunFlags,
    particles: ParticleSet | None = None,
) -> PointInputs:  # fmt: skip
    recorded = recorded_of(landscape).with_symmetry(options.symmetry)
    particles = recorded.on_grid(source_particles(landscape) if particles is None else particles)
    mean = files.load_array(landscape / COORDINATES, dtype=np.floating, ndim=2)
    covariance = files.load_array(landscape / COVARIANCES, dtype=np.floating, ndim=2)
    if mean.shape != (len(particles), kept) or covariance.shape != (len(mean), packed_size(kept)):
        raise InputError(
            f"{landscape}: coordinates of {len(mean)} particles, covariances of "
            f"{len(covariance)}, but {particles.path} has {len(particles)}; run `landscape "
            "particles` again"
        )
    resample = resample_of(landscape)
    rows = np.arange(len(particles))
    if resample is not None:
        rows = np.setdiff1d(rows, read_outliers(resample))
    halves = half_sets(particles)[rows]
    return PointInputs(
        landscape, particles, recorded, rows, halves, mean[rows], covariance[rows], options, flags
    )


def _all_points(job: Job, inputs: PointInputs, points: list[Array], names: list[str]) -> None:
    from alphacryo4d.particle_landscape.weighted import memory_of_point

    options = inputs.options
    near = {k: _near(inputs, k) for k in sorted({len(point) for point in points})}
    _require_particles(near, points, names)
    images = _images(job, inputs)
    each = memory_of_point(images.box) + 4 * options.widths * len(images) / 2**30
    at_once = max(1, int(options.memory / 2 / each))
    entries: dict[str, dict[str, Any]] = dict(job.record["results"].get("points", {}))
    for begin in range(0, len(points), at_once):
        some = range(begin, min(begin + at_once, len(points)))
        step = f"points {some[0] + 1} to {some[-1] + 1}"
        if job.completed(step):
            continue
        logger.info("%s of %d", step, len(points))
        asked = [
            {"point": n + 1, "is": names[n], "coordinates": [float(z) for z in points[n]]}
            for n in some
        ]
        made = _some_points(images, inputs, asked, [near[len(points[n])] for n in some], job.folder)
        entries |= {str(entry["point"]): entry for entry, _ in made}
        job.note(points=entries)
        job.complete(step, [path for _, paths in made for path in paths])
    remove_scratch(job.folder / SCRATCH)
    outputs: list[Path] = []
    if options.linear:
        kept = inputs.mean.shape[1]
        outputs += write_linear(inputs.landscape, inputs.particles, kept, points, job.folder)
    if options.movie:
        maps = [volume_file(job.folder, n + 1) for n in range(len(points))]
        outputs += write_movie(maps, job.folder, "movie")
    ordered = [entries[str(n + 1)] for n in range(len(points))]
    outputs += write_tables(job.folder, inputs.particles, inputs.recorded.symmetry, ordered)
    logger.info("%s", OPTIMISTIC)
    job.complete("tables", outputs)


def _near(inputs: PointInputs, count: int) -> Nearness:
    """Posteriors of the first coordinates, the others integrated out."""
    kept = inputs.mean.shape[1]
    own = np.empty((len(inputs.mean), count, count), np.float32)
    for begin in range(0, len(own), _BLOCK):
        part = slice(begin, begin + _BLOCK)
        own[part] = unpacked(inputs.covariance[part], kept)[:, :count, :count]
    return nearness(inputs.mean[:, :count], own)


def _require_particles(near: dict[int, Nearness], points: list[Array], names: list[str]) -> None:
    """Refuse points that no particles lie near, before any image is read."""
    for point, name in zip(points, names, strict=True):
        mass = near[len(point)].mass(point)
        if mass < FEWEST_NEAR:
            raise InputError(
                f"--at {name}: {mass:.1f} particles lie within an error of it, too few for a map; "
                "coordinates.npy and energies.csv say where there are particles"
            )


def _images(job: Job, inputs: PointInputs) -> PreparedImages:
    with show_progress("read images") as shown:
        return prepare_recorded(
            inputs.particles,
            inputs.rows,
            inputs.recorded,
            None,
            threads=inputs.flags.threads,
            memory=inputs.options.memory / 2,
            scratch=job.folder / SCRATCH,
            progress=shown,
        )


def _some_points(
    images: PreparedImages,
    inputs: PointInputs,
    entries: list[dict[str, Any]],
    near: list[Nearness],
    output: Path,
) -> list[tuple[dict[str, Any], list[Path]]]:
    """Maps of some points, in two passes over the images; what is known of each, and its files."""
    from alphacryo4d.ml3d.grid import Grid
    from alphacryo4d.ml3d.reconstruct import finished
    from alphacryo4d.particle_landscape.weighted import PointWeights, choose_widths, weighted_sums

    options, flags = inputs.options, inputs.flags
    workers, check = thread_count(flags.threads), flags.deadline.check
    fewest = options.fewest or max(_LEAST, len(images) / _NARROWEST)
    most = len(images) / _WIDEST
    centres = [np.array(entry["coordinates"]) for entry in entries]
    widths = [
        trial_widths(one, centre, options.widths, fewest, most)
        for one, centre in zip(near, centres, strict=True)
    ]
    points = [
        PointWeights(weights_near(one, centre, some))
        for one, centre, some in zip(near, centres, widths, strict=True)
    ]
    with show_progress("widths") as shown:
        choices = choose_widths(
            images, points, inputs.halves, workers=workers, progress=shown, check=check
        )
    with show_progress("volumes") as shown:
        sums = weighted_sums(
            images, points, choices, inputs.halves, workers=workers, progress=shown, check=check
        )
    grid = Grid(images.radius)
    mask = None if options.mask is None else read_mask(options.mask, inputs.particles)

    def one(place: int) -> tuple[dict[str, Any], list[Path]]:
        check()
        entry, weights = entries[place], points[place].weights
        used = weights[:, np.unique(choices[place])].any(axis=1)
        entry |= {"particles": int(used.sum())}
        made = finished(images, grid, sums[place], 0, int(entry["point"]), entry["particles"])
        sums[place] = np.empty(0)
        worth = weights.sum(axis=0, dtype=np.float64)
        total = np.sqrt([width.own + width.width**2 for width in widths[place]])
        by_shell = np.stack([total[choices[place]], worth[choices[place]]], axis=1)
        return _write_point(entry, made, by_shell, mask, images, output, options.local_resolution)

    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(one, range(len(entries))))


def _write_point(
    entry: dict[str, Any],
    made: Reconstruction,
    by_shell: Array,
    mask: Array | None,
    images: PreparedImages,
    output: Path,
    local: bool,
) -> tuple[dict[str, Any], list[Path]]:
    """Files of a point; ``by_shell`` (shells, 2) has widths and the particles they are worth."""
    number = int(entry["point"])
    place = functools.partial(volume_file, output, number)
    title = f"point {number} ({entry['is']})"
    entry, paths = write_maps(entry, made, mask, place, title, local, 1, voxel=images.pixel_size)
    paths.append(write_widths(place("_widths.csv"), by_shell, images))
    fine = shell_of(entry["resolution_masked"], images)
    entry |= {
        "worth_at_30_angstrom": round(float(by_shell[shell_of(30.0, images), 1]), 1),
        "worth_at_resolution": round(float(by_shell[fine, 1]), 1),
    }
    return entry, paths
