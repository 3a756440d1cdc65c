"""What `run` is going to do: which stages stand, which are done again, and why."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alphacryo4d.core import files
from alphacryo4d.core.errors import InputError
from alphacryo4d.core.identity import located
from alphacryo4d.core.job import Work, foreseen_work, plan_work, read_job, recorded_inputs
from alphacryo4d.core.plan import GO_ON, NEW, REDO, UNCHANGED, Plan, claimed, why
from alphacryo4d.core.record import new_record
from alphacryo4d.core.steps import changes_between, standing_steps

if TYPE_CHECKING:
    from alphacryo4d.pipeline.options import PipelineOptions


def stage_works(
    table: Path, project: Path, options: PipelineOptions, seed: int
) -> list[tuple[str, Callable[[], Work]]]:
    """Name and graph of every stage of a run, in order."""
    resample, features = project / files.RESAMPLE, project / files.DEEPFEATURE
    landscape, vote = project / files.LANDSCAPE, project / files.VOTE

    def of_resample() -> Work:
        from alphacryo4d.particles.particle_set import read_particles
        from alphacryo4d.resample.plan_stage import ResamplePlan

        plan = ResamplePlan(options.resample, options.classify, options.relion, seed)
        particles = read_particles(table)
        return plan.settled(particles, resample).work(table, particles)

    def of_deepfeature() -> Work:
        from alphacryo4d.deepfeature.work_stage import deepfeature_work

        return deepfeature_work(resample, options.deepfeature, seed)

    def of_landscape() -> Work:
        from alphacryo4d.landscape.inputs_stage import input_paths
        from alphacryo4d.landscape.stage import landscape_work

        return landscape_work(input_paths(resample, features), options.landscape, seed)

    def of_vote() -> Work:
        from alphacryo4d.voting.stage import vote_work

        return vote_work(table, resample, landscape, options.vote)

    def of_reclassify() -> Work:
        from alphacryo4d.reclassify.stage import reclassify_work

        assert options.reclassify is not None
        return reclassify_work(table, resample, vote, options.reclassify, seed)

    def of_particles() -> Work:
        from alphacryo4d.particle_landscape.stage import particles_work

        asked = options.particle_landscape
        assert asked is not None
        return particles_work(project, files.VOTE, asked.particles, asked.density, seed)

    works: list[tuple[str, Callable[[], Work]]] = [
        (files.RESAMPLE, of_resample),
        (files.DEEPFEATURE, of_deepfeature),
        (files.LANDSCAPE, of_landscape),
        (files.VOTE, of_vote),
    ]
    if options.reclassify is not None:
        works.append((files.RECLASSIFY, of_reclassify))
    if options.particle_landscape is not None:
        works.append((files.PARTICLE_LANDSCAPE, of_particles))
    return works


def plan_run(
    table: Path,
    project: Path,
    options: PipelineOptions,
    seed: int,
    *,
    overwrite: bool = False,
    foreseen: bool = False,
) -> list[tuple[str, Plan]]:
    """What every stage of a run means for its folder; nothing is written.

    A stage whose input another stage makes again is planned as done again; should the new input
    turn out the same as the old one, it stands after all. ``foreseen`` plans leave out what the
    stage will refuse to try again.
    """
    plans: list[tuple[str, Plan]] = []
    made_again: dict[Path, str] = {}
    for name, work in stage_works(table, project, options, seed):
        folder = project / name
        record = read_job(folder)
        if overwrite:
            plan = Plan(NEW)
        elif record is None or not claimed(record):
            plan = Plan(NEW if record is None else GO_ON)
        else:
            plan = _plan_stage(folder, work(), record, made_again, foreseen)
        plans.append((name, plan))
        if plan.kind == REDO:
            assert record is not None
            made_again |= dict.fromkeys(_made_again(folder, record, plan), name)
    return plans


def _made_again(folder: Path, record: dict[str, Any], plan: Plan) -> set[Path]:
    steps = record.get("steps", {})
    standing = {output for outputs in plan.standing.values() for output in outputs}
    outputs = {output for step in plan.redone for output in steps.get(step, [])}
    outputs = outputs or set(record.get("outputs", []))
    return {(folder / name).absolute() for name in outputs - standing}


def _plan_stage(
    folder: Path, work: Work, record: dict[str, Any], made_again: dict[Path, str], foreseen: bool
) -> Plan:
    inputs = record.get("inputs", [])
    changed = {}
    for entry in inputs:
        path = located(entry, folder, record.get("folder")).absolute()
        if path in made_again:
            changed[path.name] = f"{made_again[path]} is redone"
    if not changed and all(path.exists() for path in work.inputs):
        return (foreseen_work if foreseen else plan_work)(folder, work)
    new = new_record(folder, replace(work, inputs=()), None) | {"inputs": inputs}
    changes = changes_between(record, new, work)
    changes.inputs |= changed
    if not changes:
        return Plan(UNCHANGED if record["status"] == "done" else GO_ON)
    standing = standing_steps(record, changes, work, lambda name: (folder / name).exists())
    redone = tuple(step for step in record.get("steps", {}) if step not in standing)
    if not redone and not changes.options and not changes.seed:
        return Plan(UNCHANGED, standing)
    return Plan(REDO, standing, redone, why(changes))


def out_of_date(project: Path, plans: list[tuple[str, Plan]]) -> list[str]:
    """Folders of a project whose results rest on what a run makes again, but not they themselves.

    Such as edited states and maps of them, and a reclassification that the run is not asked for.
    """
    anew = {name for name, _ in plans}
    changed: set[Path] = set()
    for name, plan in plans:
        record = read_job(project / name)
        if plan.kind in (NEW, REDO) and record is not None:
            changed |= _made_again(project / name, record, plan)
    waiting = _claimed_folders(project, anew) if changed else {}
    stale: list[Path] = []
    while changed:
        found = [
            folder
            for folder in waiting
            if any(path.absolute() in changed for path in recorded_inputs(folder))
        ]
        changed = {
            (folder / name).absolute()
            for folder in found
            for name in waiting.pop(folder).get("outputs", [])
        }
        stale += found
    return [folder.name for folder in stale]


def _claimed_folders(project: Path, but: set[str]) -> dict[Path, dict[str, Any]]:
    """Records of the work in a project's other folders, without those of other programs."""
    found = {}
    for path in sorted(project.glob(f"[!.]*/{files.JOB_JSON}")):
        with suppress(InputError):
            record = read_job(path.parent)
            if path.parent.name not in but and record is not None and claimed(record):
                found[path.parent] = record
    return found


