"""Colours of states, the same in every figure, on the page and in scenes."""

STATE_COLOURS = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#B8A800", "#8C6BD1",
    "#88CCEE", "#882255", "#117733", "#AA4499", "#DDCC77", "#44AA99", "#CC6677", "#6699CC",
    "#997700", "#661100", "#AA4466", "#4477AA",
)  # fmt: skip
"""Of states from 1, that colour-blind people can tell apart (Okabe and Ito; Tol's muted)."""

NO_STATE = "#888888"
"""Of what is in no state."""


def colour_of(state: int) -> str:
    """Colour of a state (from 1), ``#rrggbb``; after the last colour from the first; of 0 grey."""
    return STATE_COLOURS[(state - 1) % len(STATE_COLOURS)] if state > 0 else NO_STATE
