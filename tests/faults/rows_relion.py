"""RELION that hangs, dies, prints garbage, is of another version or fills the disk."""

import contextlib
import os
import signal
import threading
from pathlib import Path

import pytest
from battery import contents, debris, require_named, row
from waiting import wait_until
from works import Works

from alphacryo4d.particles.open import open_table

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
    number = len(STAND_INS)
    with row("RELION stand-ins: hang, die, garbage, versions, half a file", 6, number) as figures:
        for trial in figures.numbers():
            name, text = [*STAND_INS.items()][trial]
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


def _relion(home: Path) -> list[int]:
    """RELION's processes whose commands name a folder."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = place.read_bytes()
            if words.split(b"\0")[0].endswith(b"relion_refine") and str(home).encode() in words:
                found.append(int(place.parent.name))
    return found


@pytest.mark.relion
def test_relion_itself_is_disturbed(works: Works) -> None:
    """RELION or the command is killed, or RELION's files meet a full disk; then it goes on."""
    start = works.work("report")
    with row("RELION itself: killed, orphaned, interrupted, disk full", 1, 24) as figures:
        home = works.copy(start)
        ended = works.disturber.run(works.words(WORDS, home))
        require_named(ended)
        seconds, wanted = ended.seconds, sorted(contents(home / "relion"))
        for trial in figures.numbers():
            rng = figures.random()
            how = ("RELION killed", "command killed", "SIGTERM", "disk full")[trial % 4]
            home = works.copy(start)
            after = rng.uniform(0.1, 1) * seconds
            given: dict[str, object] = {}
            if how == "disk full":
                given = {"file_size": int(10 ** rng.uniform(4, 5.2))}
            elif how != "RELION killed":
                number = signal.SIGKILL if how == "command killed" else signal.SIGTERM
                given = {"signal": number, "after": after}
            killing = threading.Timer(after, lambda home=home: _kill(_relion(home)))
            if how == "RELION killed":
                killing.start()
            ended = works.disturber.run(works.words(WORDS, home), **given)
            killing.cancel()
            with figures.trial(f"{how} after {after:.2f} s, code {ended.code}"):
                if ended.code not in (-9, -15):
                    require_named(ended, 5, 6, 143)
                again = works.disturber.run(works.words(WORDS, home))
                if how == "command killed" and _relion(home):
                    assert again.code == 2, again.said
                    assert "another run is working" in again.err
                    _kill(_relion(home))
                    wait_until(lambda home=home: not _relion(home), 5)
                    again = works.disturber.run(works.words(WORDS, home))
                require_named(again)
                assert sorted(contents(home / "relion")) == wanted
                assert open_table(home / "relion" / "run_it002_data.star").rows == 320
                assert not debris(home / "relion")


def _kill(processes: list[int]) -> None:
    for pid in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
