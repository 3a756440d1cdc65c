"""States by the rule of ``--centers``, and their files."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from alphacryo4d.core import files
from alphacryo4d.core.arrays import Array
from alphacryo4d.core.errors import InputError
from alphacryo4d.core.job import Job
from alphacryo4d.core.progress import show_progress
from alphacryo4d.core.words import plural
from alphacryo4d.io.star import write_tables
from alphacryo4d.landscape import basins, states
from alphacryo4d.landscape.grouping.clustering import group_volumes
from alphacryo4d.landscape.inputs_stage import read_centers
from alphacryo4d.landscape.options import DENSITY, StatesOptions
from alphacryo4d.landscape.plane import Landscape
from alphacryo4d.landscape.states import States
from alphacryo4d.landscape.string_method import EnergyPath

logger = logging.getLogger(__name__)
_GRID = 120
"""Points along each axis of the grid on which basins are looked for."""


@dataclass(frozen=True)
class Evidence:
    """What the full space and the particles say of the volumes, where it is at hand.

    Volumes whose images show no particle (``junk``, (V,) bool) take no part in the states: they
    get one of their own, behind the others and beside the number that is asked for. ``basins``
    (V,) is the basin of the particles' density that most particles of a volume lie in, ``copies``
    (P,) the image of every particle where some share one.
    """

    distances: Array | None = None
    assignments: Array | None = None
    junk: Array | None = None
    basins: Array | None = None
    copies: Array | None = None

    @property
    def has_junk(self) -> bool:
        """Whether some volumes are junk, and others are not."""
        return self.junk is not None and bool(self.junk.any()) and not bool(self.junk.all())


def find_states(
    landscape: Landscape,
    options: StatesOptions,
    path: EnergyPath | None,
    evidence: Evidence,
    seed: int,
) -> States:
    """States by the rule of ``--centers``."""
    embedding, counts = landscape.embedding, landscape.counts
    labels = None
    if options.centers == "minima":
        labels = _from_basins(landscape, options.number)
    elif options.centers == DENSITY:
        labels = _from_particles(evidence)
    elif options.centers == "volumes":
        labels = _from_volumes(landscape, options, evidence, seed)
    if labels is not None:
        centers = states.centers_of_groups(embedding, counts, labels)
    elif options.centers == "path" and path is not None:
        centers = _along_path(path, options)
    else:
        centers = read_centers(Path(options.centers))
    if labels is not None:
        real = len(centers) - (options.centers == "volumes" and evidence.has_junk)
        order = states.ordered_along(centers[:real], None if path is None else path.images)
        order = np.append(order, np.arange(real, len(centers)))
        centers, labels = centers[order], np.argsort(order)[labels]
    return _complete(landscape, options, centers, labels)


def _from_basins(landscape: Landscape, number: int | None) -> Array:
    """Basin (V,) of every volume, from 0, on the surface that the figure shows.

    Looked for on a grid: a smooth surface has its passes between volumes. Where the number is not
    given, basins of a density are 0.3 kT deep, those of noisier energies 1 kT.
    """
    from scipy.spatial import cKDTree

    points, surface = landscape.embedding, landscape.surface
    low, size = points.min(0), np.maximum(np.ptp(points, axis=0), 1e-12)
    steps = np.linspace(0, 1, _GRID)
    unit = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
    values = surface.values(low + unit * size)
    inside = np.flatnonzero(np.isfinite(values))
    depth = 0.3 if landscape.options.from_density else 1.0
    cells, minima = basins.basins(unit[inside], values[inside], states=number, depth=depth)
    nearest = cKDTree(unit[inside]).query((points - low) / size)[1]
    labels: Array
    used, labels = np.unique(cells[nearest], return_inverse=True)
    if number is not None and len(used) < number:
        logger.warning(
            "states: the surface has %s, fewer than %d", plural(len(used), "basin"), number
        )
    elif number is None and len(minima) == 1:
        logger.warning(
            "states: the surface has one basin; --states N takes the N deepest, --centers volumes "
            "groups the volumes themselves"
        )
    return labels


def _from_particles(evidence: Evidence) -> Array:
    """State (V,) of every volume, from 0: basins of the particles' density that hold a volume."""
    if evidence.basins is None:
        raise InputError(
            "--centers density needs the volumes: give --i, the folder of the resample stage"
        )
    return np.asarray(np.unique(evidence.basins, return_inverse=True)[1])


