from pathlib import Path

import numpy as np
import pytest

from alphacryo4d.assessment.conformers import Atoms

PDB_LINE = "ATOM  {:5d}  CA  ALA A{:4d}    {:8.3f}{:8.3f}{:8.3f}  1.00  0.00           C\n"


@pytest.fixture
def cloud() -> Atoms:
    """An asymmetric cloud of 300 points within 30 A."""
    rng = np.random.default_rng(7)
    points = rng.normal(size=(300, 3)) * (9, 5, 7) + rng.choice([-6.0, 6.0], (300, 1)) * (1, 0, 1)
    points = points[np.linalg.norm(points, axis=1) < 29]
    return Atoms(points, rng.uniform(4, 9, len(points)))


@pytest.fixture
def pdb_folder(tmp_path: Path) -> Path:
    """Three conformers as PDB files; two halves that move apart."""
    rng = np.random.default_rng(5)
    fixed, moving = rng.normal(size=(60, 3)) * 5, rng.normal(size=(40, 3)) * 4
    folder = tmp_path / "conformers"
    folder.mkdir()
    for state in (1, 2, 10):
        points = np.vstack([fixed, moving + (6 + state, 8, 0)])
        lines = [PDB_LINE.format(i + 1, i + 1, *point) for i, point in enumerate(points)]
        (folder / f"state{state}.pdb").write_text("".join(lines) + "END\n")
    return folder
