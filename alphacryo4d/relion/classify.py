"""One classification without alignment by RELION: direct (20) or hierarchical (5x8).

The results stand under the names that the native engine uses too: ``run_it025_class001.mrc`` ...,
``run_it025_data.star`` (the rows of the input with class and probability added) and
``run_it025_model.star`` (one row a class). RELION's own files are in ``relion/`` beside them.
"""

from __future__ import annotations

import filecmp
import logging
import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from alphacryo4d.core import files
from alphacryo4d.core.arrays import Array
from alphacryo4d.core.deadline import Deadline
from alphacryo4d.core.errors import UsageError
from alphacryo4d.core.progress import Progress, no_progress
from alphacryo4d.io.star import ParticleTable, write_tables
from alphacryo4d.relion.options import RelionOptions, refuse_gpu_without_alignment
from alphacryo4d.relion.outputs import ROW_COLUMN, RunResult
from alphacryo4d.relion.plan import SMALLEST_CLASS, Request, default_ranks, make_run, parts_of
from alphacryo4d.relion.preflight import check_map, check_particles, image_root, name_from
from alphacryo4d.relion.running import Runner, remove_run
from alphacryo4d.relion.version import installed_version

logger = logging.getLogger(__name__)

REFERENCE = "reference.mrc"


@dataclass(frozen=True)
class RelionClass:
    """One class: its number (from 1, gaps kept), the class it was split from, size, map."""

    number: int
    parent: int
    particles: int
    resolution: float
    map: Path


@dataclass(frozen=True)
class Classified:
    """Result of :func:`classify_with_relion`.

    Attributes
    ----------
    labels : (n,) int32 array
        Class number of every row that was classified; 0 of outliers.
    probabilities : (n,) float64 array
        Probability of that class (of the last level).
    classes : tuple of RelionClass
        Classes that hold particles.
    outputs : tuple of Path
        Files written: data table, model table, maps.
    """

    labels: Array
    probabilities: Array
    classes: tuple[RelionClass, ...]
    outputs: tuple[Path, ...]


def _refuse_small_classes(table: Path, particles: int, classes: int) -> None:
    if particles < classes * SMALLEST_CLASS:
        raise UsageError(
            f"{table}: {particles} particles are too few for {classes} classes of "
            f"at least {SMALLEST_CLASS}; ask for fewer classes"
        )


def classify_with_relion(
    table: Path,
    folder: Path,
    request: Request,
    options: RelionOptions,
    *,
    rows: Array | None = None,
    outliers: Array | None = None,
    threads: int | None = None,
    gpu: str | None = None,
    resume: bool = False,
    deadline: Deadline = Deadline(),
    progress: Progress = no_progress,
) -> Classified:
    """Classify the particles of a table without alignment, with the RELION on ``PATH``.

    Parameters
    ----------
    table, folder : Path
        Particle table with poses, any dialect that the installed RELION reads; output folder.
    request, options : Request, RelionOptions
        What is asked for, and how RELION is to do it.
    rows, outliers : (n,), (m,) int arrays, optional
        Ascending rows of the table to classify, by default all; those that take no part (class 0).
    threads, gpu : int, str, optional
        Workers, which give the MPI ranks where the options do not say; refused.
    resume : bool
        Keep the runs that are complete and continue one that was interrupted from its last whole
        iteration; otherwise all is done anew.
    deadline, progress : Deadline, callable
        Called with runs done and runs in all.

    Raises
    ------
    UsageError
        A GPU is asked for.
    InputError
        The input is damaged; found before RELION starts.
    MissingProgramError, ProgramError
        RELION is missing, failed, or wrote something that is no use.
    """
    refuse_gpu_without_alignment(gpu)
    version = installed_version()
    particles = check_particles(table, version=version, rows=rows)
    rows = np.arange(len(particles)) if rows is None else np.asarray(rows)
    request = replace(request, mask=request.mask or options.mask)
    root = image_root(particles)
    for path, what in ((options.reference, "reference"), (request.mask, "mask")):
        if path is not None:
            check_map(path, particles, what=what, is_mask=what == "mask")
    taken = rows if outliers is None else np.setdiff1d(rows, outliers)
    _refuse_small_classes(table, len(taken), request.levels[0])
    if not resume:
        shutil.rmtree(folder / "relion", ignore_errors=True)
    (work := folder / "relion").mkdir(parents=True, exist_ok=True)
    ranks = default_ranks(options, threads)
    runner = Runner(options=options, version=version, ranks=ranks, root=root, watch=deadline.check)
    name_from(root, folder)
    tree = _Tree(particles.table, work, request, runner, progress)
    return _publish(particles.table, rows, folder, request.iterations, tree.classify(taken))


