"""Particle table of a simulation, in the dialect of RELION 3.1."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from alphacryo4d.assessment.options import SimulateOptions
from alphacryo4d.assessment.simulate import SimulatedTable
from alphacryo4d.core.errors import UsageError
from alphacryo4d.core.files import atomic_path

_OPTICS = (
    ("rlnOpticsGroupName", "rlnOpticsGroup", "rlnVoltage", "rlnSphericalAberration")
    + ("rlnAmplitudeContrast", "rlnImagePixelSize", "rlnImageSize", "rlnImageDimensionality")
)  # fmt: skip
_PARTICLES = (
    ("rlnImageName", "rlnMicrographName", "rlnOpticsGroup", "rlnDefocusU", "rlnDefocusV")
    + ("rlnDefocusAngle", "rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi", "rlnOriginXAngst")
    + ("rlnOriginYAngst", "rlnRandomSubset")
)  # fmt: skip


def _loop(name: str, columns: Sequence[str]) -> str:
    labels = "".join(f"_{label} #{number}\n" for number, label in enumerate(columns, 1))
    return f"\n# version 30001\n\ndata_{name}\n\nloop_\n{labels}"


def write_table(
    path: Path, table: SimulatedTable, options: SimulateOptions, *, stack: Path
) -> None:
    """Write the particle table in the dialect of RELION 3.1, row by row.

    Images are named by the path of the stack as given (RELION resolves it from the working
    directory). Nothing in the rows tells the state.
    """
    if re.search(r"\s", str(stack)):
        raise UsageError(f"{stack}: a STAR table cannot name a stack with blanks in its path")
    with atomic_path(path) as temporary, temporary.open("w", encoding="ascii") as out:
        out.write(_loop("optics", _OPTICS))
        out.write(
            f"opticsGroup1 1 {options.voltage:.6f} {options.spherical_aberration:.6f} "
            f"{options.amplitude_contrast:.6f} {options.pixel_size:.6f} {options.box} 2\n\n"
        )
        out.write(_loop("particles", _PARTICLES))
        numbers = np.hstack([table.defocus, table.angles, table.shifts]).tolist()
        for row, (values, subset) in enumerate(
            zip(numbers, table.random_subset.tolist(), strict=True)
        ):
            u, v, angle, rot, tilt, psi, x, y = values
            micrograph = row // options.particles_per_micrograph + 1
            out.write(
                f"{row + 1:06d}@{stack} simulated/micrograph{micrograph:05d}.mrc 1 "
                f"{u:.2f} {v:.2f} {angle:.2f} {rot:.6f} {tilt:.6f} {psi:.6f} "
                f"{x:.6f} {y:.6f} {subset}\n"
            )
        out.write("\n")
