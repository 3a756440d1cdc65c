"""Two commands on one project at once: one waits or is told, files are never mixed."""

import pytest
from battery import contents, debris, differences, require_named, row
from works import Works

pytestmark = pytest.mark.slow
TWO_RUNS = (
    ("run from vote", "run from vote"),
    ("vote", "vote"),
    ("run, other threshold", "run from vote"),
    ("resample", "resample"),
    ("run from vote", "vote"),
    ("run, other threshold", "run, other states"),
    ("landscape", "landscape"),
    ("run from vote", "run, other threshold"),
    ("resample", "resample"),
    ("vote", "run from vote"),
)
RUN_AND_VOTE = (
    ("run from vote", "edits"),
    ("edits", "edits"),
    ("reclassify", "run, other threshold"),
    ("run from vote", "reconstruct"),
    ("run, other threshold", "edits"),
    ("run from vote", "reclassify"),
    ("vote", "reconstruct"),
    ("vote", "edits"),
    ("run, other threshold", "reconstruct"),
    ("run, other states", "edits"),
)
RUN_AND_REPORT = (
    ("run from vote", "report"),
    ("vote", "report"),
    ("edits", "report"),
    ("resample", "report"),
    ("run, other threshold", "report"),
    ("landscape", "report"),
    ("run from vote", "report"),
    ("reclassify", "report"),
    ("report", "report"),
    ("reconstruct", "report"),
)
OTHERS = (
    ("classify", "classify"),
    ("relocate", "edits"),
    ("select", "run from vote"),
    ("relocate", "run from vote"),
    ("select", "select"),
    ("vote", "relocate"),
    ("report", "relocate"),
    ("particles", "particles"),
    ("resample", "classify"),
    ("particles", "select"),
)
EVERY = tuple(pair for four in zip(TWO_RUNS, RUN_AND_VOTE, RUN_AND_REPORT, OTHERS, strict=True)
              for pair in four)  # fmt: skip
"""Two runs, run and vote, run and report in turn, and pairs of other commands: 20 of each."""


def test_two_commands_at_once(works: Works) -> None:
    """The files are those of one command after the other, in the one order or in the other."""
    orders: dict[tuple[str, str, bool], dict[str, bytes]] = {}

    def in_turn(pair: tuple[str, str], *, swapped: bool) -> dict[str, bytes]:
        """Files after both, one by one; both are given again at the end, as after the trial."""
        key = (*pair, swapped)
        if key not in orders:
            home = works.copy(works.work(pair[0]))
            words = [works.words(works.work(name).words, home) for name in pair]
            for one in [*words[:: -1 if swapped else 1], *words]:
                require_named(works.disturber.run(one))
            orders[key] = contents(home / "project")
        return orders[key]

    with row("two commands at once: run, vote, edits, reclassify, report", 3, 80) as figures:
        for trial in figures.numbers():
            pair = EVERY[trial % len(EVERY)]
            begun, other = (works.work(name) for name in pair)
            in_turn(pair, swapped=False)
            home = works.copy(begun)
            words = [works.words(work.words, home) for work in (begun, other)]
            ended = works.disturber.together(*({"words": one} for one in words))
            with figures.trial(f"{pair}, codes {[one.code for one in ended]}"):
                for one in ended:
                    require_named(one, 2, 3)
                for one in words:
                    require_named(works.disturber.run(one))
                assert not debris(home / "project"), debris(home / "project")
                left = contents(home / "project")
                found = differences(left, in_turn(pair, swapped=False))
                if found:
                    found = differences(left, in_turn(pair, swapped=True))
                assert not found, f"files differ: {found[:12]}"
