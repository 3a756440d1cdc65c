"""Other numbers of threads and another processor: the same states, floats to a tolerance."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from battery import contents, differences, require_named, row
from works import STAGES, Works

pytestmark = pytest.mark.slow


def require_same_states(made: dict[str, bytes], wanted: dict[str, bytes], tolerance: float) -> None:
    """Hold that particles have the same states, and that the maps of these agree to a tolerance.

    The classes of a fold may come in another order, and be cut elsewhere where noise cuts them.
    """
    for name in ("vote/particles.star", "resample/groups.npy"):
        assert made[name] == wanted[name], name
    maps = [name for name in wanted if re.fullmatch(r"vote/class\d+\.mrc", name)]
    assert maps
    for name in maps:
        one, other = (np.frombuffer(found[name][1024:], np.float32) for found in (made, wanted))
        assert np.abs(one - other).max() <= tolerance * np.abs(other).max(), name


def test_threads(works: Works) -> None:
    wanted = works.work("run")
    with row("threads 1, 2, 3, 8: the same files", 1, 4) as figures:
        for trial in figures.numbers():
            threads = (1, 2, 3, 8)[trial]
            home = works.copy(wanted)
            words = works.words(wanted.words, home)
            words[words.index("--j") + 1] = str(threads)
            ended = works.disturber.run(words)
            with figures.trial(f"{threads} threads"):
                require_named(ended)
                made = contents(home / "project")
                found = [n for n in differences(made, wanted.made) if n.startswith(STAGES)]
                assert not [n for n in found if "job.json" not in n], found


def test_a_processor_without_wide_vectors(works: Works, tmp_path: Path) -> None:
    wanted = works.work("run")
    home = works.copy(wanted)
    variables = {"NUMBA_CPU_NAME": "generic", "NUMBA_CACHE_DIR": str(tmp_path)}
    with row("kernels for a generic processor: the same states, maps to 1e-4", 1, 1) as figures:
        assert [*figures.numbers()] in ([0], [])
        ran = subprocess.run(
            [sys.executable, "-m", "alphacryo4d", *works.words(wanted.words, home)],
            capture_output=True, text=True, env=os.environ | variables, check=False,
        )  # fmt: skip
        with figures.trial("generic"):
            assert ran.returncode == 0, ran.stderr
            require_same_states(contents(home / "project"), wanted.made, 1e-4)
