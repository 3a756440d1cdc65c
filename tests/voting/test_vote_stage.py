"""The stage on a small project: files, counts and bytes."""

import json

import numpy as np
import pytest

from alphacryo4d.core.errors import InputError
from alphacryo4d.core.run_flags import RunFlags
from alphacryo4d.landscape.states import assign_volumes
from alphacryo4d.particles.open import open_table
from alphacryo4d.voting.options import VoteOptions
from alphacryo4d.voting.stage import run_vote

COUNT_ONLY = VoteOptions(reconstruct=False, test=False)


def vote(project, options=COUNT_ONLY, **flags):
    return run_vote(
        project.resample, project.landscape, project.root / "vote", options=options, **flags
    )


def columns_of(project):
    names = ["rlnClassNumber", "ac4dVotes", "ac4dConfidence", "ac4dEntropy", "ac4dInputClassNumber"]
    return open_table(project.root / "vote" / "particles.star").read(names)


def test_rows_of_a_state_are_bytes_of_the_input(project):
    vote(project)
    states = columns_of(project)["rlnClassNumber"]
    header = project.table.read_bytes().split(b"000001@")[0]
    for state in (1, 2, 3):
        wanted = "\n".join(
            row for row, own in zip(project.rows, states, strict=True) if own == state
        )
        text = (project.root / "vote" / f"class{state:03d}.star").read_bytes()
        assert text == header + wanted.encode() + b"\n\n"


def test_every_particle_is_in_at_most_one_state_and_counts_add_up(project):
    vote(project)
    report = json.loads((project.root / "vote" / "report.json").read_text())
    sizes = [len(open_table(project.root / "vote" / f"class{k:03d}.star")) for k in (1, 2, 3)]
    assert sizes == [entry["particles"] for entry in report["per_state"]]
    assert sum(sizes) == report["voted"]
    assert report["voted"] + report["voted_out"] == report["particles"] == len(project.rows)


def test_votes_are_those_of_the_volumes_states(project):
    vote(project)
    votes = np.load(project.root / "vote" / "votes.npy")
    states = assign_volumes(project.points, project.centers, project.radii)
    expected = np.zeros_like(votes)
    for row, copies in enumerate(project.assignments):
        for volume in copies[copies >= 0]:
            if states[volume]:
                expected[row, states[volume] - 1] += 1
    np.testing.assert_array_equal(votes, expected)
    assert votes.dtype == np.uint8


def test_the_class_of_the_input_is_kept_under_another_name(project):
    vote(project)
    kept = columns_of(project)["ac4dInputClassNumber"]
    assert kept.astype(int).tolist() == [int(row.split()[2]) for row in project.rows]


def test_the_landscapes_own_states_of_volumes_are_taken(project):
    own = np.zeros(len(project.points), np.int32)
    own[::2] = 2
    np.save(project.landscape / "volume_states.npy", own)
    vote(project)
    assert set(columns_of(project)["rlnClassNumber"].tolist()) <= {0, 2}
    assert not (project.root / "vote" / "class001.star").exists()


def test_nearest_keeps_more_than_votes(project):
    vote(project)
    by_votes = (columns_of(project)["rlnClassNumber"] > 0).sum()
    vote(
        project,
        VoteOptions(assign="nearest", reconstruct=False, test=False),
        flags=RunFlags(overwrite=True),
    )
    assert (columns_of(project)["rlnClassNumber"] > 0).sum() > by_votes


def test_done_work_is_not_done_again(project):
    vote(project)
    before = (project.root / "vote" / "particles.star").stat().st_mtime_ns
    vote(project)
    assert (project.root / "vote" / "particles.star").stat().st_mtime_ns == before
    vote(project, VoteOptions(threshold="3", reconstruct=False, test=False))
    votes = columns_of(project)
    assert (votes["ac4dVotes"][votes["rlnClassNumber"] > 0] == 3).all()


def test_a_table_that_does_not_fit_is_refused(project):
    project.assignments = project.assignments[:-1]
    project.write()
    with pytest.raises(InputError, match="399"):
        vote(project)
    assert not (project.root / "vote" / "particles.star").exists()


def test_a_changed_table_is_refused(project):
    with project.table.open("a") as stream:
        stream.write("\n# more\n")
    with pytest.raises(InputError, match="changed since"):
        vote(project)


def test_a_missing_landscape_is_named(project):
    (project.landscape / "states.star").unlink()
    with pytest.raises(InputError, match=r"states\.star"):
        vote(project)
