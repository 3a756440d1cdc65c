"""randsf.py, resample.py, Star.py, gethead.py."""

from collections import Counter

import pytest
from prototype_files import HEADER, OLD_HEADER, particle_numbers, row, write_star


def test_batches_hold_every_particle_once_and_are_equal(run, tmp_path):
    write_star(tmp_path / "particles.star", range(1, 104))
    run("randsf.py", "-n", 40)
    batches = [particle_numbers(tmp_path / f"batch{i}.star") for i in (1, 2, 3)]
    assert sorted(sum(batches, [])) == list(range(1, 104))
    assert max(map(len, batches)) - min(map(len, batches)) <= 1
    assert batches[0] != list(range(1, len(batches[0]) + 1))


def test_rows_and_header_are_kept_byte_for_byte(run, tmp_path):
    write_star(tmp_path / "particles.star", range(1, 10))
    run("randsf.py", "--number", 5)
    lines = (tmp_path / "batch2.star").read_text().removeprefix(HEADER).splitlines(True)
    assert lines == [row(n) for n in particle_numbers(tmp_path / "batch2.star")]


def test_a_smaller_rerun_removes_the_batches_before(run, tmp_path):
    write_star(tmp_path / "particles.star", range(1, 41))
    run("randsf.py", "-n", 10)
    run("randsf.py", "-n", 20)
    assert sorted(p.name for p in tmp_path.glob("batch*")) == ["batch1.star", "batch2.star"]


def test_every_particle_is_in_m_of_the_folds(run, tmp_path):
    write_star(tmp_path / "batch1.star", range(1, 15))
    run("resample.py", "-f", 3)
    folds = [particle_numbers(tmp_path / f"union{d}.star") for d in (123, 124, 134, 234)]
    assert Counter(sum(folds, [])) == dict.fromkeys(range(1, 15), 3)
    groups = [particle_numbers(tmp_path / f"sub{i}.star") for i in (1, 2, 3, 4)]
    assert sorted(sum(groups, [])) == list(range(1, 15))
    assert set(folds[0]) == set(range(1, 15)) - set(groups[3])


def test_star_makes_a_folder_for_every_batch(run, tmp_path):
    write_star(tmp_path / "particles.star", range(1, 202))
    run("Star.py", "--star", "particles.star", "--number", 100, "--fold", 5, "--relion", "3.1")
    sizes = []
    for batch in (1, 2, 3):
        folder = tmp_path / f"batch{batch}"
        names = {path.name for path in folder.iterdir()}
        assert {"sub6.star", "union12345.star", f"batch{batch}.star"} <= names
        whole = particle_numbers(folder / f"batch{batch}.star")
        union = particle_numbers(folder / "union12345.star")
        assert set(union) == set(whole) - set(particle_numbers(folder / "sub6.star"))
        sizes.append(len(whole))
    assert sum(sizes) == 201
    assert not list(tmp_path.glob("batch*.star"))


def test_the_same_seed_gives_the_same_batches(run, tmp_path):
    write_star(tmp_path / "particles.star", range(1, 41))
    texts = []
    for seed in (1, 1, 2):
        run("randsf.py", "-n", 20, "--seed", seed)
        texts.append((tmp_path / "batch1.star").read_text())
    assert texts[0] == texts[1] != texts[2]


@pytest.mark.parametrize(("version", "said"), [("2", True), ("3", False), ("4", False)])
def test_a_version_that_contradicts_the_file_is_said(run, tmp_path, version, said):
    write_star(tmp_path / "particles.star", range(1, 9))
    done = run("randsf.py", "-r", version)
    assert ("the file counts" in done.stderr) == said


def test_old_tables_are_read_whatever_the_version(run, tmp_path):
    text = OLD_HEADER + "".join(f"1.5 {n}@a.mrcs 1\n" for n in range(1, 9))
    (tmp_path / "particles.star").write_text(text)
    done = run("randsf.py", "-n", 4, "--relion", "5")
    assert "the file counts" in done.stderr
    assert len(particle_numbers(tmp_path / "batch2.star")) == 4


def test_the_head_is_everything_before_the_first_particle(run, tmp_path):
    write_star(tmp_path / "u123_b1_c1.star", range(1, 9))
    run("gethead.py", "--star", "u123_b1_c1.star", "-he", "top.star", "-r", "3")
    assert (tmp_path / "top.star").read_text() == HEADER


@pytest.mark.parametrize(
    "arguments",
    [
        ("randsf.py", "-s", "absent.star"),
        ("randsf.py", "-n", "0"),
        ("randsf.py", "-n", "many"),
        ("randsf.py", "--relion", "7"),
        ("resample.py", "-s", "particles.star", "-f", "2"),
        ("resample.py", "-s", "broken.star"),
        ("Star.py", "--fold", "4"),
        ("gethead.py", "-s", "broken.star"),
    ],
)
def test_wrong_input_is_one_line_and_writes_nothing(run, tmp_path, arguments):
    write_star(tmp_path / "particles.star", range(1, 9))
    (tmp_path / "broken.star").write_text(HEADER + row(1) + "000002@stack.mrcs 1.0\n")
    before = sorted(tmp_path.iterdir())
    name, *switches = arguments
    code = 3 if "absent.star" in switches or "broken.star" in switches else 2
    run(name, *switches, code=code)
    assert sorted(tmp_path.iterdir()) == before
