"""A small project whose votes are known."""

import json
from pathlib import Path

import numpy as np
import pytest
from small_particles import table_head

from alphacryo4d.io.star import write_tables

PARTICLES, FOLDS, CLASSES, STATES = 400, 3, 6, 3

HEADER = table_head(
    "rlnImageName rlnAngleRot rlnClassNumber rlnOpticsGroup",
    "300.000000 2.700000 0.100000 2.625000 16",
)


class Project:
    """Folders ``resample`` and ``landscape`` as the stages before leave them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.resample, self.landscape = root / "resample", root / "landscape"
        rng = np.random.default_rng(7)
        self.groups = np.column_stack(
            [np.ones(PARTICLES, int), rng.integers(1, FOLDS + 2, PARTICLES)]
        ).astype(np.int32)
        self.assignments = np.empty((PARTICLES, FOLDS + 1), np.int32)
        for fold in range(FOLDS + 1):
            classes = rng.integers(0, CLASSES, PARTICLES) + CLASSES * fold
            dropped = rng.random(PARTICLES) < 0.05
            self.assignments[:, fold] = np.where(dropped, -2, classes)
            self.assignments[self.groups[:, 1] == fold + 1, fold] = -1
        self.heldout = (
            rng.integers(0, CLASSES, PARTICLES) + CLASSES * (self.groups[:, 1] - 1)
        ).astype(np.int32)
        self.centers = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
        self.radii = np.array([3.0, 3.0, 2.0])
        self.points = (
            self.centers[rng.integers(0, STATES, CLASSES * (FOLDS + 1))]
            + rng.normal(0, 1.2, (CLASSES * (FOLDS + 1), 2))
        ).astype(np.float32)
        rows = [
            f"{i + 1:06d}@stack.mrcs  {rng.uniform(-180, 180):11.6f}   {rng.integers(1, 9)} 1 "
            for i in range(PARTICLES)
        ]
        self.rows = rows
        self.table = root / "particles.star"
        self.table.write_text(HEADER + "\n".join(rows) + "\n\n")
        self.write()

    def write(self) -> None:
        self.resample.mkdir(exist_ok=True)
        self.landscape.mkdir(exist_ok=True)
        np.save(self.resample / "groups.npy", self.groups)
        np.save(self.resample / "assignments.npy", self.assignments)
        np.save(self.resample / "heldout.npy", self.heldout)
        np.save(self.landscape / "embedding.npy", self.points)
        size = self.table.stat().st_size
        record = {
            "status": "done",
            "inputs": [{"path": str(self.table.absolute()), "size": size}],
        }
        (self.resample / "job.json").write_text(json.dumps(record))
        write_tables(
            self.landscape / "states.star",
            {
                "states": {
                    "ac4dState": np.arange(1, STATES + 1),
                    "ac4dCenterX": self.centers[:, 0],
                    "ac4dCenterY": self.centers[:, 1],
                    "ac4dRadius": self.radii,
                    "ac4dEnergy": np.zeros(STATES),
                    "ac4dEnergyError": np.zeros(STATES),
                }
            },
        )


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)
