"""States after edits: read the edits, say what held-out particles think of each, write states."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from alphacryo4d.core import files
from alphacryo4d.core.arrays import Array
from alphacryo4d.core.errors import InputError
from alphacryo4d.core.reading import read_object, read_text
from alphacryo4d.io.star import read_table, write_tables
from alphacryo4d.landscape.states import centers_of_groups, fitted_radii
from alphacryo4d.selection.sets_stage import STATE_NAME, state_names, word
from alphacryo4d.voting.edits import EditedStates, parse_edits, words_of
from alphacryo4d.voting.inputs_stage import (
    States,
    elect,
    read_assignments,
    read_heldout,
    read_states,
)
from alphacryo4d.voting.options import VoteOptions
from alphacryo4d.voting.report import REPORT_JSON

logger = logging.getLogger(__name__)


EDITS_JSON = "edits.json"


@dataclass(frozen=True)
class Edited:
    """States after edits.

    Attributes
    ----------
    base : str
        Folder of the project whose states were edited.
    states : States
        Numbered from 1.
    names : list of str
        Name of every state, empty for none.
    history : list of dict
        For every edit: the edit, what held-out particles say of it, and particles that change.
    """

    base: str
    states: States
    names: list[str]
    history: list[dict[str, Any]]


def base_of(edits: Path, landscape: Path) -> tuple[Path, Path]:
    """Folder with the states that edits start from, and that of the votes for them."""
    base, _ = parse_edits(read_text(edits), str(edits))
    return base_folders(base, landscape, str(edits))


def base_folders(base: str, landscape: Path, source: str) -> tuple[Path, Path]:
    """The same by the name of the states that edits start from; the source is for messages."""
    if base in (files.VOTE, files.LANDSCAPE):
        return landscape, landscape.parent / files.VOTE
    folder = landscape.parent / base
    if not (folder / files.STATES_STAR).is_file():
        if (folder / files.PARTICLES_STAR).is_file():
            raise InputError(
                f"{source}: base {base}: its states are of single particles and no groups of class "
                "volumes, which is what edits change; edit those of vote, then `vote reclassify "
                "--selection vote-2` fits the edited states"
            )
        there = sorted(p.parent.name for p in landscape.parent.glob(f"vote-*/{files.STATES_STAR}"))
        raise InputError(
            f"{source}: base {base}: {folder} has no {files.STATES_STAR}; edits start from vote or "
            "from edited states, of which "
            + (f"there are {', '.join(there)}" if there else "there are none yet")
        )
    return folder, folder


def edited_states(edits: Path, resample: Path, landscape: Path, options: VoteOptions) -> Edited:
    """Apply the edits of a file and judge each before it is done."""
    place, votes = base_of(edits, landscape)
    _, wanted = parse_edits(read_text(edits), str(edits))
    return apply_edits(wanted, place, votes, resample, options)


def apply_edits(
    wanted: list[dict[str, Any]], place: Path, votes: Path, resample: Path, options: VoteOptions
) -> Edited:
    """Apply edits and judge each before it is done.

    Parameters
    ----------
    wanted : list of dict
        As :func:`alphacryo4d.voting.edits.parse_edits` gives them.
    place, votes : Path
        Folder with the states that they start from, and that of the votes for these.
    resample : Path
    options : VoteOptions
        How particles are assigned.
    """
    assignments = read_assignments(resample)
    now = _before_edits(place, assignments, resample)
    heldout = read_heldout(resample, len(assignments))
    history, chosen = [], _chosen(now, assignments, options)
    for edit in wanted:
        said = [] if heldout is None else _heldout_words(edit, now, heldout, chosen)
        said = [*_likelihood_words(edit, votes), *said]
        now.apply(edit)
        after = _chosen(now, assignments, options)
        moved = {
            "keep their state": int(((after == chosen) & (chosen > 0)).sum()),
            "change it": int(((after != chosen) & (after > 0) & (chosen > 0)).sum()),
            "are voted in": int(((after > 0) & (chosen == 0)).sum()),
            "are voted out": int(((after == 0) & (chosen > 0)).sum()),
        }
        shown = ", ".join(f"{count} {what}" for what, count in moved.items())
        logger.info("%s: %s; particles: %s", words_of(edit), "; ".join(said) or "no cost", shown)
        history.append({"edit": edit, "heldout": said, "particles": moved})
        chosen = after
    labels, present = now.numbered()
    centers = centers_of_groups(now.points, now.counts, labels - 1)
    radii = fitted_radii(now.points, centers, labels - 1)
    names = [now.called.get(number, "") for number in present]
    return Edited(place.name, States(centers, radii, now.points, labels), names, history)


def _before_edits(place: Path, assignments: Array, resample: Path) -> EditedStates:
    before = read_states(place)
    counts = np.bincount(assignments[assignments >= 0], minlength=len(before.points))
    return EditedStates(
        before.points,
        counts.astype(np.float64),
        volume_names(resample, len(before.points)),
        before.volume_states.copy(),
        {number: number for number in range(1, before.count + 1)},
        state_names(place),
    )


def require_possible(wanted: list[dict[str, Any]], place: Path, resample: Path) -> None:
    """Raise ``InputError`` for edits that cannot be done; nothing is judged or written."""
    now = _before_edits(place, read_assignments(resample), resample)
    for edit in wanted:
        now.apply(edit)
    now.numbered()


def _chosen(now: EditedStates, assignments: Array, options: VoteOptions) -> Array:
    """State of every particle by its number before all edits."""
    labels, present = now.numbered()
    centers = centers_of_groups(now.points, now.counts, labels - 1)
    states = States(centers, np.ones(len(centers)), now.points, labels)
    votes = np.empty((len(assignments), len(present)), np.uint8)
    elected = elect(assignments, states, options, votes).states
    return np.array([0, *present])[elected]


def _likelihood_words(edit: Mapping[str, Any], votes: Path) -> list[str]:
    """What the report of the votes says: held-out log likelihood that an edit costs."""
    path = votes / REPORT_JSON
    if edit["action"] not in ("merge", "drop") or not path.is_file():
        return []
    rows = read_object(path).get("per_state", [])
    entries = {entry["state"]: entry for entry in rows if entry.get("support_gain") is not None}
    states = edit["states"] if edit["action"] == "merge" else [edit["state"]]
    said = []
    for state in states:
        entry = entries.get(state)
        pair = entry is not None and (edit["action"] == "drop" or entry["merges_with"] in states)
        if entry is not None and pair:
            said.append(
                f"state {state} as one with {entry['merges_with']} costs a held-out particle "
                f"{entry['support_gain']:.3f} +- {entry['support_error']:.3f} nats "
                f"({'supported' if entry['supported'] else 'not supported'} as a state)"
            )
    return said


def _heldout_words(
    edit: Mapping[str, Any], now: EditedStates, heldout: Array, chosen: Array
) -> list[str]:
    """How the fold that has not seen a particle places those that an edit is about."""
    seen = np.append(now.labels, [0, 0])[heldout]
    if edit["action"] == "merge":
        parts = [now.state(number) for number in edit["states"]]
        inside = np.isin(chosen, parts) & np.isin(seen, parts)
        return _agreement(chosen[inside], seen[inside], "these states apart")
    if edit["action"] == "drop":
        mine = chosen == now.state(edit["state"])
        agreed = int((seen[mine] == chosen[mine]).sum())
        return [f"the held-out fold agrees on {agreed} of its {mine.sum()} particles"]
    return []


def _agreement(own: Array, seen: Array, what: str) -> list[str]:
    if not len(own):
        return []
    agreed = float((own == seen).mean())
    chance = sum(float((own == k).mean() * (seen == k).mean()) for k in np.unique(own))
    error = float(np.sqrt(max(chance * (1 - chance), 1e-12) / len(own)))
    against = agreed > chance + 3 * error
    return [
        f"held-out folds tell {what} for {100 * agreed:.1f}% of {len(own)} particles "
        f"({100 * chance:.1f}% by chance): "
        + ("evidence against merging" if against else "no evidence against merging")
    ]


def volume_names(resample: Path, count: int) -> list[str]:
    """Names of the volumes; their rows from 0 where ``volumes.star`` is missing."""
    path = resample / files.VOLUMES_STAR
    if not path.is_file():
        return [str(row) for row in range(count)]
    table = read_table(path, "volumes", texts=["ac4dVolumeName"])
    return [str(name) for name in table["ac4dVolumeName"]]


def write_edited(folder: Path, edited: Edited) -> list[Path]:
    """Write states, their names, and how they came about; the folder is then a landscape's."""
    states, names = edited.states, edited.names
    wanted = [step["edit"] for step in edited.history]
    record = {"version": 1, "base": edited.base, "edits": wanted, "history": edited.history}
    table = {
        "ac4dState": np.arange(1, states.count + 1),
        "ac4dCenterX": states.centers[:, 0],
        "ac4dCenterY": states.centers[:, 1],
        "ac4dRadius": states.radii,
        STATE_NAME: [word(name) for name in names],
    }
    return [
        files.write_text(folder / EDITS_JSON, json.dumps(record, indent=1) + "\n"),
        files.save_array(folder / files.VOLUME_STATES_NPY, states.volume_states.astype(np.int32)),
        files.save_array(folder / files.EMBEDDING_NPY, states.points),
        files.save_array(folder / files.CENTERS_NPY, states.centers),
        write_tables(folder / files.STATES_STAR, {"states": table}),
    ]
