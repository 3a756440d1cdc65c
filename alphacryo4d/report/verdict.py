"""The answer in a sentence, and signs for what it rests on."""

from __future__ import annotations

from typing import Any

from alphacryo4d.core import files
from alphacryo4d.core.words import plural
from alphacryo4d.report.checks import null_passes, null_said, stability_said

BIASED, BIASED_LEAST = 3.0, 0.05
"""Cramer's V from which batches are called biased, as the voting stage does."""
USEFUL_RATIO = 0.9
"""Held-out error over that of the mean volume below which the network is called useful."""
FOLDS_AGREE, FOLDS_DISAGREE = 0.7, 0.5
"""Agreement of folds from which it is called good, and below which it is warned of."""


def sentence(shown_set: dict[str, Any]) -> str:
    """The answer of one set in a sentence or two."""
    states = [row for row in shown_set["states"] if row.get("particles")]
    if not states:
        return "No state has particles yet."
    junk = [str(row["state"]) for row in states if row.get("junk")]
    states = [row for row in states if not row.get("junk")]
    parts = [f"{len(states)} state{'s' * (len(states) != 1)}{_support(shown_set, states)}"]
    if junk:
        parts.append(f"state {', '.join(junk)}: junk, no particle in the images")
    total, voted = shown_set.get("particles"), shown_set.get("voted")
    if total:
        parts.append(f"{voted:,} of {total:,} particles kept")
    if shown_set.get("pose_errors"):
        turned, moved = shown_set["pose_errors"][:2]
        parts.append(f"poses off by about {turned:.1f}\u00b0 and {moved:.1f} \u00c5")
    return "; ".join(parts) + "."


def _support(shown_set: dict[str, Any], states: list[dict[str, Any]]) -> str:
    tested = [row for row in states if row.get("supported") is not None]
    if not tested:
        return ", not tested on held-out particles"
    if not _passes(shown_set.get("support") or {}):
        return ", but held-out particles fit them no better than their mean: no evidence of states"
    good = [row for row in tested if row["supported"]]
    if len(good) == len(states):
        known = [row for row in good if row.get("support_gain") is not None]
        if not known:
            return ", each supported by held-out particles"
        weakest = min(known, key=lambda row: row["support_gain"])
        return (
            f", each supported by held-out particles; the weakest, state {weakest['state']}, costs "
            f"{weakest['support_gain']:.2f} \u00b1 {weakest['support_error']:.2f} nats a particle "
            f"to merge with {weakest['merges_with']}"
        )
    named = ", ".join(str(row["state"]) for row in tested if not row["supported"])
    return f", {len(good)} of them supported by held-out particles; not needed: {named}"


def _passes(told: dict[str, Any]) -> bool:
    """Whether held-out particles see states at all, by the present or the former name."""
    return bool(told.get("states_supported", told.get("states_are_real", True)))


def sign(level: str, title: str, text: str) -> dict[str, str]:
    """One sign; levels are warn, off (not known) and good."""
    return {"level": level, "title": title, "text": text}


def signs(
    shown_set: dict[str, Any],
    landscape: dict[str, Any] | None,
    training: dict[str, Any] | None,
    missing: list[str],
) -> list[dict[str, str]]:
    """Signs of one set, warnings first."""
    all_signs = [
        _states_supported(shown_set),
        _folds(shown_set),
        _embedding(landscape),
        _barriers(landscape),
        _null(shown_set),
        _batches(shown_set.get("batches")),
        _network(training),
        _inputs(missing),
    ]
    return sorted(all_signs, key=lambda one: ("warn", "off", "good").index(one["level"]))


def _states_supported(shown_set: dict[str, Any]) -> dict[str, str]:
    title = "States supported"
    tested = [row for row in shown_set["states"] if row.get("supported") is not None]
    if not tested and shown_set.get("single_particles"):
        return sign("off", title, "not tested: a reclassification of these states is")
    if not tested:
        return sign("off", title, "not tested: run `vote` with --test")
    good = sum(bool(row["supported"]) for row in tested)
    level = "good" if good == len(tested) else "warn"
    return sign(level, title, f"{good} of {len(tested)} by held-out particles")


def _folds(shown_set: dict[str, Any]) -> dict[str, str]:
    title = "Folds agree"
    rows = [row for row in shown_set["states"] if row.get("fold_agreement") is not None]
    weight = sum(row["particles"] for row in rows)
    if not weight:
        return sign("off", title, "not known")
    mean = sum(row["fold_agreement"] * row["particles"] for row in rows) / weight
    level = "good" if mean >= FOLDS_AGREE else "warn" if mean < FOLDS_DISAGREE else "off"
    text = f"{100 * mean:.0f}% of particles in another fold's same state"
    if shown_set.get("heldout_agreement") is not None:
        text += (
            f"; in the fold without the particle {100 * shown_set['heldout_agreement']:.0f}% "
            f"(chance {100 * shown_set['heldout_chance']:.0f}%)"
        )
    return sign(level, title, text)


def _embedding(landscape: dict[str, Any] | None) -> dict[str, str]:
    title = "Embedding stable"
    if landscape is None:
        return sign("off", title, "no landscape yet")
    told = landscape.get("stability")
    if told is None:
        return sign("off", title, "not tested: run `landscape` with --stability")
    return sign("good" if told["stable"] else "warn", title, stability_said(told))


def _barriers(landscape: dict[str, Any] | None) -> dict[str, str]:
    title = "Barriers resolved"
    path = None if landscape is None else landscape.get("path")
    along = (path or {}).get("barriers", [])
    if not along:
        return sign("off", title, "no path was asked for" if path is None else "no barrier found")
    if not any(barrier["known"] for barrier in along):
        return sign("off", title, "no intervals: run `landscape` with --bootstrap")
    good = sum(barrier["resolved"] for barrier in along)
    text = f"{good} of {plural(len(along), 'barrier')} of the path: 95% intervals above zero"
    return sign("good" if good == len(along) else "warn", title, text)


def _null(shown_set: dict[str, Any]) -> dict[str, str]:
    title = "Null model"
    null = shown_set.get("null")
    if not null and shown_set.get("key") != files.VOTE:
        return sign("off", title, "it is of votes; choose those")
    if not null:
        return sign("off", title, "not run: `vote --null` says what one conformation would give")
    return sign("warn" if null_passes(null) else "good", title, null_said(null))


def _batches(batches: dict[str, Any] | None) -> dict[str, str]:
    title = "Batches alike"
    if not batches or len(batches.get("shares", [])) < 2:
        return sign("off", title, "one batch: nothing to compare")
    value, chance = batches["cramer_v"], batches["cramer_v_by_chance"]
    biased = value > max(BIASED * chance, BIASED_LEAST)
    text = f"Cramer's V {value:.3f} (by chance {chance:.3f})"
    return sign("warn" if biased else "good", title, text)


def _network(training: dict[str, Any] | None) -> dict[str, str]:
    title = "Network useful"
    if training is None:
        return sign("off", title, "no network: the landscape is of the volumes alone")
    ratio = training.get("ratio")
    if ratio is None:
        return sign("off", title, "held-out error not recorded")
    level = "good" if ratio < USEFUL_RATIO else "warn"
    return sign(level, title, f"held-out error {ratio:.2f} of that of predicting the mean volume")


def _inputs(missing: list[str]) -> dict[str, str]:
    title = "Inputs still there"
    if not missing:
        return sign("good", title, "all files that the stages read are where they were")
    return sign("warn", title, f"{len(missing)} gone, first {missing[0]}")
