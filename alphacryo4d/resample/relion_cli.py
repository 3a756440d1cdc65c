"""``alphacryo4d resample consensus``, ``align`` and ``collect``."""

from __future__ import annotations

import logging
from dataclasses import fields
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from alphacryo4d.core.errors import InputError, UsageError
from alphacryo4d.core.help import HelpCommand
from alphacryo4d.core.options import (
    CONTEXT,
    PATH,
    answer,
    build_settings,
    gpu_option,
    images_option,
    input_option,
    job_options,
    max_time_option,
    output_option,
    settings_options,
    take_flags,
    threads_option,
)
from alphacryo4d.core.words import plural
from alphacryo4d.relion.options import ConsensusOptions, RelionOptions
from alphacryo4d.resample.align_options import AlignOptions

logger = logging.getLogger(__name__)

_BOTH_ENGINES = {"reference", "symmetry", "initial_lowpass", "mask"}
_OF_RELION = {field.name for field in fields(RelionOptions)} - _BOTH_ENGINES
_OF_RELION |= {"healpix_order", "offset_step", "gpu"}
_OF_NATIVE = {"search"}
"""Options of ``resample consensus`` that one engine alone has."""


def _refuse_options_of_the_other_engine(consensus: ConsensusOptions) -> None:
    """Refuse what was given on the command line and would not be used."""
    other = "native" if consensus.engine == "relion" else "relion"
    names = _OF_NATIVE if other == "native" else _OF_RELION
    context = click.get_current_context()
    for option in context.command.params:
        source = context.get_parameter_source(option.name or "")
        if option.name in names and source is ParameterSource.COMMANDLINE:
            raise UsageError(f"{option.opts[0]} is for --engine {other}; leave it out")


@click.command("consensus", cls=HelpCommand, context_settings=CONTEXT)
@input_option("Particle table.")
@output_option("Folder for particles.star with poses, and the consensus maps.")
@settings_options(ConsensusOptions)
@settings_options(RelionOptions, leave_out=("initial_lowpass", "mask"))
@images_option
@threads_option
@gpu_option
@max_time_option
@job_options
def consensus_command(
    input_path: Path,
    output_path: Path,
    dry_run: bool,
    as_json: bool,
    **values: Any,
) -> None:
    """One pose for every particle, by RELION's 3D auto-refinement, or by our own engine.

    --engine native needs no RELION: it finds poses from a map and nothing else, or refines rough
    ones.
    With --models 2 or more, a coarse classification with alignment to several consensus models.
    With --keep-poses, the poses of the table are checked and taken.
    """
    from alphacryo4d.resample.consensus_stage import plan_consensus, run_consensus

    consensus = build_settings(ConsensusOptions, values)
    relion = build_settings(RelionOptions, values)
    if not consensus.keep_poses:
        _refuse_options_of_the_other_engine(consensus)
    asked = {"consensus": consensus, "relion": relion, "flags": take_flags(values), **values}
    if dry_run:
        text = plan_consensus(input_path, output_path, **asked)
        click.echo(text, nl=False)
        return
    answer(run_consensus(input_path, output_path, **asked), as_json=as_json)


@click.command("align", cls=HelpCommand, context_settings=CONTEXT)
@click.argument("maps", nargs=-1, type=PATH)
@click.option("--i", "--input", "input_path", type=PATH, help="Folder of maps, instead of MAPS.")
@output_option("Folder for the aligned maps and motions.csv.")
@click.option("--reference", type=PATH, help="Map that gives the frame; by default their mean.")
@settings_options(AlignOptions)
@threads_option
@job_options
def align_command(
    maps: tuple[Path, ...],
    input_path: Path | None,
    output_path: Path,
    reference: Path | None,
    dry_run: bool,
    as_json: bool,
    **values: Any,
) -> None:
    """Bring maps into one frame: rotation and translation, to a reference or to their mean.

    Maps that are aligned already stay as they are.
    """
    from alphacryo4d.resample.align_stage import run_align

    chosen = list(maps)
    if input_path is not None:
        inside = sorted(input_path.glob("*.mrc")) if input_path.is_dir() else [input_path]
        if not inside:
            raise InputError(f"{input_path}: holds no maps (*.mrc)")
        chosen += inside
    if not chosen:
        raise UsageError("give maps, or a folder of maps with --i")
    options = build_settings(AlignOptions, values)
    if dry_run:
        logger.info("would align %s to %s", plural(len(chosen), "map"), reference or "their mean")
        return
    flags = take_flags(values)
    results = run_align(chosen, output_path, options=options, reference=reference, flags=flags)
    answer(results, as_json=as_json)


@click.command("collect", cls=HelpCommand, context_settings=CONTEXT)
@input_option("Table of all particles.")
@output_option("Folder of the stage.")
@click.option(
    "--maps", "maps", type=PATH, required=True,
    help="Folder of maps with a STAR file each, named like u123_b1_c001.mrc and .star.",
)  # fmt: skip
@click.option("--box", type=click.IntRange(min=8), help="Common box in pixels.")
@job_options
def collect_command(
    input_path: Path,
    output_path: Path,
    maps: Path,
    box: int | None,
    dry_run: bool,
    as_json: bool,
    **values: Any,
) -> None:
    """Take maps from elsewhere: volumes.star, volumes.npy and assignments.npy."""
    from alphacryo4d.resample.collect_stage import find_maps, run_collect

    if dry_run:
        for one in find_maps(maps):
            click.echo(one.path)
        return
    results = run_collect(input_path, maps, output_path, box=box, flags=take_flags(values))
    answer(results, as_json=as_json)
