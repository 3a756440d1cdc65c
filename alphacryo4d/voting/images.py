"""Particles that are copies of one image (symmetry expansion), counted in a report of states."""

from __future__ import annotations

from typing import Any

import numpy as np

from alphacryo4d.core.arrays import Array


def add_images(report: dict[str, Any], ids: Array, states: Array) -> None:
    """Put the number of distinct images into a report, of all particles and of every state.

    Nothing is added where every particle has an image of its own.

    Parameters
    ----------
    report : dict
        As :func:`alphacryo4d.voting.report.make_report` makes it.
    ids : (P,) int array
        Image of every particle, numbered from 0.
    states : (P,) int array
        State of every particle from 1; 0 is voted out.
    """
    images = int(ids.max(initial=-1)) + 1
    if images == len(ids):
        return
    report["images"] = images
    for entry in report["per_state"]:
        entry["images"] = len(np.unique(ids[states == entry["state"]]))
    named = ", ".join(f"state {entry['state']} {entry['images']}" for entry in report["per_state"])
    report["copies"] = (
        f"{len(ids)} particles are copies of {images} images (symmetry-expanded), each copy with "
        f"a state of its own; images of the states: {named}"
    )
