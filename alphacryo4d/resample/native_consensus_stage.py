"""``resample consensus --engine native``: poses of all particles by our own refinement."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from alphacryo4d.core import files
from alphacryo4d.core.arrays import Array
from alphacryo4d.core.errors import InputError, UsageError
from alphacryo4d.core.memory import half_of_memory
from alphacryo4d.core.progress import show_progress
from alphacryo4d.core.run_flags import RunFlags
from alphacryo4d.io.mrc import read_volume, write_volume
from alphacryo4d.particles.copies import half_sets
from alphacryo4d.particles.origins import ANGLES
from alphacryo4d.particles.particle_set import ParticleSet, read_particles
from alphacryo4d.particles.refined import write_refined_poses
from alphacryo4d.particles.samples import prepare_rows
from alphacryo4d.reconstruction.map_stage import write_curves
from alphacryo4d.relion.options import ConsensusOptions, RelionOptions
from alphacryo4d.relion.preflight import check_map
from alphacryo4d.resample.native_stage import FoldCheckpoint

if TYPE_CHECKING:
    from alphacryo4d.alignment.outcome import Consensus
    from alphacryo4d.ml3d.images import PreparedImages

logger = logging.getLogger(__name__)

CHECKPOINT = ".consensus.npz"
_LOCAL_REACH = 2.0
_CLASSES = 8
"""Classes of the last search where all orientations are searched."""


@dataclass(frozen=True)
class Plan:
    """What is aligned to what.

    Attributes
    ----------
    particles : ParticleSet
    everywhere : bool
        All orientations are searched, not only those around the poses that are given.
    """

    particles: ParticleSet
    everywhere: bool

    def classes(self, consensus: ConsensusOptions) -> int:
        """Classes of the last search."""
        return consensus.models or (_CLASSES if self.everywhere else 1)

    def words(self, consensus: ConsensusOptions, relion: RelionOptions) -> str:
        """For ``--dry-run``."""
        if consensus.search == "near":
            return (
                f"would climb from the poses of {len(self.particles)} particles of "
                f"{self.particles.box} px, against the map that they give, half-sets apart"
            )
        where = "all orientations" if self.everywhere else "orientations around those given"
        start = relion.reference or "the map of the poses given"
        classes = self.classes(consensus)
        last = f", then against {classes} classes" if classes > 1 else ""
        return (
            f"would search {where} of {len(self.particles)} particles of {self.particles.box} px, "
            f"from {start} at {consensus.initial_lowpass:g} A, half-sets apart{last}"
        )


def native_plan(table: Path, consensus: ConsensusOptions, relion: RelionOptions) -> Plan:
    """Check everything before the work.

    Raises
    ------
    UsageError, InputError
        No poses and no reference, maps that do not fit.
    """
    particles = read_particles(table, need_poses=False)
    posed = all(name in particles.table.columns for name in ANGLES) and bool(particles.angles.any())
    everywhere = consensus.search == "global" or (consensus.search == "auto" and not posed)
    if not posed and not everywhere:
        raise InputError(f"{table}: has no poses to search around; take --search global")
    if not posed and relion.reference is None:
        raise UsageError(
            f"{table}: has no poses, so a map to start from is needed: --reference MAP (it is "
            "filtered to --initial-lowpass first)"
        )
    if consensus.search == "near" and relion.reference is not None:
        raise UsageError("--search near starts from the map of the poses given, not --reference")
    for path, what in ((relion.reference, "reference"), (consensus.mask, "mask")):
        if path is not None:
            check_map(path, particles, what=what, is_mask=what == "mask")
    return Plan(particles, everywhere)


def align_natively(
    table: Path,
    output: Path,
    consensus: ConsensusOptions,
    relion: RelionOptions,
    flags: RunFlags,
) -> list[Path]:
    """Align all particles; returns ``particles.star`` with the poses, and the maps."""
    from alphacryo4d.alignment.consensus import find_consensus
    from alphacryo4d.alignment.outcome import Search
    from alphacryo4d.maths.threads import thread_count

    plan = native_plan(table, consensus, relion)
    particles = plan.particles
    asked = Search(
        plan.everywhere,
        near=consensus.search == "near",
        reach=consensus.offset_range if plan.everywhere else _LOCAL_REACH,
        classes=plan.classes(consensus),
        most_iterations=consensus.iterations,
        resolution=consensus.limit_resolution,
        initial=consensus.initial_lowpass,
        diameter=consensus.particle_diameter,
    )
    checkpoint = FoldCheckpoint(output / CHECKPOINT)
    if flags.overwrite:
        checkpoint.remove()
    with show_progress("read images") as progress:
        images = prepare_rows(
            particles, np.arange(len(particles)), None, symmetry=relion.symmetry,
            normalise="auto", diameter=consensus.particle_diameter, threads=flags.threads,
            memory=half_of_memory(), scratch=output / "scratch", progress=progress,
        )  # fmt: skip
    subsets = half_sets(particles)
    with show_progress("align", foresees=not plan.everywhere) as progress:
        alignment = find_consensus(
            images, subsets, asked,
            reference=None if relion.reference is None else read_volume(relion.reference)[0],
            mask=None if consensus.mask is None else read_volume(consensus.mask)[0],
            workers=thread_count(flags.threads), progress=progress, check=flags.deadline.check,
            checkpoint=checkpoint,
        )  # fmt: skip
    outputs = _written(output, plan, images, subsets, alignment)
    checkpoint.remove()
    return outputs


def _written(
    output: Path,
    plan: Plan,
    images: PreparedImages,
    subsets: Array,
    consensus: Consensus,
) -> list[Path]:
    from alphacryo4d.alignment.outcome import changes_of

    particles, voxel = plan.particles, images.pixel_size
    turned, moved = changes_of(images, consensus)
    subset = {"rlnRandomSubset": np.asarray(subsets, np.int64) + 1}
    more = subset if particles.random_subset is None else {}
    report: dict[str, Any] = {
        "everywhere": plan.everywhere,
        "halves_from_common_poses": bool(more) and not plan.everywhere,
        "resolution": round(float(consensus.curves.resolution), 2),
        "angle_error": round(consensus.angle_error, 3),
        "shift_error": round(consensus.shift_error, 3),
        "iterations": [{k: round(v, 4) for k, v in entry.items()} for entry in consensus.log],
    }
    common = more and not plan.everywhere  # halves that were drawn here, from poses of one map
    logger.info(
        "consensus at %.2f A (FSC 0.143 of half-sets that were aligned apart%s); poses of the "
        "right optimum are sure to %.2f degrees and %.2f A an axis",
        consensus.curves.resolution, ", from common poses: optimistic" if common else "",
        consensus.angle_error, consensus.shift_error,
    )  # fmt: skip
    table = output / files.PARTICLES_STAR
    return [
        write_refined_poses(particles, turned, moved, table, more=more),
        write_volume(output / "consensus.mrc", consensus.volume, voxel),
        write_volume(output / "consensus_half1_unfil.mrc", consensus.half_maps[0], voxel),
        write_volume(output / "consensus_half2_unfil.mrc", consensus.half_maps[1], voxel),
        write_curves(output / "consensus_fsc.csv", consensus.curves),
        files.write_text(output / files.CONSENSUS_JSON, json.dumps(report, indent=1) + "\n"),
    ]
