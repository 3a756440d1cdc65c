"""How long a run takes, what memory and disk it needs, from rates that were measured.

The rates are CPU seconds, memory and files of runs of simulated particles (2,000 to 80,000, boxes
of 32 and 64 pixels, 5 to 40 classes a fold) on two cores; ``docs/choose.md`` has the table. An
estimate is meant to be right within a factor of two; a training ends by itself, so that its time is
that of the epochs that it may take.
"""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from alphacryo4d.core import files
from alphacryo4d.core.errors import ResourceError
from alphacryo4d.core.memory import usable_memory
from alphacryo4d.core.plan import UNCHANGED, Plan
from alphacryo4d.core.progress import format_duration
from alphacryo4d.core.words import plural
from alphacryo4d.deepfeature.devices import require_room_for_training
from alphacryo4d.maths.threads import thread_count
from alphacryo4d.pipeline.need import Need
from alphacryo4d.pipeline.options import PipelineOptions
from alphacryo4d.resample.options import analysis_box

if TYPE_CHECKING:
    from alphacryo4d.particles.particle_set import ParticleSet

GB = 1e9
STATES = 12
"""States where their number is to be found: for the time and the disk of their maps."""
FREE_POSES = 3.0
"""How much longer the images' own poses take than measured ones (85 against 29 CPU s a fold)."""


@dataclass(frozen=True)
class Size:
    """What the needs depend on.

    Attributes
    ----------
    particles, box, analysis : int
        Particles; pixels of their box, and of the analysis box of the volumes.
    batches, folds, classes : int
        Batches, folds of one, classes of a fold.
    states : int
    samples : float
        Fourier samples of an image to the final resolution of the classification.
    epochs : int
        Epochs that the training may take.
    reclassified, finer : float
        Fourier samples of an image to the resolution of the reclassification, and of the particle
        landscape; 0 where there is none.
    """

    particles: int
    box: int
    analysis: int
    batches: int
    folds: int
    classes: int
    states: int
    samples: float
    epochs: int
    reclassified: float = 0.0
    finer: float = 0.0

    @property
    def volumes(self) -> int:
        """Volumes of all folds."""
        return self.batches * self.folds * self.classes

    @property
    def map_gb(self) -> float:
        """GB of one map of the particles' box."""
        return 4 * self.box**3 / GB


