"""Where results come from: commands, options, versions, times, memory, and what to cite."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from alphacryo4d.core import files
from alphacryo4d.core.job import plain, recorded_inputs
from alphacryo4d.report.project_files import StateSet, record_of

_DECIDED = {"classify.normalise": ("deviation", "micrograph")}
"""Options whose default leaves it to the images, and what they decide."""


def provenance(project: Path, sets: list[StateSet]) -> dict[str, Any]:
    """Record of every stage with results on the page, in the order of the work; references."""
    from alphacryo4d.tools.cite import REFERENCES

    folders = [project / name for name in (files.RESAMPLE, files.DEEPFEATURE, files.LANDSCAPE)]
    folders += [state_set.folder for state_set in sets]
    more = (files.STABILITY, files.VOTE_NULL, files.PARTICLE_LANDSCAPE)
    folders += [*(state_set.landscape for state_set in sets), *(project / name for name in more)]
    folders = list(dict.fromkeys(folders))
    records = [(folder.name, record_of(folder)) for folder in folders]
    inputs = [path for folder in folders for path in recorded_inputs(folder)]
    return {
        "stages": [_stage(name, record) for name, record in records if record],
        "missing_inputs": missing_inputs(inputs),
        "cite": [
            {"why": one.why, "text": one.text.translate({123: None, 125: None})}
            for one in REFERENCES
        ],
    }


def _stage(name: str, record: dict[str, Any]) -> dict[str, Any]:
    kept = ("stage", "status", "command", "version", "seed", "started", "ended", "seconds",
            "peak_memory_gb", "host", "programs")  # fmt: skip
    return {
        "folder": name,
        **{key: record.get(key) for key in kept},
        "changed": changed_options(record.get("options", {}), default_options()),
        "inputs": [entry.get("path") for entry in record.get("inputs", [])],
    }


def default_options() -> dict[str, Any]:
    """Default of every option by section and name, as ``job.json`` spells them."""
    from alphacryo4d.deepfeature.options import DeepFeatureOptions
    from alphacryo4d.landscape.options import LandscapeOptions
    from alphacryo4d.ml3d.options import ClassifyOptions
    from alphacryo4d.particle_landscape.options import CoordinateOptions, DensityOptions
    from alphacryo4d.reclassify.options import ReclassifyOptions
    from alphacryo4d.relion.options import RelionOptions
    from alphacryo4d.resample.options import ResampleOptions
    from alphacryo4d.voting.options import VoteOptions

    sections: dict[str, Any] = {
        "resample": ResampleOptions(),
        "classify": ClassifyOptions(),
        "relion": RelionOptions(),
        "vote": VoteOptions(),
        "reclassify": ReclassifyOptions(),
        "particles": CoordinateOptions(),
        "density": DensityOptions(),
    }
    for whole in (DeepFeatureOptions(), LandscapeOptions()):
        sections |= {f.name: getattr(whole, f.name) for f in dataclasses.fields(whole)}
    return {name: plain(options) for name, options in sections.items()}


def changed_options(options: dict[str, Any], defaults: dict[str, Any]) -> list[dict[str, Any]]:
    """Options of a record that differ from their defaults, each with its default."""
    changed = []
    for section, values in options.items():
        known = defaults.get(section)
        if not isinstance(values, dict) or not isinstance(known, dict):
            continue
        changed += [
            {"option": f"{section}.{name}", "value": value, "default": known[name]}
            for name, value in values.items()
            if name in known and value not in (known[name], *_DECIDED.get(f"{section}.{name}", ()))
        ]
    return changed


def missing_inputs(inputs: list[Path]) -> list[str]:
    """Inputs of the stages that are no longer where they were, each once."""
    return [str(path) for path in dict.fromkeys(inputs) if not path.exists()]
