"""The stages in order, in one project folder."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from alphacryo4d.core import files
from alphacryo4d.core.job import Deadline, Work, read_job, recorded_inputs, start_record
from alphacryo4d.core.plan import NEW, UNCHANGED
from alphacryo4d.pipeline.landscape import landscape_like
from alphacryo4d.pipeline.options import DEMO, PipelineOptions
from alphacryo4d.pipeline.plan import plan_run, plan_text

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Resources:
    """What a run may use; none of it changes the result."""

    threads: int | None = None
    gpu: str | None = None
    deadline: Deadline | None = None


def run_pipeline(
    table: Path,
    project: Path,
    *,
    options: PipelineOptions,
    seed: int = 0,
    resources: Resources | None = None,
    overwrite: bool = False,
    resume: bool = False,
) -> list[Path]:
    """Run resample, deepfeature, landscape and vote, and reclassify if asked, in one folder.

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
    resources : Resources, optional
        Threads, GPUs and the time limit.
    overwrite, resume : bool
        ``--overwrite`` and ``--continue``.

    Returns
    -------
    list of Path
        The main results: particle table, states, figures, and the page last.
    """
    from alphacryo4d.report.stage import page_of_run

    resources = resources or Resources()
    if not overwrite:
        take_table(table, project)
    work = Work("run", asdict(options), (table,), seed)
    plans = [] if overwrite else plan_run(table, project, options, seed)
    if any(plan.kind != NEW for _, plan in plans):
        logger.info("%s", plan_text(plans))
    stages = _stages(table, project, options, seed, resources)
    closed = (read_job(project) or {}).get("status") == "done"
    if closed and plans and all(plan.kind == UNCHANGED for _, plan in plans):
        results = [stage(overwrite=False, resume=resume) for _, stage in stages][-1]
        return [*results, page_of_run(project, again=False)]
    with start_record(project, work) as job:
        results = []
        for name, stage in stages:
            logger.info("== %s", name)
            results = stage(overwrite=overwrite, resume=resume)
            if resources.deadline is not None and name != stages[-1][0]:
                resources.deadline.check()
        results = [*results, page_of_run(project, again=True)]
        job.add_outputs(results)
        return results


def _late(module: str, name: str, *arguments: Any, **options: Any) -> Callable[..., list[Path]]:
    """Call of a function whose module, with its heavy imports, is loaded when it is called."""

    def call(**flags: Any) -> list[Path]:
        function = getattr(importlib.import_module(f"alphacryo4d.{module}"), name)
        results: list[Path] = function(*arguments, **options, **flags)
        return results

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
    table: Path, project: Path, options: PipelineOptions, seed: int, resources: Resources
) -> list[tuple[str, Callable[..., list[Path]]]]:
    """Name and call of every stage."""
    resample, features = project / files.RESAMPLE, project / files.DEEPFEATURE
    landscape, vote = project / files.LANDSCAPE, project / files.VOTE
    threads, deadline = resources.threads, resources.deadline
    calls = {
        files.RESAMPLE: _late(
            "resample.stage", "run_resample", table, resample, options=options.resample,
            classify=options.classify, relion=options.relion, seed=seed, threads=threads,
            deadline=deadline,
        ),
        files.DEEPFEATURE: _late(
            "deepfeature.stage", "run_deepfeature", resample, features,
            options=options.deepfeature, seed=seed, threads=threads, gpu=resources.gpu,
        ),
        files.LANDSCAPE: _late(
            "landscape.stage", "run_landscape", resample, features, landscape,
            options=options.landscape, seed=seed, threads=threads,
        ),
        files.VOTE: _late(
            "voting.stage", "run_vote", resample, landscape, vote, options=options.vote,
            make_landscape=landscape_like(landscape, threads=threads), threads=threads,
        ),
    }  # fmt: skip
    if options.reclassify is not None:
        calls[files.RECLASSIFY] = _late(
            "reclassify.stage", "run_reclassify", project, project / files.RECLASSIFY,
            options=options.reclassify, seed=seed, threads=threads, deadline=deadline,
        )  # fmt: skip
    return list(calls.items())


def run_part(
    part: str,
    table: Path,
    project: Path,
    *,
    options: PipelineOptions,
    seed: int = 0,
    resources: Resources | None = None,
) -> list[Path]:
    """Run one stage of a project, or one fold of a job array, as a cluster does.

    Parameters
    ----------
    part : str
        ``fold`` or the name of a stage; the last stage also closes the record of the run.
    table, project, options, seed, resources
        As for :func:`run_pipeline`.
    """
    resources = resources or Resources()
    if part == files.VOTE:
        return run_pipeline(
            table, project, options=options, seed=seed, resources=resources, resume=True
        )
    if part == "fold":
        from alphacryo4d.pipeline.submit import array_index
        from alphacryo4d.resample.elements_stage import run_element
        from alphacryo4d.resample.plan_stage import ResamplePlan

        return run_element(
            table,
            project / files.RESAMPLE,
            ResamplePlan(options.resample, options.classify, options.relion, seed),
            array_index(),
            threads=resources.threads,
            deadline=resources.deadline,
        )
    stage = dict(_stages(table, project, options, seed, resources))[part]
    return stage(overwrite=False, resume=True)


def run_demo(
    folder: Path,
    *,
    seed: int = 0,
    resources: Resources | None = None,
    overwrite: bool = False,
    resume: bool = False,
) -> tuple[dict[str, Any], dict[str, Any], list[Path]]:
    """Simulate a hinge protein in 8 states, run all stages on it, and score the results.

    Parameters
    ----------
    folder : Path
        Output folder: ``data`` (particles and truth) and ``project``.
    seed : int
        Random seed of the data and of the run.
    resources : Resources, optional
        Threads, GPUs and the time limit.
    overwrite, resume : bool
        ``--overwrite`` and ``--continue``.

    Returns
    -------
    dict, dict, list of Path
        The scores of the votes and of the reclassification, with one row a state, and the main
        results of the run.
    """
    import os

    from alphacryo4d.assessment.score_stage import run_score
    from alphacryo4d.assessment.stage import simulate_demo
    from alphacryo4d.core.progress import show_progress

    resources = resources or Resources()
    data, project = folder / "data", folder / "project"
    with show_progress("simulate") as progress:
        simulate_demo(
            data,
            seed=seed,
            threads=resources.threads or os.cpu_count() or 1,
            overwrite=overwrite,
            resume=resume,
            progress=progress,
        )
    results = run_pipeline(
        data / "particles.star",
        project,
        options=DEMO,
        seed=seed,
        resources=resources,
        overwrite=overwrite,
        resume=resume,
    )
    _, report = run_score(
        project / files.VOTE / files.PARTICLES_STAR,
        data / "truth.npy",
        assignments=project / files.RESAMPLE / files.ASSIGNMENTS_NPY,
    )
    _, again = run_score(project / files.RECLASSIFY / files.PARTICLES_STAR, data / "truth.npy")
    return report, again, results
