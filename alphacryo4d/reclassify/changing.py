"""States that merge and split by the held-out likelihood; the log of what changed and why."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.core.words import plural
from alphacryo4d.ml3d.mixture_search import ANEW
from alphacryo4d.voting.losses import error_of_sums
from alphacryo4d.voting.support import LEAST_TOTAL, SIGNIFICANT, Support

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SplitGain:
    """What left-out particles gain when a state is split in two.

    Attributes
    ----------
    gain, error : (K,) float64
        Mean over all left-out particles (nats each), and its standard error.
    particles : int
    images : int, optional
        Fewer, where particles are copies of one image.
    """

    gain: Array
    error: Array
    particles: int
    images: int | None = None

    @classmethod
    def of(cls, sums: Array, particles: int, images: int | None = None) -> SplitGain:
        """Of sums of the gains and of their squares (by image), (2, K)."""
        count, different = (np.array(max(n, 1)) for n in (particles, images or particles))
        error = error_of_sums(sums[0], sums[1], count, different)
        return cls(sums[0] / count, error, particles, images)

    @property
    def supported(self) -> Array:
        """Which splits left-out particles ask for, (K,) bool."""
        enough = self.gain * (self.images or self.particles) > LEAST_TOTAL
        supported: Array = enough & (self.gain > SIGNIFICANT * self.error)
        return supported


@dataclass(frozen=True)
class Plan:
    """Changes of the states; numbers from 0.

    Attributes
    ----------
    leaving, partners : (m,) int64
        States that merge, and into which.
    splitting : (s,) int64
        States that are split, the one that gains most first.
    support, split
        The figures behind it.
    """

    leaving: Array
    partners: Array
    splitting: Array
    support: Support
    split: SplitGain

    @property
    def nothing(self) -> bool:
        """Whether all states stay."""
        return not (self.leaving.size or self.splitting.size)

    @property
    def price(self) -> float:
        """What the merged states may cost a left-out particle (nats): losses and their errors."""
        lost = self.support.state_gain[self.leaving]
        error = self.support.state_error[self.leaving]
        return float(np.maximum(lost + SIGNIFICANT * error, 0).sum())


def unsupported(support: Support) -> Array:
    """States to merge into their partners, the least needed first; partners stay."""
    leaving: list[int] = []
    for k in np.argsort(support.state_gain).tolist():
        if not support.supported[k] and int(support.partner[k]) not in leaving:
            leaving.append(k)
    return np.array(sorted(leaving), np.int64)


def plan_changes(support: Support, split: SplitGain, *, merge: bool, split_too: bool) -> Plan:
    """Which states merge, and which are split.

    A state that held-out particles do not support is merged into the one that can best do
    without it; where ``split_too``, every state whose split is supported is split.
    """
    leaving = unsupported(support) if merge and support.real else np.zeros(0, np.int64)
    partners = support.partner[leaving]
    asked = np.flatnonzero(split.supported & support.real)
    asked = asked[~np.isin(asked, np.concatenate([leaving, partners]))]
    asked = asked[np.argsort(-split.gain[asked], kind="stable")]
    return Plan(leaving, partners, asked if split_too else asked[:0], support, split)


def say_plan(log: list[str], turn: int, plan: Plan, kept: Array, *, applied: bool) -> None:
    """Say what changes and why, or what would in another round."""
    verb = "is" if applied else "could be, in another round,"
    for k, partner in zip(plan.leaving, plan.partners, strict=True):
        log_line(
            log,
            f"round {turn}: state {kept[k]} {verb} merged into state {kept[partner]}: "
            f"held-out log-likelihood loss {plan.support.state_gain[k]:.5f} +- "
            f"{plan.support.state_error[k]:.5f} nats per particle",
        )
    for k in plan.splitting:
        log_line(
            log,
            f"round {turn}: state {kept[k]} {verb} split in two: held-out log-likelihood gain "
            f"{plan.split.gain[k]:.5f} +- {plan.split.error[k]:.5f} nats per particle",
        )


def apply_changes(
    plan: Plan, states: Array, kept: Array, second_half: Array, used: int = 0
) -> tuple[Array, Array]:
    """States (P,) and their numbers after a plan.

    Parameters
    ----------
    plan : Plan
    states : (P,) int array
        From 1, 0 for voted out.
    kept : (K,) int array
        Number of each state; sides that are new get numbers beyond the largest ever used.
    second_half : (P,) bool array
        Which particles leave their state if it is split.
    used : int
        Largest number that a state ever had, which may have been merged since.

    Returns
    -------
    states : (P,) int32
    kept : (K',) int array
    """
    target = np.arange(len(kept) + 1, dtype=np.int32)
    target[plan.leaving + 1] = plan.partners + 1
    changed = target[states]
    numbers = list(kept)
    for new, k in enumerate(plan.splitting, max(used, *numbers) + 1):
        numbers.append(new)
        changed[(changed == k + 1) & second_half] = len(numbers)
    stay = np.setdiff1d(np.arange(len(numbers)), plan.leaving)
    return renumbered(changed, stay + 1), np.array(numbers)[stay]


def renumbered(states: Array, kept: Array) -> Array:
    """States with the kept numbers counted from 1, all others voted out."""
    table = np.zeros(int(max(states.max(), kept.max())) + 1, np.int32)
    table[kept] = np.arange(1, len(kept) + 1)
    return table[states]


def say_fold(where: str, result: Mapping[str, Array], heldout: Array) -> list[str]:
    """What a fold found of poses, junk and states, in words.

    Parameters
    ----------
    where : str
        Batch and fold.
    result : mapping
        Of :class:`alphacryo4d.reclassify.rounds_stage.Rounds`.
    heldout : (n,) int array
        Rows of the batch that the fold left out.
    """
    turned, moved = (
        np.median(np.linalg.norm(result[name][heldout], axis=1)) for name in ("rotations", "shifts")
    )
    turn_error, shift_error = result["pose_sigma"]
    lines = [
        f"{where}: poses {'fitted to' if result['from_images'] else 'apart from'} "
        f"the images, pose sigma {turn_error:.2f} degrees, {shift_error:.2f} A on each axis; "
        f"held-out particles moved by {turned:.2f} degrees and {moved:.2f} A in the median, "
        f"log-likelihood gain {result['gain'].mean():.2f} nats per particle"
    ]
    junk = len(result.get("junk", ()))  # results of earlier versions have none
    if junk:
        lines.append(
            f"{where}: fitted without {plural(junk, 'image')} that made a state and show no "
            "particle"
        )
    return lines + say_moves(where, result["moves"])


def say_moves(where: str, moves: Array) -> list[str]:
    """What a fold did to its states, in words; states by their numbers at the start from 1.

    Parameters
    ----------
    where : str
        Batch and fold.
    moves : (m, 4) array
        As of :class:`alphacryo4d.ml3d.mixture_search.Move`, in their order.
    """
    names: dict[int, str] = {}
    lines, other = [], ""
    for merged, freed, halved, gain in moves:
        if merged == ANEW:
            lines.append(
                f"{where}: states are found anew, without the labels of the votes (numbers go by "
                f"particles in common): {gain:.4f} nats per particle"
            )
            names, other = {}, "new "
            continue
        places = int(merged), int(freed), int(halved)
        first, second, third = (names.get(k, f"{other}{k + 1}") for k in places)
        lines.append(
            f"{where}: split-merge EM: states {first} and {second} are merged and state {third} is "
            f"split: {gain:.4f} nats per particle"
        )
        names[int(merged)] = f"{first}+{second}"
        names[int(freed)] = names[int(halved)] = f"half of {third}"
    return lines


def say_anew(turn: int, moves: Mapping[tuple[int, int], Array]) -> None:
    """Log which folds of a round found their states without the labels of the votes.

    Parameters
    ----------
    turn : int
        Round.
    moves : mapping
        By batch from 1 and fold from 0, as for :func:`say_moves`, which keeps them for the report.
    """
    found = [place for place, made in moves.items() if len(made) and (made[:, 0] == ANEW).any()]
    if not found:
        return
    folds = f"{len(found)} of {plural(len(moves), 'fold')}"
    if max(batch for batch, _ in moves) == 1:
        numbers = ", ".join(str(fold + 1) for _, fold in found)
        folds = f"fold {numbers}" if len(found) == 1 else f"folds {numbers}"
    logger.info(
        "round %d: %s found %s anew, without the labels of the votes",
        turn, folds, "its states" if len(found) == 1 else "their states",
    )  # fmt: skip


def log_line(log: list[str], line: str) -> None:
    """Log a line and keep it for the report."""
    logger.info("%s", line)
    log.append(line)
