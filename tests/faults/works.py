"""Pieces of work on a small project: where each begins, and what each makes undisturbed."""

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from battery import (
    CHANGES,
    OPEN,
    READ,
    STAT,
    Disturber,
    Ended,
    contents,
    debris,
    differences,
    first_difference,
    require_named,
)

RECLASSIFY = ["--final-resolution", "20", "--initial-resolution", "25", "--rounds", "1", "--j", "2"]
PARTICLES = ["--components", "2", "--iter", "2", "--path-volumes", "3", "--j", "2"]
STAGES = ("resample", "deepfeature", "landscape", "vote")
SHORT = (
    "run from vote", "run, other threshold", "edits", "report", "reconstruct", "relocate",
    "reclassify", "run from landscape", "run, other states", "select", "particles", "classify",
)  # fmt: skip
EVERY = (*SHORT, "run", *SHORT, "run from deepfeature")
"""Pieces of work in the order in which a row disturbs them; those that train come rarely: with
TensorFlow each takes as long as twenty others."""


@dataclass
class Work:
    """One command and the project that it is given on.

    Attributes
    ----------
    words : list of str
        The command; ``HOME`` stands for the folder of data and project.
    start : Path
        That folder as it is before.
    made : dict
        Files of the project after an undisturbed run.
    changes, reads : int
        Changes of the file system, and reads below that folder, that it makes.
    seconds : float
    mapped : int
        Bytes of address space that it takes at most, in a child of the server of faults.
    """

    name: str
    words: list[str]
    start: Path
    made: dict[str, bytes] = field(default_factory=dict)
    changes: int = 0
    reads: int = 0
    seconds: float = 0.0
    mapped: int = 0


class Works:
    """All pieces of work; each is run undisturbed when it is first asked for."""

    def __init__(self, disturber: Disturber, home: Path, options: list[str]) -> None:
        self.disturber, self.home, self.folder = disturber, home, home.parent
        self.again = ["run", "--i", "HOME/data/particles.star", "--o", "HOME/project", *options]
        require_named(disturber.run(["relocate", "--i", home / "project"]))
        self.finished = contents(home / "project")
        project = "HOME/project"
        self.begun: dict[str, tuple[list[str], tuple[str, ...]]] = {
            "run": (self.again, STAGES),
            "run from deepfeature": (self.again, STAGES[1:]),
            "run from landscape": (self.again, STAGES[2:]),
            "run from vote": (self.again, STAGES[3:]),
            "run, other states": ([*self.again, "--states", "3"], ()),
            "run, other threshold": ([*self.again, "--threshold", "3"], ()),
            "reclassify": (
                ["vote", "reclassify", "--i", project, "--o", f"{project}/reclassify", *RECLASSIFY],
                (),
            ),
            "edits": (["vote", "--i", project, "--edits", "HOME/edits.json", "--j", "2"], ()),
            "reconstruct": (
                ["vote", "reconstruct", "--i", f"{project}/vote", "--o", f"{project}/maps"],
                (),
            ),
            "select": (
                ["select", "--i", project, "--where", "state = 1", "--o", f"{project}/selected"],
                (),
            ),
            "particles": (["landscape", "particles", "--i", project, *PARTICLES], ()),
            "classify": (
                [
                    "resample",
                    "classify",
                    "--i",
                    "HOME/data/particles.star",
                    "--o",
                    f"{project}/classify",
                    "--classes",
                    "2x2",
                    "--iter",
                    "2",
                    "--j",
                    "2",
                ],
                (),
            ),
            "report": (["report", "--i", project], ()),
            "relocate": (["relocate", "--i", project], ()),
        }
        self.known: dict[str, Work] = {}

    @staticmethod
    def words(words: list[str], home: Path) -> list[str]:
        return [word.replace("HOME", str(home)) for word in words]

    def work(self, name: str) -> Work:
        """A piece of work, with what it makes."""
        if name not in self.known:
            words, without = self.begun[name]
            start = self.folder / f"start {name}"
            shutil.copytree(self.home, start)
            for part in without:
                shutil.rmtree(start / "project" / part)
            found = Work(name, words, start)
            home = self.copy(found)
            ended = self.disturber.run(self.words(words, home), arm=[str(home), CHANGES, 0, 0, 0])
            require_named(ended)
            found.changes, found.seconds, found.mapped = ended.seen, ended.seconds, ended.mapped
            found.made = contents(home / "project")
            assert not debris(home / "project")
            self.known[name] = found
        return self.known[name]

    def reads(self, work: Work) -> int:
        """Reads below its folder that a piece of work makes."""
        if not work.reads:
            home = self.copy(work)
            arm = [str(home), READ | OPEN | STAT, 0, 0, 0]
            work.reads = self.disturber.run(self.words(work.words, home), arm=arm).seen
        return work.reads

    def copy(self, work: Work, *, in_place: bool = False) -> Path:
        """A home to disturb, always in the same place: records name their folder."""
        home = self.folder / "tried"
        if not in_place:
            shutil.rmtree(home, ignore_errors=True)
        return Path(shutil.copytree(work.start, home, dirs_exist_ok=in_place))

    def give(self, work: Work, home: Path, **how: Any) -> Ended:
        """Give the command of a piece of work."""
        return self.disturber.run(self.words(work.words, home), **how)

    def require_same(self, work: Work, home: Path) -> None:
        """Hold that the project is what an undisturbed run makes, without debris."""
        made = contents(home / "project")
        found = differences(made, work.made)
        assert not found, f"files differ: {found[:12]}\n{first_difference(made, work.made)}"
        assert not debris(home / "project"), f"left behind: {debris(home / 'project')}"