def _along_path(path: EnergyPath, options: StatesOptions) -> Array:
    count = len(path.images)
    if options.number is None:
        rows = basins.all_minima_along(path.energies)
    elif options.along == "spaced":
        rows = np.linspace(0, count - 1, options.number).astype(int)
    else:
        rows = basins.minima_along(path.energies, options.number)
    centers: Array = path.images[rows]
    return centers


def _from_volumes(
    landscape: Landscape, options: StatesOptions, evidence: Evidence, seed: int
) -> Array:
    if evidence.distances is None:
        raise InputError(
            "--centers volumes needs the volumes: give --i, the folder of the resample stage, or "
            "take --centers path or minima"
        )
    every = np.arange(len(landscape.counts))
    rows = every if not evidence.has_junk else np.flatnonzero(~np.asarray(evidence.junk))
    with show_progress("states") as progress:
        grouping = group_volumes(
            evidence.distances[np.ix_(rows, rows)],
            landscape.embedding[rows],
            landscape.counts[rows],
            landscape.folds[rows],
            states=options.number,
            assignments=_among(rows, len(every), evidence.assignments),
            copies=evidence.copies,
            seed=seed,
            progress=progress,
        )
    count = len(np.unique(grouping.labels))
    labels = np.full(len(every), count)
    labels[rows] = grouping.labels
    if len(rows) < len(every):
        logger.warning(
            "states: the images of %s show no particle: state %d, beside the %d others",
            plural(len(every) - len(rows), "volume"), count + 1, count,
        )  # fmt: skip
    if options.number is not None and count < options.number:
        logger.warning(
            "states: %d volumes make %s that the folds agree on, fewer than the %d asked; "
            "take fewer --states, or resample with more --classes",
            len(grouping.labels), plural(count, "group"), options.number,
        )  # fmt: skip
    return labels


def _among(rows: Array, count: int, assignments: Array | None) -> Array | None:
    """Assignments with the numbers of some of ``count`` volumes; negative for others."""
    if assignments is None or len(rows) == count:
        return assignments
    place = np.full(count, -2, assignments.dtype)
    place[rows] = np.arange(len(rows))
    return np.where(assignments < 0, assignments, place[np.maximum(assignments, 0)])


def _complete(
    landscape: Landscape, options: StatesOptions, centers: Array, labels: Array | None
) -> States:
    embedding, counts = landscape.embedding, landscape.counts
    if options.radius is not None:
        radii = np.full(len(centers), options.radius)
    elif labels is not None:
        radii = states.fitted_radii(embedding, centers, labels)
    else:
        radii = states.recommended_radii(centers, embedding)
    if labels is not None and options.radius is None:
        members = (labels + 1).astype(np.int32)
    else:
        members = states.assign_volumes(embedding, centers, radii)
    energies, errors = states.state_energies(
        members, counts, landscape.left_out, len(centers), images=landscape.images
    )
    empty = np.setdiff1d(np.arange(1, len(centers) + 1), members)
    if len(empty):
        logger.warning("states without a volume: %s", ", ".join(map(str, empty)))
    return States(centers, radii, energies, errors, members)


def write_states(job: Job, landscape_states: States) -> None:
    """Write ``centers.npy``, ``volume_states.npy`` and ``states.star``."""
    folder = job.folder
    written = [
        files.save_array(folder / files.CENTERS_NPY, landscape_states.centers.astype(np.float64)),
        files.save_array(folder / files.VOLUME_STATES_NPY, landscape_states.volumes),
        write_tables(folder / files.STATES_STAR, {"states": states_table(landscape_states)}),
    ]
    inside = int((landscape_states.volumes > 0).sum())
    logger.info(
        "%s with %d of %d volumes",
        plural(len(landscape_states.centers), "state"),
        inside,
        len(landscape_states.volumes),
    )
    job.note(states=len(landscape_states.centers), volumes_in_states=inside)
    job.complete("states", written)


def states_table(landscape_states: States) -> Mapping[str, Array]:
    """Columns of ``states.star``."""
    return {
        "ac4dState": np.arange(1, len(landscape_states.centers) + 1),
        "ac4dCenterX": landscape_states.centers[:, 0],
        "ac4dCenterY": landscape_states.centers[:, 1],
        "ac4dRadius": landscape_states.radii,
        "ac4dEnergy": landscape_states.energies,
        "ac4dEnergyError": landscape_states.errors,
    }
