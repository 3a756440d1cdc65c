"""Environments that are unlike the developer's: everything works."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from battery import contents, differences, require_named, row
from works import Works

pytestmark = pytest.mark.slow
DAY = 86400
ENVIRONMENTS = {
    "clock back a year": {"clock": [-365 * DAY, 40]},
    "clock a day ahead": {"clock": [DAY, 200]},
    "umask 077": {"umask": 0o077},
    "umask 000": {"umask": 0},
    "no HOME": {"unset": ["HOME", "USER", "LOGNAME"]},
    "user id without a name": {"nameless": True, "unset": ["HOME", "USER", "LOGNAME"]},
    "HOME that is not there": {"set": {"HOME": "/no/such/home"}},
    "stdin closed": {"closed": [0]},
    "stdout closed": {"closed": [1]},
    "stderr closed": {"closed": [2]},
    "all streams closed": {"closed": [0, 1, 2]},
    "TERM unknown": {"set": {"TERM": "no-such-terminal", "COLUMNS": "7"}},
    "small TMPDIR": {"set": {"TMPDIR": "/no/such/folder"}},
}
OF_LIBRARIES = ("no HOME", "user id without a name", "HOME that is not there", "umask 077")
"""Environments that TensorFlow may mind, too."""
PATHS = {
    "blanks": "a folder with blanks", "unicode": "Übung 蛋白质 état", "quotes": "it's \"so\" $HOME",
    "200 characters": "x" * 200, "brackets": "[a]{b}(c)*?", "percent": "50%20of", "dash": "-o",
}  # fmt: skip


def test_environments(works: Works) -> None:
    names = list(ENVIRONMENTS)
    with row("clock, umask, HOME, closed streams, terminal", 3, 3 * len(names)) as figures:
        for trial in figures.numbers():
            name = names[(5 * trial) % len(names)]
            third = "run" if name in OF_LIBRARIES else "classify"
            work = works.work(("edits", "run from vote", third)[trial // len(names)])
            home = works.copy(work)
            begun = time.time()
            ended = works.give(work, home, **ENVIRONMENTS[name])
            with figures.trial(f"{work.name}, {name}"):
                require_named(ended)
                works.require_same(work, home)
                if name == "umask 077":
                    new = [p for p in home.rglob("*") if p.is_file() and p.stat().st_mtime >= begun]
                    open_to_others = [p.name for p in new if p.stat().st_mode & 0o077]
                    assert new
                    assert not open_to_others, open_to_others[:8]


def test_paths(works: Works) -> None:
    names = list(PATHS)
    with row("paths with blanks, unicode, quotes, 200 characters", 2, 2 * len(names)) as figures:
        for trial in figures.numbers():
            name = names[trial % len(names)]
            work = works.work(("edits", "run from landscape")[trial // len(names)])
            home = works.copy(work)
            moved = home.with_name(PATHS[name])
            shutil.rmtree(moved, ignore_errors=True)
            home.rename(moved)
            words = works.words(work.words, moved)
            ended = works.disturber.run(words)
            with figures.trial(f"{work.name}, {name}"):
                require_named(ended)
                # arrays do not depend on where they lie
                found = contents(moved / "project")
                arrays = {n for n in work.made if n.endswith((".npy", ".mrc", ".csv"))}
                wrong = [n for n in sorted(arrays) if found.get(n) != work.made[n]]
                assert not wrong, f"files differ: {wrong[:8]}"
            shutil.rmtree(moved)


def locales(folder: Path) -> dict[str, dict[str, str]]:
    """Environments with other languages; German as far as this machine can make it."""
    plain = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    found = {"C": {"LC_ALL": "C", **plain}, "POSIX": {"LANG": "", "LC_ALL": "POSIX", **plain}}
    if shutil.which("localedef") and Path("/usr/share/i18n/locales/de_DE").is_file():
        made = folder / "de_DE.UTF-8"
        command = ["localedef", "-i", "de_DE", "-f", "UTF-8", made]
        subprocess.run(command, check=True, capture_output=True)
        found["de_DE"] = {"LC_ALL": "de_DE.UTF-8", "LOCPATH": str(folder), **plain}
    return found


def test_locales(works: Works, tmp_path: Path) -> None:
    work = works.work("edits")
    known = [*locales(tmp_path).items()]
    with row("LC_ALL C, POSIX and de_DE", len(known), len(known)) as figures:
        for trial in figures.numbers():
            name, variables = known[trial]
            home = works.copy(work)
            (home / "edits.json").write_text('{"edits": [{"rename": {"1": "geöffnet"}}]}', "utf-8")
            ran = subprocess.run(
                [sys.executable, "-m", "alphacryo4d", *works.words(work.words, home)],
                capture_output=True, env=os.environ | variables, check=False,
            )  # fmt: skip
            with figures.trial(name):
                said = (ran.stdout + ran.stderr).decode(errors="replace")
                assert ran.returncode == 0, said
                found = contents(home / "project", "vote-2")
                states = found["vote-2/states.star"].decode("utf-8")
                assert "geöffnet" in states
                arrays = [n for n in found if n.endswith((".npy", ".mrc"))]
                assert not differences(
                    {n: found[n] for n in arrays}, {n: work.made[n] for n in arrays}
                )
