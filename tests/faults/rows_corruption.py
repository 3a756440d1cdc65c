"""Damaged files of a project: named or made again, nothing executed, memory bounded."""

import json
import os
import random
import shutil
from pathlib import Path

import pytest
from battery import contents, differences, require_named, row
from corruption import WAYS, swap_folder
from works import PARTICLES, Work, Works

pytestmark = pytest.mark.slow
MORE = 1_500_000_000
"""Bytes that a damaged file may make a command take above what the server of faults has."""


@pytest.fixture(scope="module")
def other(works: Works) -> Path:
    """A project of the same size, with other random numbers."""
    if "FAULTS" not in os.environ:  # a whole run for one trial
        return works.home / "project"
    home = Path(shutil.copytree(works.home, works.folder / "other"))
    require_named(works.disturber.run([*works.words(works.again, home), "--seed", "5"]))
    return home / "project"


def chosen(project: Path, rng: random.Random) -> Path:
    """A file of a project; kinds of files are equally likely."""
    kinds: dict[str, list[Path]] = {}
    for path in sorted(project.rglob("*")):
        if path.is_file() and path.name != ".lock":
            kind = path.suffix if path.name.startswith(("class", "run_it", "union")) else path.name
            kinds.setdefault(kind, []).append(path)
    return rng.choice(kinds[rng.choice(sorted(kinds))])


def on_record(path: Path) -> bool:
    """Whether the file's content stands in the record of its folder."""
    record = path.parent / "job.json"
    return record.is_file() and path.name in json.loads(record.read_text()).get("contents", {})


PROJECT = "HOME/project"
COMMANDS = {
    "status": ["status", "--i", PROJECT],
    "report": ["report", "--i", PROJECT],
    "chimerax": ["chimerax", "--i", PROJECT],
    "vote": ["vote", "--i", f"{PROJECT}/resample", "--landscape", f"{PROJECT}/landscape",
             "--o", "HOME/made", "--j", "1"],
    "landscape": ["landscape", "--i", f"{PROJECT}/resample", "--features",
                  f"{PROJECT}/deepfeature", "--o", "HOME/made", "--states", "2", "--j", "1"],
    "reconstruct": ["vote", "reconstruct", "--i", f"{PROJECT}/vote", "--o", "HOME/made"],
    "particles": ["landscape", "particles", "--i", PROJECT, "--o", "HOME/made", *PARTICLES],
    "select": ["select", "--i", PROJECT, "--where", "state = 1", "--o", "HOME/made"],
}  # fmt: skip
SHOWS = ("status", "report", "chimerax")
"""Commands that name every file of a project that is not as it was written."""


def made(home: Path) -> dict[str, bytes]:
    """What a command has made beside the project, records left out."""
    found = contents(home, "made")
    return {name: held for name, held in found.items() if not name.endswith("job.json")}


def undamaged(works: Works, start: Work, command: str) -> dict[str, bytes]:
    """What a command makes of a project that is whole."""
    home = works.copy(start)
    ended = works.disturber.run(works.words(COMMANDS[command], home))
    assert ended.code == 0, f"{command}: {ended.said}"
    return made(home)


def test_damaged_files_are_named_or_made_again(works: Works, other: Path) -> None:
    start = works.work("report")
    held = works.disturber.run(["--version"]).memory
    with row(
        "damaged files of a project: truncated, zeroed, swapped, edited, bombs", 5, 500
    ) as figures:
        commands = {"run": works.again, **COMMANDS}
        wanted: dict[str, dict[str, bytes]] = {}
        for trial in figures.numbers():
            rng = figures.random()
            command = rng.choice(["run", "run", *commands])
            if command in COMMANDS and command not in wanted:
                wanted[command] = undamaged(works, start, command)
            home = works.copy(start)
            path = chosen(home / "project", rng)
            name = str(path.relative_to(home / "project"))
            recorded, way = on_record(path), WAYS[trial % len(WAYS)]
            before = path.read_bytes()
            way(path, rng, other / name)
            damaged = not path.is_file() or path.read_bytes() != before
            ended = works.disturber.run(works.words(commands[command], home))
            with figures.trial(f"{command}, {way.__name__} {name}, code {ended.code}"):
                require_named(ended, 2, 3, 6)
                assert not (path.with_name("canary")).exists(), "code was run"
                assert ended.memory < held + MORE, f"{ended.memory / 1e9:.1f} GB"
                if command == "run" and ended.code == 0:
                    after = contents(home / "project")
                    after = {n: text for n, text in after.items() if not n.endswith(".changed")}
                    found = differences(after, works.finished)
                    assert not found, f"files differ: {found[:8]}\n{ended.said}"
                elif command in SHOWS and recorded and damaged and way is not swap_folder:
                    assert ended.code or path.name in ended.said, f"not named\n{ended.said}"
                elif command in wanted and ended.code == 0 and way is not swap_folder:
                    found = differences(made(home), wanted[command])
                    assert not found or path.name in ended.said, f"{found[:8]}\n{ended.said}"
