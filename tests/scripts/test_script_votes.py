"""vote_prepare.sh, post_and_f.sh, Vote.py, post_or_parallel.sh, dedup.sh."""

import numpy as np
import pytest
from prototype_files import HEADER, particle_numbers, row, write_star

VOLUMES = ("u234_b1_c1", "u134_b1_c1", "u124_b1_c1", "u123_b1_c1", "u123_b1_c2")
MEMBERS = ([2, 3, 4], [1, 3, 4], [1, 2, 4, 9], [3, 1], [2, 9])


@pytest.fixture
def state(tmp_path):
    """Class tables, data.log and a state of the first four volumes in Vote/c1."""
    for name, numbers in zip(VOLUMES, MEMBERS, strict=True):
        write_star(tmp_path / "stars" / f"{name}.star", numbers)
    log = "".join(f"{i} {name}_aligned.mrc\n" for i, name in enumerate(VOLUMES, 1))
    (tmp_path / "data.log").write_text(log)
    folder = tmp_path / "Vote" / "c1"
    folder.mkdir(parents=True)
    (folder / "c1").write_text("1 0.5\n2 1.5\n3 2.5\n4 3.5\n")
    return folder


def check_votes(folder):
    assert (folder / "pre_vote.log").read_text() == "".join(
        f"{votes:7d} {number:06d}@stack.mrcs\n"
        for number, votes in ((1, 3), (2, 2), (3, 3), (4, 3), (9, 1))
    )
    assert (folder / "pre_vote.star").read_text() == HEADER + "".join(map(row, (1, 2, 3, 4, 9)))


def test_particles_with_two_votes_stay(run, state):
    run("vote_prepare.sh", "c1", at=state)
    for _ in range(2):
        run("post_and_f.sh", at=state)
        check_votes(state)
        assert (state / "post_and.star").read_text() == HEADER + "".join(map(row, (1, 2, 3, 4)))
        names = "".join(f" {n:06d}@stack.mrcs\n" for n in (1, 2, 3, 4))
        assert (state / "post_vote.log").read_text() == names


def test_the_threshold_is_the_first_argument(run, state):
    run("vote_prepare.sh", "c1", at=state)
    run("post_and_f.sh", 3, at=state)
    check_votes(state)
    assert particle_numbers(state / "post_and.star") == [1, 3, 4]


def test_vote_does_all_three_steps(run, state):
    run("Vote.py", "-c", "c1", "-he", "head.star", "-r", "3", "-t", 3, at=state)
    assert (state / "head.star").read_text() == HEADER
    check_votes(state)
    assert particle_numbers(state / "post_and.star") == [1, 3, 4]


def test_links_of_an_earlier_run_are_replaced(run, state):
    run("vote_prepare.sh", "c1", at=state)
    (state / "c1").write_text("5 0.1\n")
    run("vote_prepare.sh", "c1", "../../data.log", "../../stars", at=state)
    assert [path.name for path in state.glob("u*.star")] == ["u123_b1_c2.star"]


def test_a_particle_that_a_table_lists_twice_votes_once(run, tmp_path):
    write_star(tmp_path / "u123_b1_c1.star", [1, 1, 2])
    write_star(tmp_path / "u124_b1_c1.star", [2])
    done = run("post_and_f.sh")
    assert particle_numbers(tmp_path / "post_and.star") == [2]
    assert "vote once" in done.stderr


def test_single_copies_go_to_the_nearest_state(run, state):
    """Particle 9 is at 2.5 in state 1 and at 0.2 in state 2; particle 2 has two votes in 1."""
    run("vote_prepare.sh", "c1", at=state)
    other = state.parent / "c2"
    other.mkdir()
    (other / "c2").write_text("5 0.2\n")
    run("vote_prepare.sh", "c2", at=other)
    run("post_or_parallel.sh", at=state)
    run("post_or_parallel.sh", at=other)
    assert particle_numbers(state / "post_or.star") == [1, 2, 3, 4]
    assert particle_numbers(other / "post_or.star") == [2, 9]


def test_particles_of_two_tables_are_dropped(run, tmp_path):
    write_star(tmp_path / "s1.star", [5, 1, 2])
    write_star(tmp_path / "s2.star", [2, 3])
    for _ in range(2):
        run("dedup.sh")
        assert (tmp_path / "s1_dedup.star").read_text() == HEADER + row(5) + row(1)
        assert (tmp_path / "s2_dedup.star").read_text() == HEADER + row(3)
    assert len(list(tmp_path.iterdir())) == 4


def test_votes_agree_with_a_plain_count(run, tmp_path):
    rng = np.random.default_rng(3)
    votes = np.zeros(60, int)
    for number, digits in enumerate(("123", "124", "134", "234")):
        members = np.flatnonzero(rng.random(60) < 0.5)
        votes[members] += 1
        write_star(tmp_path / f"u{digits}_b{number + 1}_c{number + 7}.star", members + 1)
    run("post_and_f.sh", 2)
    expected = np.flatnonzero(votes >= 2) + 1
    np.testing.assert_array_equal(particle_numbers(tmp_path / "post_and.star"), expected)


@pytest.mark.parametrize(
    ("name", "arguments", "code"),
    [
        ("vote_prepare.sh", (), 2),
        ("vote_prepare.sh", ("absent",), 3),
        ("vote_prepare.sh", ("beyond",), 3),
        ("vote_prepare.sh", ("empty",), 3),
        ("post_and_f.sh", (), 3),
        ("post_and_f.sh", ("two",), 2),
        ("post_and_f.sh", ("1", "2"), 2),
        ("Vote.py", ("-c", "absent"), 3),
        ("post_or_parallel.sh", (), 3),
        ("dedup.sh", (), 3),
    ],
)
def test_wrong_input_is_one_line_and_writes_nothing(run, state, name, arguments, code):
    (state / "beyond").write_text("6 0.1\n")
    (state / "empty").write_text("")
    before = sorted(state.rglob("*"))
    run(name, *arguments, at=state, code=code)
    assert sorted(state.rglob("*")) == before


def test_tables_with_other_columns_are_refused(run, state):
    run("vote_prepare.sh", "c1", at=state)
    (state / "u999_b1_c1.star").write_text("data_\n\nloop_\n_rlnImageName #1\n1@a.mrcs\n")
    run("post_and_f.sh", at=state, code=3)
    assert not (state / "pre_vote.log").exists()
