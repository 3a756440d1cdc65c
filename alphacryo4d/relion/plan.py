"""What a classification by RELION will run: the request, its runs, and the ``--dry-run``."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from alphacryo4d.core import files
from alphacryo4d.relion.commands import Classification, class3d_command, reconstruct_command
from alphacryo4d.relion.launching import relion_lines
from alphacryo4d.relion.options import RelionOptions
from alphacryo4d.relion.version import installed_version

SMALLEST_CLASS = 10
"""A class is split into fewer parts where they would hold fewer particles than this."""


@dataclass(frozen=True)
class Request:
    """What both engines are asked for.

    Attributes
    ----------
    levels : tuple of int
        Classes, level by level: ``(20,)`` or ``(5, 8)``.
    iterations, seed : int
        Iterations of every run, and random seed.
    limit_resolution : float
        Angstrom.
    particle_diameter : float or None
        Angstrom.
    mask : Path or None
        Solvent mask.
    """

    levels: tuple[int, ...]
    iterations: int = 25
    limit_resolution: float = 15.0
    particle_diameter: float | None = None
    mask: Path | None = None
    seed: int = 0


def parts_of(count: int, wanted: int) -> int:
    """Parts that a class of ``count`` particles is split into."""
    return max(1, min(wanted, count // SMALLEST_CLASS))


def plan_commands(
    folder: Path, request: Request, options: RelionOptions, *, ranks: int = 1
) -> list[list[str]]:
    """Every command of a classification, in order, for ``--dry-run``; nothing is read or run.

    How many classes of a first level can be split is known only afterwards: all are shown.
    """
    version = installed_version()
    request = replace(request, mask=request.mask or options.mask)
    work = folder / "relion"
    commands = []
    reference = options.reference
    if reference is None:
        reference = work / "reference.mrc"
        commands.append(
            reconstruct_command(
                work / "particles.star",
                reference,
                symmetry=options.symmetry,
                ranks=ranks,
                launcher=options.mpi_launcher,
            )
        )

    def add(here: Path, start: Path, level: int) -> None:
        run = make_run(here, start, request, level, ranks)
        commands.append(class3d_command(run, options, version=version))
        if level + 1 < len(request.levels):
            for number in range(1, request.levels[level] + 1):
                parent = files.class_volume(here, request.iterations, number)
                add(here / f"class{number:03d}", parent, level + 1)

    add(work, reference, 0)
    return commands


def make_run(
    here: Path, reference: Path, request: Request, level: int, ranks: int
) -> Classification:
    """One run of a level in its folder ``here``."""
    return Classification(
        table=here / "particles.star",
        root=here / "run",
        reference=reference,
        classes=request.levels[level],
        iterations=request.iterations,
        limit_resolution=request.limit_resolution,
        particle_diameter=request.particle_diameter,
        mask=request.mask,
        ranks=ranks,
        seed=request.seed,
    )


def default_ranks(options: RelionOptions, threads: int | None) -> int:
    """MPI ranks: as asked, or one more than threads, since the first only leads."""
    if options.ranks is not None:
        return options.ranks
    cores = threads or len(os.sched_getaffinity(0))
    return 1 if cores == 1 else cores + 1


def dry_run_text(
    folder: Path, request: Request, options: RelionOptions, *, threads: int | None
) -> str:
    """Commands of a classification as text for ``--dry-run``."""
    ranks = default_ranks(options, threads)
    return relion_lines(plan_commands(folder, request, options, ranks=ranks))
