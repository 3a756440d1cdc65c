"""tsne_rd.py, string_method.py, clustering.py."""

import numpy as np
import pytest


def test_authors_centers_on_the_proteasome(run, tmp_path, shared_data):
    data = shared_data / "proteasome"
    done = run(
        "string_method.py", "-l", data / "output_big.npy", "-n", data / "num_big.txt",
        "-r", 160, "-s", -50, 100, "-e", -80, -30, "-i", 0.1, "-I", "cubic", "-k", 7,
    )  # fmt: skip
    assert "converged" in done.stderr
    centers = np.load(tmp_path / "centers_k.npy")
    assert centers.dtype == np.float64
    np.testing.assert_allclose(centers, np.load(data / "centers_k.npy"), atol=0.01)
    assert (tmp_path / "el.pdf").read_bytes().startswith(b"%PDF")


def test_groups_far_apart_stay_apart_in_the_embedding(run, tmp_path):
    rng = np.random.default_rng(0)
    groups = np.repeat([0, 1, 2], 12)
    rows = rng.normal(size=(36, 50)) + 20 * rng.normal(size=(3, 50))[groups]
    np.save(tmp_path / "input.npy", rows.astype("f4"))
    run("tsne_rd.py", "-s", 3, "-p", 8, "-n", 500)
    points = np.load(tmp_path / "output.npy")
    assert points.shape == (36, 2)
    assert points.dtype == np.float32
    distance = np.linalg.norm(points[:, None] - points, axis=2)
    same = groups[:, None] == groups
    assert distance[same].max() < distance[~same].min()
    assert (tmp_path / "tsne.png").read_bytes().startswith(b"\x89PNG")


def test_volumes_go_to_the_nearest_center_strictly_inside(run, tmp_path):
    points = np.array([[0, 0], [1, 0], [9, 0], [5, 0], [30, 0], [2, 0]], "f4")
    np.save(tmp_path / "output.npy", points)
    np.save(tmp_path / "centers_k.npy", np.array([[0.0, 0.0], [10.0, 0.0], [90.0, 0.0]]))
    for _ in range(2):
        run("clustering.py", "--radius", 5.0)
        assert (tmp_path / "c1" / "c1").read_text() == "1 0.0\n2 1.0\n6 2.0\n"
        assert (tmp_path / "c2" / "c2").read_text() == "3 1.0\n"
        assert (tmp_path / "c3" / "c3").read_text() == ""


def test_a_rerun_with_fewer_centers_removes_the_others(run, tmp_path):
    np.save(tmp_path / "output.npy", np.zeros((3, 2)))
    np.save(tmp_path / "centers_k.npy", np.zeros((3, 2)))
    run("clustering.py")
    np.save(tmp_path / "centers_k.npy", np.zeros((1, 2)))
    run("clustering.py")
    assert [path.name for path in tmp_path.glob("c*/c*")] == ["c1"]


@pytest.mark.parametrize(
    ("name", "arguments", "code"),
    [
        ("string_method.py", ("-l", "absent.npy"), 3),
        ("string_method.py", ("-n", "short.txt"), 3),
        ("string_method.py", ("-I", "quintic"), 2),
        ("string_method.py", ("--start", "1"), 2),
        ("string_method.py", ("-k", "0"), 2),
        ("tsne_rd.py", ("-i", "output.npy", "-p", "-1"), 2),
        ("clustering.py", ("-r", "0"), 2),
        ("clustering.py", ("-c", "bad.npy"), 3),
    ],
)
def test_wrong_input_is_one_line_and_writes_nothing(run, tmp_path, name, arguments, code):
    np.save(tmp_path / "output.npy", np.random.default_rng(0).normal(size=(9, 2)))
    np.save(tmp_path / "centers_k.npy", np.zeros((2, 2)))
    np.save(tmp_path / "bad.npy", np.zeros((2, 3)))
    (tmp_path / "short.txt").write_text("5\n6\n")
    before = sorted(tmp_path.rglob("*"))
    run(name, *arguments, code=code)
    assert sorted(tmp_path.rglob("*")) == before