def plan_lines(project: Path, plans: list[tuple[str, Plan]]) -> list[str]:
    """Plan of a run, unless all is new, and the results that become out of date by it, if any."""
    told = [plan_text(plans)] if any(plan.kind != NEW for _, plan in plans) else []
    stale = out_of_date(project, plans)
    words = f"out of date then, until their commands are given again: {', '.join(stale)}"
    return [*told, *([words] if stale else [])]


def plan_text(plans: list[tuple[str, Plan]]) -> str:
    """Plan of a run in one line, as `resample unchanged; redoing vote because threshold ...`."""
    kinds: dict[str, list[str]] = {}
    for name, plan in plans:
        kinds.setdefault(plan.kind, []).append(name)
    upstream = {f"{name} is redone" for name, _ in plans}
    reasons = [text for _, plan in plans if plan.kind == REDO for text in plan.why]
    parts = []
    if UNCHANGED in kinds:
        parts.append(f"{', '.join(kinds[UNCHANGED])} unchanged")
    if REDO in kinds:
        roots = [text for text in dict.fromkeys(reasons) if text not in upstream]
        parts.append(f"redoing {', '.join(kinds[REDO])} because {', '.join(roots)}")
    if GO_ON in kinds:
        parts.append(f"going on with {', '.join(kinds[GO_ON])}")
    if NEW in kinds:
        parts.append(f"new: {', '.join(kinds[NEW])}")
    return "; ".join(parts)
