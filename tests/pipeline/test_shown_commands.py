"""Every command that the documents show runs on a small project, or says above it why not.

``<!-- not run: REASON -->`` above a block marks all its commands; ``<!-- not run (WORDS): REASON
-->`` those that hold the words. What would take long gets small numbers behind its own options.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import simulated
from small_run import RUN, call

from alphacryo4d.io.cs import read_cs, write_cs
from alphacryo4d.io.mrc import write_volume

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"((?:^<!-- not run[^\n]*-->\n+)*)^```([a-z]*)\n(.*?)^```", re.M | re.S)
MARK = re.compile(r"<!-- not run(?: \((.+?)\))?: (.+?) -->")
PROGRAM = "alphacryo4d "
SMALL = [*RUN, "--initial-resolution", "25", "--final-resolution", "20"]
PARTICLES = ["--components", "2", "--iterations", "1", "--gaussians", "4", "--images", "21"]
PARTICLES += ["--final-resolution", "15", "--initial-resolution", "20", "--path-volumes", "3"]
SMALLER = {
    "run": SMALL,
    "resample consensus": ["--iter", "2"],
    "landscape --i": ["--states", "2"],
    "landscape particles": PARTICLES,
}
"""Options that make a shown command short; the project was made with those of ``run``."""


def shown(page: Path) -> list[tuple[str, str]]:
    """Commands of a page's shell blocks in order, each with the reason why it is not run, or ""."""
    commands = []
    for block in BLOCK.finditer(page.read_text()):
        if block[2] not in ("sh", ""):
            continue
        marks = [(words or "", reason) for words, reason in MARK.findall(block[1])]
        for line in block[3].replace("\\\n", " ").splitlines():
            words = " ".join(shlex.split(line, comments=True, posix=False))
            if words and not words.startswith("cd "):
                commands.append((words, next((why for part, why in marks if part in words), "")))
    return commands


SHOWN = {page: commands for page in PAGES if (commands := shown(page))}


@pytest.fixture(scope="module")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the documents name, and a small project of them."""
    place = tmp_path_factory.mktemp("shown") / "work"
    place.mkdir()
    before = Path.cwd()
    os.chdir(place)
    try:
        _make_particles()
        for name in ("run_data.star", "Refine3D/job012/run_data.star", "relion/particles.star"):
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy("particles.star", name)
        shutil.copytree("images", "relion/images")
        words = ["--i", "particles.star", "--o", "project", "--reclassify", *SMALL]
        assert call("run", *words) == 0
        for name in ("ac4d", "demo/project"):
            shutil.copytree("project", name)
        Path("edits.json").write_text(json.dumps({"edits": [{"rename": {"1": "open"}}]}))
        mask = np.ones((simulated.BOX,) * 3, np.float32)
        write_volume(Path("mask.mrc"), mask, simulated.PIXEL)
        shutil.copy("project/vote/class001.mrc", "map.mrc")
    finally:
        os.chdir(before)
    return place


def _make_particles() -> None:
    """Particles of a cryoSPARC job, what it found and what it passed on, and the table of them.

    The table is what ``convert`` makes of these, so that the documents' two ways, from RELION and
    from cryoSPARC, lead to one project.
    """
    states = np.repeat([0, 1], 160)
    table, _ = simulated.simulate(Path(), states, 1.0, np.random.default_rng(5))
    table.write_text(table.read_text().replace("@./", "@images/"))
    Path("images").mkdir()
    Path("stack.mrcs").rename("images/stack.mrcs")
    Path("J30").mkdir()
    assert call("convert", "--i", table, "--o", "J30/all.cs") == 0
    everything = read_cs(Path("J30/all.cs"))
    names = everything.dtype.names or ()
    passed = ["uid", *(name for name in names if name.startswith("ctf/"))]
    layout = [(name, everything.dtype[name]) for name in passed]
    on = np.zeros(len(states), [*layout, ("location/micrograph_path", "S11")])
    for name in passed:
        on[name] = everything[name]
    on["location/micrograph_path"] = [f"mic_{row % 19:03d}.mrc" for row in range(len(states))]
    write_cs(Path("J30/J30_passthrough_particles.cs"), on)
    own = [name for name in names if name not in passed[1:]]
    write_cs(Path("J30/J30_particles.cs"), everything[own])
    parts = ["--passthrough", "J30/J30_passthrough_particles.cs", "--o", table]
    table.unlink()
    assert call("convert", "--i", "J30/J30_particles.cs", *parts) == 0


@pytest.fixture
def folder(furnished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: a copy of that folder."""
    place = tmp_path / "work"
    shutil.copytree(furnished, place)
    monkeypatch.chdir(place)
    monkeypatch.setenv("ALPHACRYO4D_IMAGES_FROM", "")
    for name in ("project", "ac4d", "demo/project"):
        assert call("relocate", "--i", name) == 0
    return place