@dataclass
class Labelling:
    """Labels and probabilities, filled in as classes are found."""

    labels: Array
    probabilities: Array
    classes: list[RelionClass]


class _Tree:
    """Runs of RELION level by level; every class of a level is split into the next."""

    def __init__(
        self,
        table: ParticleTable,
        work: Path,
        request: Request,
        runner: Runner,
        progress: Progress,
    ) -> None:
        self.table = table
        self.work = work
        self.request = request
        self.runner = runner
        self.report: Callable[[], None] = self._counter(progress)

    def _counter(self, progress: Progress) -> Callable[[], None]:
        total = 1 + (self.request.levels[0] if len(self.request.levels) > 1 else 0)
        done = 0

        def report() -> None:
            nonlocal done
            done += 1
            progress(min(done, total), total, "runs of RELION")

        return report

    def classify(self, rows: Array) -> Labelling:
        """Labels and probabilities (0 for other rows of the table), and the classes."""
        size = self.table.rows
        labelling = Labelling(np.zeros(size, np.int32), np.zeros(size), [])
        self._write_table(self.work, rows)
        reference = self.runner.options.reference or self._reference()
        self._descend(self.work, reference, rows, level=0, first=1, labelling=labelling)
        return labelling

    def _descend(
        self,
        here: Path,
        reference: Path,
        members: Array,
        *,
        level: int,
        first: int,
        labelling: Labelling,
    ) -> None:
        """Classify some rows, and split every class again where a level is left.

        ``first`` is the lowest number that a class of these rows can have.
        """
        levels = self.request.levels
        result = self._run(here, reference, members, level)
        span = math.prod(levels[level + 1 :])
        for index, path in enumerate(result.maps):
            chosen = result.classes == index + 1
            inside, number = members[chosen], first + index * span
            if not len(inside):
                continue
            if level + 1 < len(levels) and parts_of(len(inside), levels[level + 1]) > 1:
                below = here / f"class{index + 1:03d}"
                self._write_table(below, inside)
                self._descend(
                    below, path, inside, level=level + 1, first=number, labelling=labelling
                )
                continue
            labelling.labels[inside] = number
            labelling.probabilities[inside] = result.probabilities[chosen]
            parent = (number - 1) // levels[-1] + 1 if len(levels) > 1 else 0
            resolution = result.resolutions[index]
            labelling.classes.append(RelionClass(number, parent, len(inside), resolution, path))

    def _write_table(self, here: Path, rows: Array) -> None:
        """Write the table of a run; what an older one made of other rows is removed before."""
        path, fresh = here / "particles.star", here / "particles_new.star"
        here.mkdir(parents=True, exist_ok=True)
        self.table.write_with_columns(fresh, {ROW_COLUMN: rows + 1}, rows=rows)
        if path.is_file() and not filecmp.cmp(path, fresh, shallow=False):
            logger.info("%s held other particles: its run is done anew", path)
            remove_run(here / "run")
            (here / REFERENCE).unlink(missing_ok=True)
        fresh.replace(path)

    def _reference(self) -> Path:
        return self.runner.reconstruct(self.work / "particles.star", self.work / REFERENCE)

    def _run(self, here: Path, reference: Path, members: Array, level: int) -> RunResult:
        run = make_run(here, reference, self.request, level, self.runner.ranks)
        run = replace(run, classes=parts_of(len(members), run.classes))
        result = self.runner.classify(run, rows=members)
        self.report()
        return result


def _publish(
    table: ParticleTable, rows: Array, folder: Path, iterations: int, labelling: Labelling
) -> Classified:
    """Write the results under the names that both engines share."""
    placed = []
    for one in labelling.classes:
        target = files.class_volume(folder, iterations, one.number)
        with files.atomic_path(target) as temporary:
            shutil.copyfile(one.map, temporary)
        placed.append(replace(one, map=target))
    labels, probabilities = labelling.labels[rows], labelling.probabilities[rows]
    data = table.write_with_columns(
        files.data_table(folder, iterations),
        {"rlnClassNumber": labels, "rlnMaxValueProbDistribution": probabilities.round(6)},
        rows=rows,
    )
    resolutions = [one.resolution if math.isfinite(one.resolution) else 999.0 for one in placed]
    columns = {
        "rlnReferenceImage": [one.map.name for one in placed],
        "rlnClassNumber": [one.number for one in placed],
        "rlnClassDistribution": [one.particles / len(rows) for one in placed],
        "rlnEstimatedResolution": resolutions,
        "ac4dParentClass": [one.parent for one in placed],
        "ac4dParticleCount": [one.particles for one in placed],
    }
    model = write_tables(folder / f"run_it{iterations:03d}_model.star", {"model_classes": columns})
    outputs = (data, model, *(one.map for one in placed))
    return Classified(labels, probabilities, tuple(placed), outputs)
