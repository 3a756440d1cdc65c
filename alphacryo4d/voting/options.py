"""Options of the voting stage; nothing heavy is imported here."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from alphacryo4d.core.errors import UsageError
from alphacryo4d.core.help import INPUT, RESOLUTION, STATES
from alphacryo4d.core.settings import described, keep_as_text, require_setting, setting

SYMMETRY_HELP = "Point group, in RELION's orientation; by default that of the resampling."


def votes_needed(threshold: str | float, folds: int) -> int:
    """Smallest number of votes that puts a particle into a state (4.8, 4.10).

    Parameters
    ----------
    threshold : str or number
        A fraction f (``1/2``, ``2/3``, 0.6) means V > f M; a whole number n means V >= n.
    folds : int
        M, the number of votes of a particle.

    Returns
    -------
    int
        Votes needed, from 1 to M.

    Raises
    ------
    UsageError
        The threshold is no number, or no particle could ever reach it.
    """
    text = str(threshold).strip()
    try:
        whole = int(text)
    except ValueError:
        try:
            fraction = Fraction(text)
        except (ValueError, ZeroDivisionError) as error:
            raise UsageError(
                f"--threshold {threshold}: neither a fraction such as 1/2 nor a whole number"
            ) from error
        require_setting(
            0 <= fraction < 1,
            f"--threshold {threshold}: a fraction of the votes must be at least 0 and below 1; "
            "a whole number asks for that many votes",
        )
        return int(fraction * folds) + 1
    require_setting(
        1 <= whole <= folds,
        f"--threshold {threshold}: a particle has {folds} votes; ask for 1 to {folds}",
    )
    return whole


@described
@dataclass(frozen=True)
class VoteOptions:
    """How particles are assigned to states."""

    assign: str = setting(
        "vote",
        "Assign particles by votes (4.8), or to the nearest centre of their M copies (4.9).",
        choices=("vote", "nearest"),
        group=STATES,
    )
    threshold: str | float = setting(
        "1/2",
        "Votes that a state needs: a fraction f for V > f M, or a whole number n for V >= n.",
        metavar="F|N",
        type=str,
        group=STATES,
    )
    cutoff: float | None = setting(
        None,
        "With --assign nearest: leave out particles farther than this from every centre, in "
        "units of the embedding.",
        type=float,
        metavar="DISTANCE",
    )
    edits: Path | None = setting(
        None, "Edits of the states, edits.json: merge, drop, rename, split ...", type=Path
    )
    test: bool = setting(
        True,
        "Test the states on the held-out particles of each fold (reads all images once).",
        group=STATES,
    )
    null: bool = setting(
        False,
        "Take a simulated data set of one conformation, with the same poses, CTF and noise, "
        "through folds, landscape and votes too; takes about as long as `resample`.",
        group=STATES,
    )
    reconstruct: bool = setting(
        True, "Reconstruct every state with half maps and FSC.", group=INPUT
    )
    symmetry: str | None = setting(
        None,
        SYMMETRY_HELP,
        type=str,
        flags=("--symmetry", "--sym"),
        metavar="GROUP",
        group=RESOLUTION,
    )

    def __post_init__(self) -> None:
        """Refuse values that can never make sense."""
        require_setting(
            self.assign in ("vote", "nearest"), f"--assign {self.assign}: vote or nearest"
        )
        keep_as_text(self, threshold=self.threshold)
        votes_needed(self.threshold, 255)
        require_setting(
            self.cutoff is None or self.cutoff > 0, f"--cutoff {self.cutoff}: must be positive"
        )
