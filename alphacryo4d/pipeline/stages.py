"""The stages in order, in one project folder."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from alphacryo4d.core import files
from alphacryo4d.core.errors import NoResultError
from alphacryo4d.core.job import Work, read_job, recorded_inputs, start_record
from alphacryo4d.core.plan import UNCHANGED
from alphacryo4d.core.run_flags import RunFlags
from alphacryo4d.pipeline.landscape import landscape_like
from alphacryo4d.pipeline.options import DEMO, PipelineOptions
from alphacryo4d.pipeline.plan import plan_lines, plan_run

logger = logging.getLogger(__name__)


def run_pipeline(
    table: Path,
    project: Path,
    *,
    options: PipelineOptions,
    seed: int = 0,
    gpu: str | None = None,
    flags: RunFlags = RunFlags(),
) -> list[Path]:
    """Run resample, deepfeature, landscape and vote, and further stages if asked, in one folder.

    Every stage has its own folder and its own ``job.json``; a finished stage with the same options
    and inputs is not done again.

    Parameters
    ----------
    table : Path
        Particle table with consensus poses.
    project : Path
        Project folder.
    options : PipelineOptions
        Options of all stages.
    seed : int
        Random seed of all stages.
    gpu : str, optional
        GPU ids of the training.
    flags : RunFlags, optional

    Returns
    -------
    list of Path
        The main results: particle table, states, figures, and the page last.
    """
    from alphacryo4d.report.stage import page_of_run

    if not flags.overwrite:
        take_table(table, project)
    work = Work("run", asdict(options), (table,), seed)
    plans = plan_run(table, project, options, seed, overwrite=flags.overwrite)
    for line in plan_lines(project, plans):
        logger.info("%s", line)
    stages = _stages(table, project, options, seed, gpu, flags)
    closed = (read_job(project) or {}).get("status") == "done"
    if closed and all(plan.kind == UNCHANGED for _, plan in plans):
        results = _main_results([(name, stage()) for name, stage in stages])
        return [*results, page_of_run(project, again=False)]
    with start_record(project, work) as job:
        made: list[tuple[str, list[Path]]] = []
        for name, stage in stages:
            logger.info("== %s", name)
            made.append((name, stage()))
            if name != stages[-1][0]:
                flags.deadline.check()
        results = [*_main_results(made), page_of_run(project, again=True)]
        job.add_outputs(results)
        return results


def _main_results(made: list[tuple[str, list[Path]]]) -> list[Path]:
    """States of the last stage that makes any, and what is known of single particles."""
    states = [paths for name, paths in made if paths and name != files.PARTICLE_LANDSCAPE][-1]
    return states + dict(made).get(files.PARTICLE_LANDSCAPE, [])


def _late(module: str, name: str, *arguments: Any, **options: Any) -> Callable[[], list[Path]]:
    """Call of a function whose module, with its heavy imports, is loaded when it is called."""

    def call() -> list[Path]:
        function = getattr(importlib.import_module(f"alphacryo4d.{module}"), name)
        results: list[Path] = function(*arguments, **options)
        return results

    return call


def _or_before(reclassify: Callable[[], list[Path]], folder: Path) -> Callable[[], list[Path]]:
    """The reclassification of a run; without a result, what its folder keeps, or the votes."""

    def call() -> list[Path]:
        try:
            return reclassify()
        except NoResultError as error:
            from alphacryo4d.voting.stage import main_outputs

            kept = main_outputs(folder)
            said = "the earlier one is" if kept else "the votes are"
            logger.warning("the reclassification has no result; %s the result (%s)", said, error)
            return kept

    return call


def take_table(table: Path, project: Path) -> None:
    """Put on record where the table of a project is now, if the place on record is gone.

    Nothing happens where the project has another table, or none yet.
    """
    from alphacryo4d.core.identity import same_content
    from alphacryo4d.tools.relocate import find_places, relocate

    resample = project / files.RESAMPLE
    entries = (read_job(resample) or {}).get("inputs", [])
    if entries and not recorded_inputs(resample)[0].is_file() and same_content(entries[0], table):
        relocate(project, find_places(project, None, table))
        logger.info("%s: the table is now %s", project, table)


def _stages(
    table: Path,
    project: Path,
    options: PipelineOptions,
    seed: int,
    gpu: str | None,
    flags: RunFlags,
) -> list[tuple[str, Callable[[], list[Path]]]]:
    """Name and call of every stage."""
    resample, features = project / files.RESAMPLE, project / files.DEEPFEATURE
    landscape, vote, again = (
        project / name for name in (files.LANDSCAPE, files.VOTE, files.RECLASSIFY)
    )
    common: dict[str, Any] = {"seed": seed, "flags": flags}
    calls = {
        files.RESAMPLE: _late(
            "resample.stage", "run_resample", table, resample, options=options.resample,
            classify=options.classify, relion=options.relion, **common,
        ),
        files.DEEPFEATURE: _late(
            "deepfeature.stage", "run_deepfeature", resample, features,
            options=options.deepfeature, gpu=gpu, **common,
        ),
        files.LANDSCAPE: _late(
            "landscape.stage", "run_landscape", resample, features, landscape,
            options=options.landscape, **common,
        ),
        files.VOTE: _late(
            "voting.stage", "run_vote", resample, landscape, vote, options=options.vote,
            make_landscape=landscape_like(landscape, threads=flags.threads), flags=flags,
        ),
    }  # fmt: skip
    if options.reclassify is not None:
        reclassify = _late(
            "reclassify.stage", "run_reclassify", project, again,
            options=options.reclassify, **common,
        )  # fmt: skip
        calls[files.RECLASSIFY] = _or_before(reclassify, again)
    if options.particle_landscape is not None:
        calls[files.PARTICLE_LANDSCAPE] = _late(
            "particle_landscape.stage", "run_particles", project,
            project / files.PARTICLE_LANDSCAPE, options=options.particle_landscape.particles,
            density=options.particle_landscape.density, **common,
        )  # fmt: skip
    return list(calls.items())


def run_part(
    part: str,
    table: Path,
    project: Path,
    *,
    options: PipelineOptions,
    seed: int = 0,
    gpu: str | None = None,
    flags: RunFlags = RunFlags(),
) -> list[Path]:
    """Run one stage of a project, or one fold of a job array, as a cluster does.

    Parameters
    ----------
    part : str
        ``fold`` or the name of a stage; the last stage also closes the record of the run.
    table, project, options, seed, gpu, flags
        As for :func:`run_pipeline`.
    """
    if part == files.VOTE:
        return run_pipeline(table, project, options=options, seed=seed, gpu=gpu, flags=flags)
    if part == "fold":
        from alphacryo4d.pipeline.submit import array_index
        from alphacryo4d.resample.elements_stage import run_element
        from alphacryo4d.resample.plan_stage import ResamplePlan

        return run_element(
            table,
            project / files.RESAMPLE,
            ResamplePlan(options.resample, options.classify, options.relion, seed),
            array_index(),
            flags=flags,
        )
    return dict(_stages(table, project, options, seed, gpu, flags))[part]()


def run_demo(
    folder: Path,
    *,
    seed: int = 0,
    gpu: str | None = None,
    flags: RunFlags = RunFlags(),
) -> tuple[dict[str, Any], dict[str, Any] | None, list[Path]]:
    """Simulate a hinge protein in 8 states, run all stages on it, and score the results.

    Parameters
    ----------
    folder : Path
        Output folder: ``data`` (particles and truth) and ``project``.
    seed : int
        Random seed of the data and of the run.
    gpu : str, optional
        GPU ids of the training.
    flags : RunFlags, optional

    Returns
    -------
    dict, dict or None, list of Path
        The scores of the votes and of the reclassification, with one row a state (None where it
        has no result), and the main results of the run.
    """
    from alphacryo4d.assessment.score_stage import run_score
    from alphacryo4d.assessment.stage import simulate_demo
    from alphacryo4d.core.progress import show_progress

    data, project = folder / "data", folder / "project"
    with show_progress("simulate") as progress:
        simulate_demo(
            data,
            seed=seed,
            flags=flags,
            progress=progress,
        )
    results = run_pipeline(
        data / "particles.star",
        project,
        options=DEMO,
        seed=seed,
        gpu=gpu,
        flags=flags,
    )
    _, report = run_score(
        project / files.VOTE / files.PARTICLES_STAR,
        data / "truth.npy",
        assignments=project / files.RESAMPLE / files.ASSIGNMENTS_NPY,
    )
    table = project / files.RECLASSIFY / files.PARTICLES_STAR
    again = run_score(table, data / "truth.npy")[1] if table.is_file() else None
    return report, again, results
