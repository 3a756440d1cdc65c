"""A small project as the resample stage leaves it, and a way to run scripts as users do."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from prototype_files import BOX, CLASSES, FOLDS, PARTICLES, SCRIPTS, write_fold, write_star

from alphacryo4d.io.star import write_tables

Run = Callable[..., subprocess.CompletedProcess]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run ``NAME.py`` or ``NAME.sh`` in a folder (by default the test's own)."""

    def call(name: str, *arguments: object, at: Path = tmp_path, code: int = 0):
        program = [sys.executable] if name.endswith(".py") else ["bash"]
        done = subprocess.run(
            [*program, str(SCRIPTS / name), *map(str, arguments)],
            cwd=at,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "ALPHACRYO4D_PYTHON": sys.executable},
        )
        assert done.returncode == code, done.stderr[-3000:]
        if code:
            assert len(done.stderr.splitlines()) == 1, done.stderr
            assert done.stderr.startswith("error: ")
        return done

    return call


@pytest.fixture(scope="session")
def project(tmp_path_factory) -> Path:
    """Folder of the resample stage: four folds of six classes, and the table they came from."""
    root = tmp_path_factory.mktemp("project") / "resample"
    rng = np.random.default_rng(5)
    table = write_star(root.parent / "particles.star", np.arange(1, PARTICLES + 1))
    truth = rng.integers(0, CLASSES, PARTICLES)
    groups = np.ones((PARTICLES, 2), np.int32)
    groups[:, 1] = rng.permutation(np.arange(PARTICLES) % (FOLDS + 1)) + 1
    assignments = np.full((PARTICLES, FOLDS + 1), -1, np.int32)
    volumes: list = []
    for left_out in range(1, FOLDS + 2):
        members = np.flatnonzero(groups[:, 1] != left_out)
        noise = rng.random(len(members)) < 0.25
        classes = np.where(noise, rng.integers(0, CLASSES, len(members)), truth[members])
        assignments[members, left_out - 1] = classes + len(volumes)
        volumes += write_fold(root, left_out, members, classes, rng)
    counts = np.bincount(assignments[assignments >= 0], minlength=len(volumes))
    columns = {
        "ac4dVolumeName": [name for name, *_ in volumes],
        "rlnReferenceImage": [str(path) for _, path, *_ in volumes],
        "ac4dBatch": [1] * len(volumes),
        "ac4dFold": [left_out for *_, left_out, _ in volumes],
        "ac4dParticleCount": counts,
        "rlnPixelSize": [2.625] * len(volumes),
        "rlnImageSize": [BOX] * len(volumes),
    }
    write_tables(root / "volumes.star", {"volumes": columns})
    np.save(root / "volumes.npy", np.stack([volume for *_, volume in volumes]))
    np.save(root / "groups.npy", groups)
    np.save(root / "assignments.npy", assignments)
    entry = {"path": str(table), "size": table.stat().st_size}
    (root / "job.json").write_text(json.dumps({"inputs": [entry], "status": "done"}))
    return root
