"""Two commands on one project at once: one waits or is told, files are never mixed."""

import pytest
from battery import contents, debris, differences, require_named, row
from works import Works

pytestmark = pytest.mark.slow
PAIRS = (
    ("run from vote", "edits"), ("run, other threshold", "report"), ("edits", "edits"),
    ("reclassify", "report"), ("run from landscape", "run from vote"), ("particles", "select"),
    ("run, other threshold", "run from vote"), ("run, other states", "edits"),
    ("edits", "report"), ("reclassify", "run, other threshold"), ("classify", "classify"),
    ("run from landscape", "reconstruct"), ("relocate", "edits"), ("particles", "particles"),
    ("run from vote", "run from vote"),
)  # fmt: skip
EVERY = (*3 * PAIRS, ("run", "run"), *PAIRS, ("run from deepfeature", "run from landscape"))
"""Pairs in the order in which they are tried; those that train come rarely, as in ``works``."""


def test_two_commands_at_once(works: Works) -> None:
    alone: dict[tuple[str, str], dict[str, bytes]] = {}
    with row("two commands at once: run, vote, edits, reclassify, report", 3, 240) as figures:
        for trial in figures.numbers():
            pair = EVERY[trial % len(EVERY)]
            begun, other = (works.work(name) for name in pair)
            home = works.copy(begun)
            words = [works.words(work.words, home) for work in (begun, other)]
            if pair not in alone:
                for one in words:
                    require_named(works.disturber.run(one))
                alone[pair] = contents(home / "project")
                home = works.copy(begun)
            ended = works.disturber.together(*({"words": one} for one in words))
            with figures.trial(f"{pair}, codes {[one.code for one in ended]}"):
                for one in ended:
                    require_named(one, 2, 3)
                for one in words:
                    require_named(works.disturber.run(one))
                found = differences(contents(home / "project"), alone[pair])
                assert not found, f"files differ: {found[:12]}"
                assert not debris(home / "project"), debris(home / "project")
