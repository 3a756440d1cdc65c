"""Heights of barriers from both sides: which are resolved, and how they are written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from alphacryo4d.core.words import plural
from alphacryo4d.landscape.barriers import Interval


@dataclass(frozen=True)
class Heights:
    """Height of a barrier along the path and back, each with its interval.

    A barrier is resolved where both intervals lie above zero: only then is its top known to be
    higher than what lies on either side.
    """

    forward: Interval
    backward: Interval

    @property
    def known(self) -> bool:
        """Whether there are intervals: a bootstrap was made."""
        return self.forward.known and self.backward.known

    @property
    def resolved(self) -> bool:
        """Whether both intervals lie above zero."""
        return self.forward.resolved and self.backward.resolved

    @property
    def lost(self) -> bool:
        """Whether there are intervals, and not both lie above zero."""
        return self.known and not self.resolved

    @property
    def label(self) -> str:
        """Height along the path (kT) beside its mark; the upper end of one that is not resolved."""
        return f"< {self.forward.high:.1f}" if self.lost else f"{self.forward.value:.1f}"

    @property
    def text(self) -> str:
        """Height along the path in words."""
        one = self.forward
        if self.lost:
            return f"less than {one.high:.1f} kT (not resolved)"
        return f"{one.value:.2f} kT" + (f" ({one.low:.1f} to {one.high:.1f})" if self.known else "")


def barriers_said(barriers: Sequence[Heights], lowest: Heights) -> str:
    """Barriers of the path in a line: how many are resolved, the highest of them, the lowest path.

    Of a barrier that is not resolved only the upper end of its height is said.
    """
    text = f"path: {plural(len(barriers), 'barrier')}"
    known = [one for one in barriers if one.known]
    if known:
        resolved = [one for one in known if one.resolved]
        text += f", {len(resolved)} resolved (95% intervals above zero from both sides)"
        if resolved:
            text += f", the highest of them {max(resolved, key=lambda one: one.forward.value).text}"
        if len(resolved) < len(known):
            highest = max(one.forward.high for one in known if one.lost)
            text += f"; the others not resolved, below {highest:.1f} kT"
    elif barriers:
        text += f", the highest {max(b.forward.value for b in barriers):.2f} kT, without intervals"
    return f"{text}; the lowest path there is climbs {lowest.text}"
