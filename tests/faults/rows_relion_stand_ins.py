"""RELION that hangs, dies, prints garbage, is of another version or fills the disk."""

import os
import signal
from pathlib import Path

import pytest
from battery import debris, require_named, row, trials
from works import Works

pytestmark = pytest.mark.slow
GOOD = 'if [ "$1" = --version ]; then echo "RELION version: 3.1.3"; exit 0; fi\n'
STAND_INS = {
    "no version": "echo hello; exit 0\n",
    "garbage for a version": "head -c 4000 /dev/urandom; exit 0\n",
    "a version that is too old": 'echo "RELION version: 1.4"; exit 0\n',
    "version that fails": "echo 'libcuda.so: cannot open shared object file' >&2; exit 127\n",
    "dies at once": GOOD + "echo 'ERROR: bad particle'; exit 1\n",
    "is killed": GOOD + "kill -9 $$\n",
    "segmentation fault": GOOD + "kill -SEGV $$\n",
    "garbage and a good end": GOOD + "head -c 100000 /dev/urandom; exit 0\n",
    "nothing and a good end": GOOD + "exit 0\n",
    "a flood of output": GOOD + "yes 'WARNING: something' | head -c 3000000; exit 1\n",
    "disk full": GOOD + "echo 'No space left on device' >&2; exit 1\n",
    "half a map": GOOD + 'for w in "$@"; do [ "$o" = --o ] && head -c 500 /dev/zero > "$w"; '
    'o="$w"; done; exit 0\n',
    "hangs": GOOD + "sleep 600\n",
}
"""Shell programs that take RELION's place."""
WORDS = ["resample", "classify", "--i", "HOME/data/particles.star", "--o", "HOME/relion"]
WORDS += ["--engine", "relion", "--classes", "2", "--iter", "2", "--ranks", "1"]


def put(folder: Path, text: str) -> None:
    folder.mkdir(exist_ok=True)
    for name in ("relion_refine", "relion_refine_mpi", "relion_reconstruct"):
        (folder / name).write_text("#!/bin/sh\n" + text)
        (folder / name).chmod(0o755)


def test_stand_ins_of_relion_are_named(works: Works, tmp_path: Path) -> None:
    start = works.work("report")
    with row("RELION stand-ins: hang, die, garbage, versions, half a file") as figures:
        for name, text in [*STAND_INS.items()][: trials(len(STAND_INS), len(STAND_INS))]:
            home = works.copy(start)
            put(tmp_path / "bin", text)
            how = {"set": {"PATH": f"{tmp_path}/bin:/usr/bin:/bin"}}
            if name == "hangs":
                how |= {"signal": signal.SIGTERM, "after": 3}
            ended = works.disturber.run(works.words(WORDS, home), **how)
            with figures.trial(f"{name}, code {ended.code}"):
                assert ended.code in ((143,) if name == "hangs" else (4, 5)), ended.said[-2000:]
                require_named(ended, 4, 5, 143)
                assert len(ended.err) < 20_000
                assert not debris(home / "relion")
                if name in ("dies at once", "disk full", "version that fails"):
                    assert text.split("'")[1] in ended.err
                if name == "hangs":
                    assert not _running(tmp_path / "bin"), "RELION goes on"


def _running(folder: Path) -> bool:
    """Whether a program of a folder runs."""
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(folder).encode() in place.read_bytes() and place.parent.name != str(os.getpid()):
                return True
        except OSError:
            continue
    return False
