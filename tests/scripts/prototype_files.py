"""Tables, volumes and folds as the prototype and the resample stage leave them."""

from pathlib import Path

import numpy as np
from small_particles import table_head

from alphacryo4d.io.mrc import write_volume
from alphacryo4d.particles.open import open_table

SCRIPTS = Path(__file__).resolve().parent.parent.parent / "scripts"
PARTICLES, FOLDS, CLASSES, BOX = 480, 3, 6, 16

HEADER = table_head(
    "rlnImageName rlnAngleRot rlnClassNumber rlnOpticsGroup",
    "300.000000 2.700000 0.100000 2.625000 16",
)

OLD_HEADER = """
data_

loop_
_rlnAngleRot #1
_rlnImageName #2
_rlnClassNumber #3
"""


def row(number: int, state: int = 1) -> str:
    return f"{number:06d}@stack.mrcs {number / 7:.6f} {state} 1\n"


def write_star(path: Path, numbers, states=None) -> Path:
    """Table of the particles with some numbers."""
    states = [1] * len(numbers) if states is None else states
    rows = [row(int(n), int(s)) for n, s in zip(numbers, states, strict=True)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(HEADER + "".join(rows))
    return path


def particle_numbers(path: Path) -> list[int]:
    """Numbers of the particles of a table, in its order."""
    names = open_table(path).read(["rlnImageName"])["rlnImageName"]
    return [int(str(name).split("@")[0]) for name in names]


def blob(angle: float, rng: np.random.Generator) -> np.ndarray:
    """A fixed blob and one at an angle (BOX^3)."""
    z, y, x = np.indices((BOX,) * 3) - BOX // 2
    fixed = np.exp(-(z**2 + (y + 2) ** 2 + x**2) / 5)
    dy, dx = 5 * np.sin(angle), 5 * np.cos(angle)
    moving = np.exp(-(z**2 + (y - dy) ** 2 + (x - dx) ** 2) / 3)
    return (fixed + moving + 0.01 * rng.normal(size=z.shape)).astype(np.float32)


def write_fold(root: Path, left_out: int, members: np.ndarray, classes: np.ndarray, rng) -> list:
    """Class volumes and table of one fold; names of its volumes."""
    digits = "".join(str(g) for g in range(1, FOLDS + 2) if g != left_out)
    folder = root / "batch1" / f"u{digits}"
    write_star(folder / "run_it025_data.star", members + 1, classes + 1)
    made = []
    for number in range(CLASSES):
        volume = blob(-1 + 2 * number / (CLASSES - 1) + 0.02 * left_out, rng)
        path = folder / f"run_it025_class{number + 1:03d}.mrc"
        write_volume(path, volume, 2.625)
        made.append((f"u{digits}_b1_c{number + 1:03d}", path, left_out, volume))
    return made
