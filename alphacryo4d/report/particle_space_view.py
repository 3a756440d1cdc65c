"""The particle landscape for the page: components, states of the density, barriers, figures."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from alphacryo4d.core import files
from alphacryo4d.report.project_files import read_columns, record_of

FIGURES = {
    "energies.png": "Energy over the components, freed of the particles' own errors",
    "path.png": "Energy along the path; barriers with 90% intervals",
    "particles.png": "Particles by state, defocus and viewing direction",
}
"""Figures of the stage and what they show; those that are missing are left out."""


def particle_space_view(project: Path) -> dict[str, Any] | None:
    """Everything about the coordinates of single particles; None where they were not found."""
    folder = project / files.PARTICLE_LANDSCAPE
    results = record_of(folder).get("results", {})
    if "components" not in results:
        return None
    tables = {
        name: {key: list(values) for key, values in read_columns(folder / f"{name}.csv").items()}
        for name in ("components", "density_states", "barriers")
    }
    return {
        "sentence": _sentence(results),
        "figures": [
            {"title": title, "file": f"{files.PARTICLE_LANDSCAPE}/{name}", "image": _image(path)}
            for name, title in FIGURES.items()
            if (path := folder / name).is_file()
        ],
        **tables,
    }


def _sentence(results: dict[str, Any]) -> str:
    count = results["components"]
    if not count:
        return (
            "No structure: no component makes held-out particles more likely than their mean does."
        )
    text = (
        f"{count} component{'s' * (count != 1)}: a held-out particle is "
        f"{results['gain_per_particle']:.2f} nats more likely than under the mean alone."
    )
    states = results.get("density_states")
    if states is not None:
        text += f" The density has {states} state{'s' * (states != 1)}."
    if results.get("discreteness"):
        text += f" Held-out particles say: {results['discreteness']}."
    for said in results.get("imaging", []):
        text += f" Warning: {said}."
    return text


def _image(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii")
