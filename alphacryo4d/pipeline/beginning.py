"""What comes before the stages of a run: poses that are found or refined first, and checks."""

from __future__ import annotations

import logging
from pathlib import Path

from alphacryo4d.core.foresight import require_writable
from alphacryo4d.core.job import read_job
from alphacryo4d.core.plan import require_stage
from alphacryo4d.core.run_flags import RunFlags
from alphacryo4d.particles.views import asked
from alphacryo4d.pipeline.aligning import aligned_table, lacks_poses
from alphacryo4d.pipeline.fitted_poses import (
    began_realigned,
    foreseen_judgement,
    looks_at_poses,
    worth_realigning,
)
from alphacryo4d.pipeline.options import PipelineOptions
from alphacryo4d.pipeline.outlook import Outlook
from alphacryo4d.tools.check import require_sound
from alphacryo4d.tools.convert_fill import completed_input

logger = logging.getLogger(__name__)


def outlook_of(
    table: Path,
    project: Path,
    options: PipelineOptions,
    *,
    realign: bool | None,
    given: dict[str, float | None],
    seed: int,
    gpu: str | None,
    flags: RunFlags,
    here: bool,
    dry_run: bool,
) -> Outlook | None:
    """The run seen beforehand, checked, its poses found or refined; None where they are not yet.

    Parameters
    ----------
    table, project, options, given, seed, gpu, flags, here, dry_run
        As :func:`aligned_table` takes them.
    realign : bool, optional
        Poses that are there are refined; by default where it is worth it.
    """
    require_stage(project, read_job(project), "run")

    def begun(realign: bool) -> Outlook | None:
        posed = aligned_table(
            table, project, options, realign=realign, given=given, seed=seed, gpu=gpu,
            flags=flags, here=here, dry_run=dry_run,
        )  # fmt: skip
        if posed is None:
            return None
        return _checked(
            posed, project, options, seed, gpu=gpu, given=given, overwrite=flags.overwrite,
            dry_run=dry_run, here=here,
        )  # fmt: skip

    free = realign is None and here
    again = free and not flags.overwrite and began_realigned(project)
    outlook = begun(bool(realign) or again)
    _say_unused_reference(table, options)
    if outlook is None or outlook.particles is None or again or not free:
        return outlook
    if outlook.table != table:  # poses were found, or optics filled in
        return outlook
    if dry_run:
        if looks_at_poses(outlook.particles, project, options, given=given, flags=flags):
            outlook.first = foreseen_judgement(outlook.particles, flags.threads)
        return outlook
    asked = outlook.options
    worth = worth_realigning(outlook.particles, project, asked, given=given, flags=flags)
    return begun(True) if worth else outlook


def _say_unused_reference(table: Path, options: PipelineOptions) -> None:
    """Say that a reference is for particles without poses, where all of these have one."""
    reference = options.relion.reference
    native = options.resample.engine == "native"
    if reference is not None and native and not lacks_poses(table):
        logger.info(
            "--reference %s is not used: %s has poses, and poses that are refined start from the "
            "map that they give", reference, table,
        )  # fmt: skip


def _checked(
    table: Path,
    project: Path,
    options: PipelineOptions,
    seed: int,
    *,
    gpu: str | None,
    given: dict[str, float | None],
    overwrite: bool,
    dry_run: bool,
    here: bool,
) -> Outlook:
    """Check everything that a run needs; the table is completed where optics are given."""
    normalise = asked(options.classify.normalise, options.resample.engine)
    require_sound(table, given=given, normalise=normalise)
    if (read_job(project) or {}).get("status") != "done":  # a finished one may only be looked at
        require_writable(project)
    if not dry_run:
        table = completed_input(table, project, given)
    outlook = Outlook(table, project, options, seed, overwrite=overwrite)
    outlook.check(gpu, given if dry_run else {}, here=here)
    return outlook
