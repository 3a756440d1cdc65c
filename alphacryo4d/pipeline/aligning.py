"""A run that begins without poses: the consensus refinement before everything else."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from alphacryo4d.core import files
from alphacryo4d.core.errors import InputError, UsageError
from alphacryo4d.core.run_flags import RunFlags
from alphacryo4d.io.star import IMAGE_COLUMN
from alphacryo4d.particles.open import open_table
from alphacryo4d.particles.origins import ANGLES
from alphacryo4d.particles.particle_set import read_particles
from alphacryo4d.particles.stacks import resolve_stack
from alphacryo4d.pipeline.options import PipelineOptions
from alphacryo4d.pipeline.preflight import require_possible
from alphacryo4d.relion.options import ConsensusOptions

logger = logging.getLogger(__name__)

CONSENSUS = "consensus"


def lacks_poses(table: Path) -> bool:
    """Whether a STAR table has no angles, or zeros alone."""
    if table.suffix.lower() == ".cs":
        return False
    opened = open_table(table)
    if any(name not in opened.columns for name in ANGLES):
        return True
    return not any(np.any(values) for values in opened.read(list(ANGLES)).values())


def aligned_table(
    table: Path,
    project: Path,
    options: PipelineOptions,
    *,
    given: Mapping[str, float | None],
    seed: int,
    gpu: str | None,
    flags: RunFlags,
    here: bool,
    dry_run: bool,
) -> Path | None:
    """The table with poses: itself, or that of a consensus refinement in ``project/consensus``.

    Everything that the run would refuse later is refused before the refinement.

    Returns
    -------
    Path or None
        None with ``--dry-run``, where the poses are not there yet.

    Raises
    ------
    UsageError, InputError
        What the refinement or the run would refuse; a cluster, images found from the table's own
        folder alone.
    """
    from alphacryo4d.resample.consensus_stage import plan_consensus, run_consensus
    from alphacryo4d.tools.check import require_sound

    if options.relion.reference is None or not lacks_poses(table):
        return table
    if not here:
        raise UsageError(
            f"{table}: has no poses; find them first: alphacryo4d resample consensus --engine "
            f"native --i {table} --reference {options.relion.reference} --o consensus, and give "
            "its particles.star"
        )
    if any(value is not None for value in given.values()):
        raise UsageError(
            f"{table}: has neither poses nor all optics; write the optics into it first: "
            f"alphacryo4d convert --i {table} --o completed.star with the same options"
        )
    engine = "native" if options.resample.engine == "native" else "relion"
    asked = ConsensusOptions(engine=engine)
    output = project / CONSENSUS
    require_sound(table, need_poses=False)
    _require_images(table, output / files.PARTICLES_STAR)
    particles = read_particles(table, need_poses=False).on_grid(*options.classify.grid)
    require_possible(particles, project, options, gpu=gpu, here=here)
    everything: dict[str, Any] = {"consensus": asked, "relion": options.relion}
    everything |= {"seed": seed, "gpu": gpu, "flags": flags}
    if dry_run:
        text = plan_consensus(table, output, **everything)
        logger.info("%sthe other stages are planned when the poses are there", text)
        return None
    logger.info("== consensus")
    return run_consensus(table, output, **everything)[0]


def _require_images(table: Path, written: Path) -> None:
    """Refuse images that are found from the folder of the table but not from the new one."""
    for name in open_table(table).read_parts([], images=True)[1][IMAGE_COLUMN][1]:
        if resolve_stack(name, written) is None and resolve_stack(name, table) is not None:
            raise InputError(
                f"{table}: {name} is found from the table's folder only; start from that folder, "
                f"or name it: --images-from {table.parent}"
            )