def size_of(particles: ParticleSet, options: PipelineOptions) -> Size:
    """Size of a run."""
    classify = options.classify
    side = particles.box * particles.pixel_size
    finest = min(classify.initial_resolution, classify.final_resolution or math.inf)
    again, last = options.reclassify, options.particle_landscape

    def samples(resolution: float) -> float:
        return 0.5 * math.pi * min(side / min(resolution, finest), particles.box / 2 - 1) ** 2

    return Size(
        particles=len(particles),
        box=particles.box,
        analysis=analysis_box(
            options.resample.box, particles.box, particles.pixel_size, classify.initial_resolution
        ),
        batches=max(1, -(-len(particles) // options.resample.batch_size)),
        folds=options.resample.folds + 1,
        classes=math.prod(classify.levels),
        states=options.landscape.states.number or STATES,
        samples=samples(finest),
        epochs=options.deepfeature.train.epochs,
        reclassified=0.0 if again is None else samples(again.final_resolution),
        finer=0.0 if last is None else samples(last.particles.final_resolution),
    )


def _of_resample(size: Size) -> Need:
    """Reading, EM over components and classes of every fold, maps of every class."""
    used = size.batches * size.folds * size.particles / size.batches
    seconds = (
        7.0
        + 1e-7 * size.particles * size.box**2
        + 1.5e-8 * used * size.samples * (size.classes + 12)
        + 2e-6 * size.volumes * size.box**3
    )
    images = 12 * size.particles / size.batches * 0.5 * math.pi * (size.box / 2) ** 2 / GB
    memory = 0.35 + min(images, machine_memory() / 2) + (220 + 12 * size.classes) * size.map_gb
    return Need(seconds, 0.9, memory, size.volumes * (3 * size.map_gb + _analysis_gb(size)))


def _of_deepfeature(size: Size) -> Need:
    """Start of TensorFlow, then a step for every volume and epoch."""
    voxels = size.volumes * size.analysis**3
    seconds = 18.0 + 3.5e-7 * voxels * size.epochs
    return Need(seconds, 0.5, 1.1 + 3 * 4 * voxels / GB, 4 * voxels / 64 / GB)


def _of_landscape(size: Size) -> Need:
    """Distances between all volumes, embedding, path with its bootstrap, figures."""
    seconds = 9.0 + 0.2 * size.volumes
    return Need(seconds, 0.3, 0.5 + 2 * 4 * size.volumes * size.analysis**3 / GB, 0.002)


def _of_vote(size: Size) -> Need:
    """Votes, the held-out test on the images, maps of the states."""
    seconds = 2.0 + 4e-7 * size.particles * size.box**2 + 1e-6 * size.states * size.box**3
    images = min(16 * size.particles * size.samples / GB, machine_memory() / 2)
    return Need(seconds, 0.7, 0.3 + images + 100 * size.map_gb, _states_gb(size))


def _of_reclassify(size: Size) -> Need:
    """Components and states of every fold in at most two rounds, poses, maps of the states."""
    used = size.folds * size.particles
    of_folds = 5.5e-5 * size.batches * size.folds * size.box**3
    # states without the labels of the votes, in both rounds
    search = 1.5e-5 * size.folds * min(size.particles, 20_000 * size.batches) * size.states
    seconds = 10.0 + of_folds + 7e-7 * used * size.reclassified + search
    images = min(78 * size.particles * size.reclassified / GB, machine_memory() / 2)
    disk = _states_gb(size) + _fits_gb(size)
    return Need(seconds, 0.9, 0.35 + images + 300 * size.map_gb, disk)


def _of_particles(size: Size) -> Need:
    """Components of every fold and coordinates of all particles, then their density."""
    need = _of_reclassify(replace(size, reclassified=size.finer))
    density = 40.0 + 6e-4 * min(size.particles, 100_000)
    return replace(need, seconds=1.5 * need.seconds + density, disk=4e-6 * size.particles)


OF_STAGE = {
    files.RESAMPLE: _of_resample,
    files.DEEPFEATURE: _of_deepfeature,
    files.LANDSCAPE: _of_landscape,
    files.VOTE: _of_vote,
    files.RECLASSIFY: _of_reclassify,
    files.PARTICLE_LANDSCAPE: _of_particles,
}


def _analysis_gb(size: Size) -> float:
    return 4 * size.analysis**3 / GB


def _states_gb(size: Size) -> float:
    """Three maps of every state, and the tables of the particles twice."""
    return 3 * size.states * size.map_gb + 2 * 200 * size.particles / GB


def _fits_gb(size: Size) -> float:
    """Mean and 16 components of every fold, on the cube of its grid, of two rounds."""
    cube = 2 * math.sqrt(2 * size.reclassified / math.pi) + 8
    return float(2 * size.batches * size.folds * 17 * 4 * cube**3 / GB)


def machine_memory() -> float:
    """Memory in GB (1e9 bytes) that this process may take; images take half of it, or disk."""
    return usable_memory() / GB


def needs(
    particles: ParticleSet, options: PipelineOptions, plans: list[tuple[str, Plan]]
) -> dict[str, Need]:
    """What every stage that is to be done needs, in order.

    Parameters
    ----------
    particles : ParticleSet
    options : PipelineOptions
    plans : list of (stage, Plan)
        Stages that are unchanged need nothing.
    """
    size = size_of(particles, options)
    return {
        name: replace(need, seconds=need.seconds * _left(name, plan, size))
        for name, plan in plans
        if plan.kind != UNCHANGED
        for need in [OF_STAGE[name](size)]
    }


def _left(name: str, plan: Plan, size: Size) -> float:
    """Fraction of a stage's time that its standing steps leave."""
    if name == files.RESAMPLE:
        standing = sum(step.startswith("batch") for step in plan.standing)
        return max(0.05, 1 - standing / (size.batches * size.folds))
    if name == files.LANDSCAPE and "path" in plan.standing:
        return 0.2
    return 1.0


def require_resources(needed: dict[str, Need], project: Path) -> None:
    """Refuse work that this machine has no memory or disk for.

    Raises
    ------
    ResourceError
    """
    memory = max((need.memory for need in needed.values()), default=0.0)
    if memory > machine_memory():
        raise ResourceError(
            f"about {memory:.1f} GB of memory are needed, {machine_memory():.1f} may be taken "
            "here; give --box, fewer classes or a smaller --batch-size, or take a larger machine"
        )
    if files.DEEPFEATURE in needed:
        require_room_for_training()
    disk, free = sum(need.disk for need in needed.values()), free_disk(project)
    if disk > free:
        raise ResourceError(
            f"{project}: about {disk:.1f} GB of disk are needed, {free:.1f} GB are free; make "
            "room, or take another folder"
        )


def free_disk(folder: Path) -> float:
    """Free disk (GB) where a folder is or will be."""
    place = folder.absolute()
    while not place.is_dir():
        place = place.parent
    return shutil.disk_usage(place).free / GB


def estimate_lines(
    particles: ParticleSet,
    options: PipelineOptions,
    plans: list[tuple[str, Plan]],
    project: Path,
    threads: int | None,
) -> list[str]:
    """Size of the work, and time, memory and disk that it needs, for people."""
    size, count = size_of(particles, options), thread_count(threads)
    needed = needs(particles, options, plans)
    batches = plural(size.batches, "batch", "batches")
    classes = plural(size.classes, "class", "classes")
    lines = [
        f"{size.particles:,} particles of {size.box} px, {particles.pixel_size:.3g} A: {batches}, "
        f"{size.folds} folds each, {classes} a fold; analysis box {size.analysis} px"
    ]
    if not needed or options.resample.engine == "relion":
        return lines
    walls = {name: need.wall(count) for name, need in needed.items()}
    shown = ", ".join(f"{name} {format_duration(seconds)}" for name, seconds in walls.items())
    lines.append(
        f"about, on {plural(count, 'thread')}: {shown}; together "
        f"{format_duration(sum(walls.values()))}, within a factor of two"
    )
    if files.RECLASSIFY in walls:
        longer = format_duration(FREE_POSES * walls[files.RECLASSIFY])
        lines.append(f"reclassify, where a refinement has fitted the poses: up to {longer}")
    memory = max(need.memory for need in needed.values())
    disk = sum(need.disk for need in needed.values())
    lines.append(
        f"peak memory about {memory:.1f} GB of {machine_memory():.0f}; disk about {disk:.2f} GB of "
        f"{free_disk(project):.0f} free"
    )
    return lines