def run_shown(words: str) -> int:
    """Exit code of a command of the program, made short."""
    split = shlex.split(words)
    smaller = next((more for name, more in SMALLER.items() if words.startswith(name)), [])
    if split[0] == "convert":  # a table of that name is there for the commands before
        Path(split[split.index("--o") + 1]).unlink(missing_ok=True)
    code = call(*split, *smaller)
    os.environ["ALPHACRYO4D_IMAGES_FROM"] = ""
    return code


@pytest.mark.parametrize("page", SHOWN, ids=lambda page: page.name)
def test_commands_of_the_program_run_in_order(
    page: Path, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    commands = [words for words, reason in SHOWN[page] if not reason]
    own = [words.removeprefix(PROGRAM) for words in commands if words.startswith(PROGRAM)]
    if not own:
        return
    request.getfixturevalue("folder")
    for words in own:
        code = run_shown(words)
        said = capsys.readouterr()
        assert code == 0, f"alphacryo4d {words}\n{said.err}"


def test_what_is_no_command_of_the_program_is_known() -> None:
    """``make`` has the target, completion is understood by the shell; all else is marked."""
    every = [one for commands in SHOWN.values() for one, why in commands if not why]
    others = {words for words in every if not words.startswith(PROGRAM)}
    for words in others:
        if words.startswith("make "):
            subprocess.run([*words.split(), "--dry-run"], cwd=ROOT, check=True, capture_output=True)
        else:
            assert words.startswith('eval "$(_ALPHACRYO4D_COMPLETE=bash_source'), words
            place = f"PATH={Path(sys.executable).parent}:$PATH; "
            shell = ["bash", "-c", f"{place}{words}; complete -p alphacryo4d"]
            done = subprocess.run(shell, check=True, capture_output=True, text=True)
            assert "complete" in done.stdout


def test_reasons_are_given_and_most_pages_run() -> None:
    every = [one for commands in SHOWN.values() for one in commands]
    assert all(len(reason) > 10 for _, reason in every if reason)
    named = {name for _, reason in every for name in re.findall(r"tests/[\w/.]*\w", reason)}
    assert named
    assert all((ROOT / name).exists() for name in named)
    assert sum(not reason for _, reason in every) >= 40


def listed_files() -> list[re.Pattern[str]]:
    """Names of files in the first column of the page of files, any number in the place of one.

    A name that begins with ``_`` or ``.`` is an end of others.
    """
    patterns = []
    for row in (ROOT / "docs" / "files.md").read_text().splitlines():
        cell = row.split("|")[1] if row.startswith("| ") else ""
        for name in re.findall(r"`([^`]+)`", cell):
            last = name.rstrip("/").rsplit("/", 1)[-1]
            pattern = re.sub(r"\d+", r"\\d+", re.escape(last)).replace(r"\*", ".*")
            patterns.append(re.compile((".*" if last[0] in "_." else "") + pattern))
    return patterns


def test_every_file_of_a_project_stands_on_the_page_of_files(folder: Path) -> None:
    more = [
        "landscape particles --i project --o project/particle_landscape --gaussians 2 --j 2",
        "volume --i project --at states --o project/particle_volumes --j 2",
        "select --i project --where 'confidence > 0' --o project/picked",
        "landscape zoom --i project --state 1 --o project/zoom1",
        "vote refine --i project/reclassify --o project/refine",
        "chimerax --i project",
        "report --i project",
    ]
    for words in more:
        assert call(*shlex.split(words)) == 0, words
    patterns = listed_files()
    unlisted = {
        str(path.relative_to("project"))
        for path in Path("project").rglob("*")
        if path.is_file() and not any(one.fullmatch(path.name) for one in patterns)
    }
    assert unlisted == set()
