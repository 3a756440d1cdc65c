"""What to do next, as commands to copy; only commands that this program has."""

from __future__ import annotations

import shlex
from contextlib import suppress
from pathlib import Path
from typing import Any

from alphacryo4d.core import files
from alphacryo4d.core.errors import InputError
from alphacryo4d.core.identity import option_leaves
from alphacryo4d.core.job import read_job, recorded_inputs
from alphacryo4d.core.record import stale_inputs
from alphacryo4d.report.checks import features_words, null_words, stability_words
from alphacryo4d.report.verdict import sign

ORIGINAL = "ORIGINAL.cs"
"""In the place of the files that a table was made from, where it does not name them."""
ORIGINAL_SAID = f"{ORIGINAL} stands for the .cs files of the job, each with --passthrough"


def next_commands(
    project: Path, shown_set: dict[str, Any], landscape: dict[str, Any] | None, keys: list[str]
) -> list[dict[str, str]]:
    """Commands that follow from what one set shows; each with its reason.

    Parameters
    ----------
    project : Path
        Project folder, as it stands in the commands.
    shown_set : dict
        The set as the page shows it.
    landscape : dict, optional
        The landscape as the page shows it.
    keys : list of str
        Folders of all sets.
    """
    here = str(project)
    said: list[tuple[str, list[str]]] = []
    again = reclassify_words(project, shown_set["key"], keys)
    if again is not None:
        why = "Better states: fit states and poses together, from these votes."
        if "--no-refine-poses" in again:
            why = "The reclassification again, with the poses of the table: they are not moved."
        said.append((why, again))
    if not shown_set.get("null") and shown_set["key"] == files.VOTE:
        said.append(
            (
                "Is it noise? The same for one simulated conformation.",
                null_words(project),
            )
        )
    if landscape is not None and landscape.get("stability") is None:
        said.append(
            (
                "Does the embedding hold? Other seeds and perplexities.",
                stability_words(project, landscape["folder"]),
            )
        )
    folder = f"{here}/{shown_set['key']}"
    if not any(row.get("local_resolution") for row in shown_set["states"]):
        said.append(
            (
                "Local resolution of every state.",
                ["vote", "reconstruct", "--i", folder, "--o", f"{folder}-local",
                 "--local-resolution"],
            )
        )  # fmt: skip
    refine = refine_words(Path(folder))
    if refine is not None:
        why = "A resolution to report: refine every state with independent halves"
        if refine[0] == "convert":
            why += "; its particles for cryoSPARC, of state 1"
            why += f" ({ORIGINAL_SAID})" if ORIGINAL in refine else ""
        said.append((f"{why}.", refine))
    return [{"why": why, "command": shlex.join(["alphacryo4d", *words])} for why, words in said]


def reclassify_words(project: Path, key: str, keys: list[str]) -> list[str] | None:
    """Words of the command that reclassifies votes; None for others, and where it was done.

    Where it had no result the poses are to stay; where they had stayed nothing is left to try.
    """
    target = _reclassified(key)
    if not key.startswith(files.VOTE) or target in keys:
        return None
    words = ["vote", "reclassify", "--i", str(project)]
    words += [] if key == files.VOTE else ["--selection", key]
    words += ["--o", f"{project}/{target}"]
    record = read_job(project / target) or {}
    if files.NO_RESULT not in record.get("results", {}):
        return words
    options = option_leaves(record.get("options", {}))
    focused = options.get("resample.classify.focus_mask") is not None
    moved = options.get("reclassify.refine_poses", True) and not focused
    return [*words, "--no-refine-poses"] if moved else None


def reclassify_signs(project: Path, key: str) -> list[dict[str, str]]:
    """The sign that the reclassification of votes has no result, and why; none where it has one."""
    noted = (read_job(project / _reclassified(key)) or {}).get("results", {})
    why = noted.get(files.NO_RESULT) if key.startswith(files.VOTE) else None
    return [] if why is None else [sign("warn", "No reclassification", f"no result: {why}")]


def _reclassified(key: str) -> str:
    """Folder of the reclassification of votes."""
    return key.replace(files.VOTE, files.RECLASSIFY, 1)


def refine_words(folder: Path) -> list[str] | None:
    """Words of the command that takes states to their refinement.

    In RELION; or back to the ``.cs`` files that a table of particles was made from, which cryoSPARC
    imports as a particle stack. None where the states are ``.cs`` files already, or their
    refinement, or its commands, are there.
    """
    from alphacryo4d.io.cs_star import sources_of
    from alphacryo4d.io.star import UID_COLUMN
    from alphacryo4d.particles.open import open_table

    if (folder / files.PARTICLES_CS).is_file() or _refined(folder):
        return None
    table = folder / files.PARTICLES_STAR
    if table.is_file() and UID_COLUMN in open_table(table).columns:
        state = f"{folder}/class001"
        words = ["convert", "--i", f"{state}.star"]
        for source in [str(path) for path in sources_of(table)] or [ORIGINAL]:
            words += ["--passthrough", source]
        return [*words, "--o", f"{state}.cs"]
    return ["vote", "refine", "--i", str(folder), "--o", f"{folder}-refine"]


def _refined(states: Path) -> bool:
    """Whether the project of states has a refinement of all of them, or its commands."""
    tables = {path.resolve() for path in states.glob("class[0-9]*.star")}
    for path in states.parent.glob(f"[!.]*/{files.JOB_JSON}"):
        with suppress(InputError):  # the record of another program, or a damaged one
            record = read_job(path.parent) or {}
            if record.get("stage") == "refine" and record.get("status") == "done":
                read = {one.resolve() for one in recorded_inputs(path.parent)}
                if read & tables and tables <= read and not stale_inputs(path.parent, record):
                    return True
    return False


def path_command(project: Path) -> str:
    """Command for another path; its ends are to follow."""
    here = str(project)
    words = ["landscape", "--i", f"{here}/{files.RESAMPLE}"]
    words += features_words(project, project / files.LANDSCAPE)
    return shlex.join(["alphacryo4d", *words, "--o", f"{here}/landscape-path"])


def select_command(project: Path, key: str) -> str:
    """Command that writes the particles inside the polygon of ``corners.json``, every one."""
    words = ["select", "--i", str(project), "--selection", key, "--where", "inside corners.json"]
    return shlex.join(["alphacryo4d", *words, "--o", f"{project}-selected"])


def edit_words(project: Path) -> list[str] | None:
    """Words of the command that applies the project's ``edits.json``; None where there is none."""
    from alphacryo4d.voting.options import VoteOptions

    if "edits" not in VoteOptions.__dataclass_fields__:
        return None
    return ["vote", "--i", str(project), "--edits", f"{project}/edits.json"]


def edit_command(project: Path, key: str) -> str | None:
    """Command that applies ``edits.json`` to a set; None where it cannot be edited.

    Edits start from the states of the landscape, which are those of the votes, or from states
    that were edited before.
    """
    editable = key == files.VOTE or (project / key / files.STATES_STAR).is_file()
    words = edit_words(project) if editable else None
    return None if words is None else shlex.join(["alphacryo4d", *words])
