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

LIMITS = ["--initial-resolution", "25", "--final-resolution", "25", "--j", "2"]
RECLASSIFY = ["--rounds", "1", "--no-split-merge", *LIMITS]
PARTICLES = ["--components", "1", "--iter", "1", "--path-volumes", "0", *LIMITS]
CLASSES = ["--initialisation", "random", "--iter", "2", "--j", "2"]
LANDSCAPE = ["--states", "2", "--images", "20", "--bootstrap", "2", "--tolerance", "1e-3"]
STAGES = ("resample", "deepfeature", "landscape", "vote")
QUICK = (
    "vote", "edits", "resample", "report", "run from vote", "reconstruct", "classify", "select",
    "relocate",
)  # fmt: skip
SLOW = (
    "reclassify", "run, other threshold", "landscape", "particles", "run, other states",
    "run from landscape",
)  # fmt: skip
TRAINING = ("train", "run")
ROUND = [name for slow in SLOW for name in (*QUICK, slow)]
EVERY = (*ROUND, TRAINING[0], *ROUND, TRAINING[1])
"""Pieces of work in the order in which a row disturbs them: each stage by itself, or a run that
goes on. One in ten is slow; those that train, by far the slowest, are one in sixty."""
BEFORE = {
    "run": STAGES, "run from landscape": STAGES[2:],
    "run from vote": STAGES[3:], "resample": STAGES[:1], "train": STAGES[1:2],
    "landscape": STAGES[2:3], "vote": STAGES[3:],
}  # fmt: skip
"""Stages whose folders are not there yet."""


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
    """

    name: str
    words: list[str]
    start: Path
    made: dict[str, bytes] = field(default_factory=dict)
    changes: int = 0
    reads: int = 0
    seconds: float = 0.0


class Works:
    """All pieces of work; each is run undisturbed when it is first asked for."""

    def __init__(self, disturber: Disturber, home: Path, options: list[str]) -> None:
        self.disturber, self.home, self.folder = disturber, home, home.parent
        self.again = ["run", "--i", "HOME/data/particles.star", "--o", "HOME/project", *options]
        require_named(disturber.run(["relocate", "--i", home / "project"]))
        self.finished = contents(home / "project")
        project = "HOME/project"
        data, project = ["--i", "HOME/data/particles.star"], "HOME/project"
        begun = {
            "run": self.again,
            "run from landscape": self.again,
            "run from vote": self.again,
            "run, other states": [*self.again, "--states", "3"],
            "run, other threshold": [*self.again, "--threshold", "3"],
            "resample": f"resample --o {project}/resample --classes 2".split() + data + CLASSES,
            "train": f"train --i {project}/resample --o {project}/deepfeature --epochs 1".split(),
            "landscape": f"landscape --i {project}/resample --features {project}/deepfeature "
            f"--o {project}/landscape".split() + LANDSCAPE,
            "vote": f"vote --i {project}/resample --landscape {project}/landscape "
            f"--o {project}/vote --j 2".split(),
            "reclassify": f"vote reclassify --i {project} --o {project}/reclassify".split()
            + RECLASSIFY,
            "edits": f"vote --i {project} --edits HOME/edits.json --j 2".split(),
            "reconstruct": f"vote reconstruct --i {project}/vote --o {project}/maps".split(),
            "select": ["select", "--i", project, "--where", "state = 1", "--o",
                       f"{project}/selected"],
            "particles": ["landscape", "particles", "--i", project, *PARTICLES],
            "classify": f"resample classify --o {project}/classify --classes 2x2".split()
            + data + CLASSES,
            "report": ["report", "--i", project],
            "relocate": ["relocate", "--i", project],
        }  # fmt: skip
        self.begun = {name: (words, BEFORE.get(name, ())) for name, words in begun.items()}
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
            arm = [str(home), CHANGES, 0, 0, 0]
            ended = self.disturber.run(self.words(words, home), arm=arm, teach=True)
            require_named(ended)
            found.changes, found.seconds = ended.seen, ended.seconds
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
