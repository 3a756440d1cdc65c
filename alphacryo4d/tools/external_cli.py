"""``alphacryo4d external``: the whole method as an External job of RELION."""

from __future__ import annotations

from pathlib import Path

import click

from alphacryo4d.core.errors import UsageError
from alphacryo4d.core.options import CONTEXT, output_option, threads_option


@click.command(
    context_settings={**CONTEXT, "ignore_unknown_options": True, "allow_extra_args": True}
)
@output_option("Folder of the job, External/job001/ (RELION gives it).")
@click.option("--in-parts", type=click.Path(path_type=Path), help="Particles (RELION gives it).")
@click.option("--in-mask", type=click.Path(path_type=Path), help="Mask (RELION gives it).")
@click.option("--in-3dref", "in_map", type=click.Path(path_type=Path), help="Reference map.")
@click.option("--in-mov", "in_movies", hidden=True)
@click.option("--in-mic", "in_micrographs", hidden=True)
@click.option("--in-coords", "in_coordinates", hidden=True)
@click.option("--pipeline-control", "control", hidden=True)
@threads_option
@click.pass_context
def external(
    context: click.Context,
    /,
    output_path: Path,
    in_parts: Path | None,
    in_mask: Path | None,
    in_map: Path | None,
    in_movies: str | None,
    in_micrographs: str | None,
    in_coordinates: str | None,
    control: str | None,
    threads: int | None,
) -> None:
    """The whole method as an External job of RELION.

    In RELION's External tab take `alphacryo4d external` as the executable, a particles.star as
    input, and options of `alphacryo4d run` as parameters, such as classes = 5x8 or states = 20.
    The particles of every state and their maps become nodes that further jobs can take: those of
    the reclassification with the parameter reclassify.
    """
    del control
    from alphacryo4d.tools.external import (
        external_job,
        output_nodes,
        relion_version,
        write_output_nodes,
    )

    with external_job(output_path):
        if in_parts is None:
            raise UsageError("--in_parts is missing: give a particles.star as input of the job")
        if in_movies or in_micrographs or in_coordinates:
            raise UsageError("only particles, a mask and a reference map can be used as input")
        words = run_words(context.args, output_path, in_parts, in_mask, in_map, threads)
        nodes = output_nodes(output_path, reclassified=_run(words))
        write_output_nodes(output_path, nodes, version=relion_version())
    for path, _ in nodes:
        click.echo(path)


def run_words(
    extra: list[str],
    folder: Path,
    particles: Path,
    mask: Path | None = None,
    reference: Path | None = None,
    threads: int | None = None,
) -> list[str]:
    """Command line of ``alphacryo4d run`` for a call by RELION.

    An empty value, which RELION passes for a parameter without one, is left out, so that flags can
    be given by their name alone.
    """
    words = [word for word in extra if word.strip()]
    if mask is not None:
        words += ["--mask", str(mask)]
    if reference is not None:
        words += ["--reference", str(reference)]
    if threads is not None:
        words += ["--j", str(threads)]
    return [*words, "--i", str(particles), "--o", str(folder)]


def _run(words: list[str]) -> bool:
    """Do what ``alphacryo4d run`` does; whether it was asked to reclassify."""
    from alphacryo4d.core.job import read_job
    from alphacryo4d.pipeline.cli import run

    folder = Path(words[-1])
    record = read_job(folder)
    if record is not None and record.get("status") != "done" and "--overwrite" not in words:
        words = [*words, "--continue"]
    with run.make_context("alphacryo4d run", list(words)) as context:
        run.invoke(context)
        return bool(context.params["reclassify"])
