"""Checks before any work: what the stages would refuse later, and what the machine has not."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from alphacryo4d.core.errors import AlphaCryo4DError, InputError, UsageError
from alphacryo4d.core.foresight import require_writable
from alphacryo4d.core.words import plural
from alphacryo4d.io.mrc import read_volume
from alphacryo4d.ml3d.options import ClassifyOptions
from alphacryo4d.pipeline.options import PipelineOptions
from alphacryo4d.relion.options import RelionOptions
from alphacryo4d.resample.options import ResampleOptions, analysis_box

if TYPE_CHECKING:
    from alphacryo4d.particles.particle_set import ParticleSet

logger = logging.getLogger(__name__)

SLACK = 0.98
"""Fraction of the resolution at Nyquist from which a limit is called finer than it."""


def require_possible(
    particles: ParticleSet,
    output: Path,
    options: PipelineOptions,
    *,
    gpu: str | None = None,
    here: bool = True,
) -> None:
    """Refuse what the run would refuse later, all faults at once.

    Parameters
    ----------
    particles : ParticleSet
        The input; no image is read.
    output : Path
        Project folder.
    options : PipelineOptions
    gpu : str, optional
        ``--gpu``; of the training alone.
    here : bool
        The work is done on this machine, whose programs and GPUs count.

    Raises
    ------
    UsageError, InputError, MissingProgramError, ResourceError
        The kind of the first fault; the message has all of them, one a line.
    """
    resample, classify, relion = options.resample, options.classify, options.relion
    checks: list[Callable[[], object]] = [
        lambda: require_writable(output),
        lambda: require_resample(particles, resample, classify, relion, here=here),
        lambda: _require_states(options),
        lambda: _require_gpu(gpu, here),
    ]
    raise_all(checks)


def require_resample(
    particles: ParticleSet,
    resample: ResampleOptions,
    classify: ClassifyOptions,
    relion: RelionOptions,
    *,
    gpu: str | None = None,
    here: bool = True,
) -> None:
    """Refuse what the resample stage would refuse later, all faults at once."""
    checks = list(_resample_checks(particles, resample, classify, relion))
    if resample.engine == "relion":
        checks.append(lambda: _require_relion(classify, gpu, here))
    raise_all(checks)


def _resample_checks(
    particles: ParticleSet,
    resample: ResampleOptions,
    classify: ClassifyOptions,
    relion: RelionOptions,
) -> Iterator[Callable[[], object]]:
    from alphacryo4d.maths.symmetry import symmetry_rotations
    from alphacryo4d.relion.preflight import check_map
    from alphacryo4d.resample.subsets import require_classes

    yield lambda: symmetry_rotations(relion.symmetry)
    yield lambda: _require_resolution(particles, classify)
    yield lambda: analysis_box(
        resample.box, particles.box, particles.pixel_size, classify.initial_resolution
    )
    smallest = len(particles) // max(1, -(-len(particles) // resample.batch_size))
    smallest -= -(-smallest // (resample.folds + 1))
    yield lambda: require_classes(smallest, classify.levels, resample.minimum_class_size)
    for path, what in ((relion.mask, "mask"), (classify.focus_mask, "focus mask")):
        if path is not None:
            yield partial(check_map, path, particles, what=what, is_mask=True)
    if relion.reference is not None:  # its box is looked at where it is used
        yield partial(read_volume, relion.reference)
    yield lambda: _require_diameter(particles, classify)


def raise_all(checks: list[Callable[[], object]]) -> None:
    """Make all checks; raise what they found as one error of the first one's kind."""
    faults: list[AlphaCryo4DError] = []
    for check in checks:
        try:
            check()
        except AlphaCryo4DError as fault:
            faults.append(fault)
    if faults:
        raise type(faults[0])("\n".join(str(fault) for fault in faults))


def _require_resolution(particles: ParticleSet, classify: ClassifyOptions) -> None:
    """Refuse limits finer than Nyquist; the default of the last iterations follows the pixel."""
    nyquist = 2 * particles.pixel_size
    default = ClassifyOptions.__dataclass_fields__["final_resolution"].default
    for name in ("initial_resolution", "final_resolution"):
        value = getattr(classify, name)
        if (
            value
            and value < SLACK * nyquist
            and not (name.startswith("final") and value == default)
        ):
            raise UsageError(
                f"--{name.replace('_', '-')} {value:g}: finer than Nyquist of these particles, "
                f"2 x {particles.pixel_size:g} A = {nyquist:g} A; give a coarser limit, or images "
                "of smaller pixels"
            )


def _require_diameter(particles: ParticleSet, classify: ClassifyOptions) -> None:
    side = particles.box * particles.pixel_size
    if classify.mask_diameter is not None and classify.mask_diameter > side:
        raise UsageError(
            f"--mask-diameter {classify.mask_diameter:g}: larger than the box, {particles.box} px "
            f"of {particles.pixel_size:g} A = {side:g} A"
        )


def _require_relion(classify: ClassifyOptions, gpu: str | None, here: bool) -> None:
    from alphacryo4d.relion.options import refuse_gpu_without_alignment
    from alphacryo4d.relion.version import installed_version
    from alphacryo4d.resample.engines_stage import refuse_native_options

    refuse_native_options(classify)
    refuse_gpu_without_alignment(gpu)
    if here:
        installed_version()


def _require_states(options: PipelineOptions) -> None:
    """Refuse more states than a fold has classes, centres that are not there, votes too many."""
    import math

    from alphacryo4d.landscape.options import CENTERS, DENSITY
    from alphacryo4d.voting.options import votes_needed

    states, classes = options.landscape.states, math.prod(options.classify.levels)
    if states.number is not None and states.number > classes:
        raise UsageError(
            f"--states {states.number}: more than the {classes} classes of a fold, which cannot "
            f"tell so many; give --classes {states.number} or more, or fewer states"
        )
    if states.centers == DENSITY:
        raise UsageError(
            "--centers density: `run` makes the density of particles last, from the states of the "
            "vote; take another, and then `vote density`, or `landscape --centers density`"
        )
    if states.centers not in CENTERS and not Path(states.centers).is_file():
        raise InputError(f"--centers {states.centers}: no such file")
    votes_needed(options.vote.threshold, options.resample.folds)


def _require_gpu(gpu: str | None, on_this_machine: bool) -> None:
    """Refuse ids that are none; say where there is no such GPU."""
    from alphacryo4d.deepfeature.devices import parse_gpus

    wanted = parse_gpus(gpu)
    here = len(list(Path("/dev").glob("nvidia[0-9]*")))
    if on_this_machine and wanted and max(wanted) >= here:
        logger.info(
            "--gpu %s: this machine has %s; what is not there is done on the CPU",
            gpu,
            plural(here, "GPU") if here else "no GPU",
        )
