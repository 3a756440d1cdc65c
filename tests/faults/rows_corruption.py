"""Damaged files of a project: named or made again, nothing executed, memory bounded."""

import json
import random
import shutil
from pathlib import Path

import pytest
from battery import contents, differences, require_named, row
from corruption import WAYS
from works import Works

pytestmark = pytest.mark.slow
MORE = 1_500_000_000
"""Bytes that a damaged file may make a command take above what the server of faults has."""


@pytest.fixture(scope="module")
def other(works: Works) -> Path:
    """A project of the same size from other data."""
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


def test_damaged_files_are_named_or_made_again(works: Works, other: Path) -> None:
    project = "HOME/project"
    commands = {
        "run": works.again,
        "status": ["status", "--i", project],
        "report": ["report", "--i", project],
        "vote": ["vote", "--i", project, "--o", f"{project}/vote", "--states", "2", "--j", "2"],
        "landscape": ["landscape", "--i", project, "--o", "HOME/landscape", "--j", "2"],
        "select": ["select", "--i", project, "--where", "state = 1", "--o", "HOME/selected"],
        "chimerax": ["chimerax", "--i", project],
    }
    start = works.work("report")
    held = works.disturber.run(["--version"]).memory
    home = works.copy(start)
    require_named(works.disturber.run(works.words(commands["select"], home)))
    wanted = (home / "selected" / "particles.star").read_bytes()
    with row(
        "damaged files of a project: truncated, zeroed, swapped, edited, bombs", 5, 500
    ) as figures:
        for trial in figures.numbers():
            rng = figures.random()
            home = works.copy(start)
            path = chosen(home / "project", rng)
            name = str(path.relative_to(home / "project"))
            recorded, way = on_record(path), WAYS[trial % len(WAYS)]
            way(path, rng, other / name)
            command = rng.choice(["run", "run", *commands])
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
                elif command in ("status", "report", "chimerax") and recorded:
                    assert ended.code or path.name in ended.said, f"not named\n{ended.said}"
                elif command == "select" and ended.code == 0:
                    assert (home / "selected" / "particles.star").read_bytes() == wanted
