"""Options that had other names: what a ``job.json`` of before says, in the names of today."""

from __future__ import annotations

from typing import Any

FORMER = {
    "classify": {
        "limit_resolution": "initial_resolution",
        "sharpen_to": "final_resolution",
        "settle_iterations": "iterations_after_pca",
        "finer_iterations": "final_component_iterations",
        "minimum_share": "minimum_occupancy",
        "seeds": "initialisation",
    },
    "reclassify": {
        "finest": "final_resolution",
        "first_resolution": "initial_resolution",
        "stable": "converged",
        "reseed": "split_merge",
        "angle_error": "angle_sigma",
        "shift_error": "shift_sigma",
    },
}
"""Part of the options: former name to present name."""

FORMER_VALUES: dict[tuple[str, str], str] = {("initialisation", "components"): "pca"}
"""Name of an option and its former value: the present value."""

FORMER_DEFAULTS = {"classify": {"normalise": "none", "keep_outliers": True}}
"""Part of the options: what work did that was recorded before the option was there."""


def with_present_names(options: dict[str, Any]) -> dict[str, Any]:
    """Options of a record by their present names.

    Parameters
    ----------
    options : dict
        The ``options`` of a ``job.json``: parts such as ``classify``, each with its options.

    Returns
    -------
    dict
        The same; what has no former name is untouched, and an option that came later has the
        value by which work was done before.
    """
    renamed: dict[str, Any] = dict(options)
    for part, names in FORMER.items():
        values = renamed.get(part)
        if not isinstance(values, dict):
            continue
        present: dict[str, Any] = {}
        for name, value in values.items():
            now = str(names.get(name, name))
            former = isinstance(value, str) and (now, value) in FORMER_VALUES
            present[now] = FORMER_VALUES[now, value] if former else value
        renamed[part] = FORMER_DEFAULTS.get(part, {}) | present
    for part, value in renamed.items():  # a stage may keep the options of the one before it
        if isinstance(value, dict) and any(isinstance(value.get(name), dict) for name in FORMER):
            renamed[part] = with_present_names(value)
    return renamed
