"""Training for the page: loss curves, and slices of input, reconstruction and feature map."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from alphacryo4d.core import files
from alphacryo4d.deepfeature.examples_stage import example_rows
from alphacryo4d.report.maps import bytes_of, grey_window
from alphacryo4d.report.payload import Payload
from alphacryo4d.report.project_files import read_columns, read_optional, record_of


def training_view(project: Path, payload: Payload) -> dict[str, Any] | None:
    """Everything about the network; None where it was not trained."""
    folder = project / files.DEEPFEATURE
    history = read_columns(folder / files.HISTORY_CSV)
    if not history:
        return None
    results = record_of(folder).get("results", {})
    held_out, mean = results.get("held_out_error"), results.get("mean_volume_error")
    data: dict[str, Any] = {
        "history": {name: np.asarray(values) for name, values in history.items()},
        "held_out_error": held_out,
        "mean_volume_error": mean,
        "ratio": held_out / mean if held_out is not None and mean else None,
    }
    return data | _examples(project, payload)


def _examples(project: Path, payload: Payload) -> dict[str, Any]:
    """Central slices of some volumes: as they go in, as they come out, and their feature maps."""
    volumes = read_optional(project / files.RESAMPLE / files.VOLUMES_NPY, ndim=4, memory_map=True)
    folder = project / files.DEEPFEATURE
    features = read_optional(folder / files.FEATURES_NPY, ndim=5, memory_map=True)
    made = read_optional(folder / files.RECONSTRUCTIONS_NPY, ndim=4, memory_map=True)
    if volumes is None or features is None or len(volumes) != len(features):
        return {}
    rows = example_rows(len(volumes))
    shown = {
        "input": np.stack([np.asarray(volumes[row][len(volumes[row]) // 2]) for row in rows]),
        "feature map": np.stack(
            [np.asarray(features[row][len(features[row]) // 2, :, :, 0]) for row in rows]
        ),
    }
    if made is not None and len(made) == len(rows):
        shown["reconstruction"] = np.stack([np.asarray(one[len(one) // 2]) for one in made])
    order = ("input", "reconstruction", "feature map")
    return {
        "rows": [row + 1 for row in rows],
        "examples": [
            {
                "title": title,
                "edge": shown[title].shape[-1],
                "images": payload.add(
                    f"training/{title}",
                    bytes_of(shown[title], *grey_window([shown[title]])),
                ),
            }
            for title in order
            if title in shown
        ],
    }
