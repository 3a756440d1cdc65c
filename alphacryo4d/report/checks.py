"""Checks of a landscape and of votes: their results, and the commands that make them.

They may be of the folder itself or lie beside it, in ``landscape-stability`` and ``vote-null``;
there they count where they are of the same embedding and of the same votes.
"""

from __future__ import annotations

import dataclasses
import filecmp
from pathlib import Path
from typing import Any

from alphacryo4d.core import files
from alphacryo4d.core.job import read_job, recorded_inputs
from alphacryo4d.report.project_files import read_columns, read_json

DISPARITY = 0.3
"""Procrustes disparity between embeddings from which the landscape is called unstable."""


def stability_of(landscape: Path) -> dict[str, Any] | None:
    """How much other embeddings of the volumes of a landscape differ; None where none were made."""
    beside = (landscape, Path(f"{landscape}-stability"), landscape.parent / files.STABILITY)
    for folder in beside:
        told = _stability(folder)
        if told is not None and _same(folder, landscape, files.EMBEDDING_NPY):
            return told
    return None


def _stability(folder: Path) -> dict[str, Any] | None:
    numbers = ("procrustes_disparity", "kept_neighbours")
    table = read_columns(folder / "stability.csv", numbers=numbers)
    if not table or not len(table["procrustes_disparity"]):
        return None
    worst = float(table["procrustes_disparity"].max())
    return {
        "variants": len(table["procrustes_disparity"]),
        "worst_disparity": worst,
        "kept_neighbours": float(table["kept_neighbours"].mean()),
        "stable": worst < DISPARITY,
    }


def null_of(votes: Path, report: dict[str, Any]) -> dict[str, Any] | None:
    """Figures of the null model of votes; None where it was not made."""
    if report.get("null"):
        return dict(report["null"])
    beside = votes.parent / files.VOTE_NULL
    told = read_json(beside / "report.json").get("null")
    return told if told and _same(beside, votes, files.VOTES_NPY) else None


def _same(one: Path, other: Path, name: str) -> bool:
    """Whether two folders hold the same file."""
    first, second = one / name, other / name
    return (
        first.is_file() and second.is_file() and filecmp.cmp(first, second, shallow=False)
    ) or one == other


def stability_said(told: dict[str, Any]) -> str:
    """Result of the check of an embedding in words."""
    return (
        f"largest disparity of {told['variants']} other embeddings {told['worst_disparity']:.2f}, "
        f"neighbours kept {100 * told['kept_neighbours']:.0f}%"
    )


def null_passes(null: dict[str, Any]) -> bool:
    """Whether the null model passes the test of states, by the present or the former name."""
    one = null.get("one_conformation", {})
    return bool(one.get("states_supported", one.get("states_are_real")))


def null_said(null: dict[str, Any]) -> str:
    """Result of the null model in words."""
    if null_passes(null):
        return "one simulated conformation passes the test of states as well"
    sides = (null.get("one_conformation", {}), null.get("data", {}))
    agreed, data = (side.get("heldout_agreement") for side in sides)
    text = "one simulated conformation fails the test of states"
    if agreed is not None and data is not None:
        text += f"; held-out agreement {100 * data:.0f}% against its {100 * agreed:.0f}%"
    return text


def stability_words(project: Path, key: str = files.LANDSCAPE) -> list[str]:
    """Words of the command that checks a landscape of a project: its embedding and others."""
    from alphacryo4d.landscape.options import EmbedOptions

    folder = project / key
    record = read_job(folder) or {}
    chosen = record.get("options", {}).get("embed")
    words = ["landscape", "--i", str(project / files.RESAMPLE)]
    words += features_words(project, folder)
    words += _chosen(EmbedOptions, chosen, leave_out=("stability", "memory"))
    words += ["--seed", str(record["seed"])] if record.get("seed") else []
    return [*words, "--o", f"{folder}-stability", "--stability"]


def null_words(project: Path) -> list[str]:
    """Words of the command that makes the null model of the votes of a project."""
    from alphacryo4d.voting.options import VoteOptions

    chosen = (read_job(project / files.VOTE) or {}).get("options", {}).get("vote")
    words = ["vote", "--i", str(project / files.RESAMPLE)]
    words += ["--landscape", str(project / files.LANDSCAPE)]
    words += _chosen(VoteOptions, chosen, leave_out=("edits", "test", "null", "reconstruct"))
    return [*words, "--o", str(project / files.VOTE_NULL), "--null"]


def features_words(project: Path, landscape: Path) -> list[str]:
    """Option for the features that a landscape is of; none where it is of the volumes alone.

    Where nothing is recorded, those of the project's network.
    """
    read, own = recorded_inputs(landscape), project / files.DEEPFEATURE
    used = [path.parent for path in read if path.name == files.FEATURES_NPY] if read else [own]
    used = [folder for folder in used if (folder / files.FEATURES_NPY).is_file()]
    used = [own if folder.resolve() == own.resolve() else folder for folder in used]
    return ["--features", str(used[0])] if used else []


def _chosen(settings: type[Any], chosen: Any, *, leave_out: tuple[str, ...]) -> list[str]:
    """Words of the options of a record that are not the defaults."""
    words: list[str] = []
    for field in dataclasses.fields(settings):
        value = chosen.get(field.name) if isinstance(chosen, dict) else None
        if field.name not in leave_out and value not in (None, field.default):
            flag = (field.metadata["flags"] or (f"--{field.name.replace('_', '-')}",))[0]
            words += [flag, str(value)]
    return words
