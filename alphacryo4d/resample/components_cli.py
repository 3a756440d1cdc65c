"""``alphacryo4d resample components``."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import click

from alphacryo4d.core.help import HelpCommand
from alphacryo4d.core.options import (
    CONTEXT,
    answer,
    build_settings,
    images_option,
    input_option,
    job_options,
    max_time_option,
    memory_option,
    output_option,
    scratch_option,
    settings_options,
    take_flags,
    threads_option,
)
from alphacryo4d.core.words import plural
from alphacryo4d.ml3d.options import ClassifyOptions
from alphacryo4d.relion.options import RelionOptions

logger = logging.getLogger(__name__)


@click.command("components", cls=HelpCommand, context_settings=CONTEXT)
@input_option("Particle table with poses.")
@output_option("Folder for the maps and the coordinates.")
@settings_options(
    ClassifyOptions,
    only=(
        *("initial_resolution", "final_resolution", "components", "component_iterations"),
        *("final_component_iterations", "noise_groups", "mask_diameter"),
        *("normalise", "output_box", "voxel_size"),
    ),
)
@settings_options(RelionOptions, only=("mask", "symmetry"))
@images_option
@threads_option
@memory_option
@scratch_option
@max_time_option
@job_options
def components_command(input_path: Path, output_path: Path, **values: Any) -> None:
    """Principal components of the particles (probabilistic PCA): maps and coordinates."""
    from alphacryo4d.resample.components_stage import run_components

    classify = build_settings(ClassifyOptions, values)
    if values["dry_run"]:
        logger.info("would find %s of %s", plural(classify.components, "component"), input_path)
        return
    results = run_components(
        input_path,
        output_path,
        classify=classify,
        relion=build_settings(RelionOptions, values),
        flags=take_flags(values),
        **{name: values[name] for name in ("seed", "memory", "scratch")},
    )
    answer(results, as_json=values["as_json"])
