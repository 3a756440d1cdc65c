"""Small data of several tests: the head of a particle table, and particles of four states."""

from pathlib import Path

import numpy as np


def table_head(columns: str, optics: str) -> str:
    """Head of a table of RELION 3.1 with one optics group; its rows are to follow.

    Parameters
    ----------
    columns : str
        Columns of the particles.
    optics : str
        Voltage, spherical aberration, amplitude contrast, pixel size and box.
    """
    names = "OpticsGroupName OpticsGroup Voltage SphericalAberration AmplitudeContrast"
    names += " ImagePixelSize ImageSize ImageDimensionality"

    def loop(name: str, labels: list[str]) -> str:
        numbered = [f"_{label} #{number}" for number, label in enumerate(labels, 1)]
        return "\n".join([f"data_{name}", "", "loop_", *numbered, ""])

    groups = loop("optics", [f"rln{name}" for name in names.split()])
    return f"\n{groups}opticsGroup1 1 {optics} 2\n\n\n{loop('particles', columns.split())}"


def four_arms(folder: Path, **options: float) -> Path:
    """Fill a folder with particles of a body with an arm in one of four places, and the truth."""
    from alphacryo4d.assessment.conformers import Atoms
    from alphacryo4d.assessment.options import SimulateOptions
    from alphacryo4d.assessment.stage import write_simulation

    rng = np.random.default_rng(7)
    body = rng.normal(scale=(9, 14, 22), size=(300, 3))
    conformers = []
    for place in ((30, 0, 0), (0, 34, 10), (-20, -20, 20), (5, 10, -45)):
        arm = rng.normal(scale=6.0, size=(150, 3)) + place
        conformers.append(Atoms(np.vstack([body, arm]), np.full(450, 6.0)))
    write_simulation(conformers, folder, options=SimulateOptions(**options), seed=3)
    return folder
