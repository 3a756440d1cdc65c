"""The chain of single scripts and the package's commands come to the same particles."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from prototype_files import SCRIPTS, particle_numbers

from alphacryo4d.landscape.distances import squared_distances

CENTERS, RADIUS = 2, 20.0
"""The two ends of the path; more centers would lie on a flat middle, where rounding decides."""


def _call(words) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "alphacryo4d", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.slow
def test_scripts_and_commands_give_the_same_states(project, tmp_path):
    chain = SCRIPTS.parent / "tests" / "scripts" / "chain.sh"
    work = tmp_path / "scripts"
    work.mkdir()
    done = subprocess.run(
        ["bash", str(chain), str(SCRIPTS), str(project), "2", str(CENTERS), str(RADIUS)],
        cwd=work,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "ALPHACRYO4D_PYTHON": sys.executable},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    x0, y0, x1, y1 = done.stdout.split()[-4:]
    assert "using the CPU" in done.stderr

    deep, land, vote = (tmp_path / name for name in ("deepfeature", "landscape", "vote"))
    _call(["train", "--i", project, "--o", deep, "--epochs", 2, "--validation-size", 4])
    np.testing.assert_array_equal(
        np.load(deep / "features.npy"), np.load(work / "result" / "feature.npy")
    )
    # t-SNE of so few volumes makes a rounding error visible, so what goes into it is compared,
    # and the rest of the way starts from one embedding
    np.testing.assert_allclose(
        squared_distances([np.load(work / "input.npy")], standardize=False),
        squared_distances([np.load(project / "volumes.npy"), np.load(deep / "features.npy")]),
        rtol=1e-4,
        atol=0.01,
    )
    _call(
        ["landscape", "path", "--embedding", work / "output.npy", "--i", project, "--o", land,
         "--kcenters", CENTERS, "--radius", RADIUS, "--start", x0, y0, "--end", x1, y1,
         "--stepsize", 0.1, "--interpolate", "cubic", "--stepmax", 2000]
    )  # fmt: skip
    if not (land / "embedding.npy").exists():
        shutil.copy(work / "output.npy", land / "embedding.npy")
    _call(["vote", "count", "--i", project, "--landscape", land, "--o", vote])
    np.testing.assert_allclose(
        np.load(work / "centers_k.npy"), np.load(land / "centers.npy"), atol=0.3
    )
    voted = 0
    for state in range(1, CENTERS + 1):
        table = vote / f"class{state:03d}.star"
        ours = particle_numbers(table) if table.exists() else []
        for theirs in ("post_and.star", "Vote.star"):  # by post_and_f.sh and by Vote.py
            path = work / f"c{state}" / theirs
            assert sorted(ours) == (particle_numbers(path) if path.exists() else [])
        voted += len(ours)
    assert voted > 100
