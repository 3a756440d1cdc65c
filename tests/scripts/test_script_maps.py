"""link.sh, fit.sh, bigdata.py, enumerate.sh, run_prepare.py, tsne_prepare.py."""

import numpy as np
import pytest
from prototype_files import BOX, blob, particle_numbers, write_star

from alphacryo4d.io.mrc import write_volume


@pytest.fixture
def maps(tmp_path):
    rng = np.random.default_rng(0)
    volumes = rng.normal(2.0, 3.0, (4, 8, 8, 8)).astype("f4")
    names = ["u234_b1_c1", "u234_b1_c2", "u234_b1_c10", "u123_b1_c1"]
    (tmp_path / "maps_aligned").mkdir()
    for name, volume in zip(names, volumes, strict=True):
        write_volume(tmp_path / "maps_aligned" / f"{name}_aligned.mrc", volume, 1.5)
    return volumes


def test_links_follow_the_table_of_volumes(run, tmp_path, project):
    run("link.sh", project)
    assert len(list((tmp_path / "maps").iterdir())) == 24
    link = tmp_path / "maps" / "u134_b1_c3.mrc"
    assert link.resolve() == project / "batch1" / "u134" / "run_it025_class003.mrc"


def test_linked_tables_hold_the_particles_of_their_class(run, tmp_path, project):
    run("link.sh", project)
    assignments = np.load(project / "assignments.npy")
    for column, digits in enumerate(("234", "134", "124", "123")):
        for number in range(6):
            numbers = particle_numbers(tmp_path / "stars" / f"u{digits}_b1_c{number + 1}.star")
            members = np.flatnonzero(assignments[:, column] == 6 * column + number) + 1
            np.testing.assert_array_equal(numbers, members)


def test_arrays_and_log_have_one_order(run, tmp_path, maps):
    run("bigdata.py")
    assert (tmp_path / "data.log").read_text().splitlines() == [
        "1 u234_b1_c1_aligned.mrc",
        "2 u234_b1_c2_aligned.mrc",
        "3 u234_b1_c10_aligned.mrc",
        "4 u123_b1_c1_aligned.mrc",
    ]
    raw = np.load(tmp_path / "rdata_3d.npy")
    np.testing.assert_array_equal(raw, maps)
    flat = np.load(tmp_path / "rdata.npy")
    assert flat.dtype == raw.dtype == np.float32
    expected = maps.reshape(4, -1).astype(float)
    expected = (expected - expected.mean(1)[:, None]) / expected.std(1)[:, None]
    np.testing.assert_allclose(flat, expected, atol=1e-5)


def test_std_false_leaves_the_volumes_as_they_are(run, tmp_path, maps):
    run("bigdata.py", "--folder", "maps_aligned", "--std", "False")
    np.testing.assert_array_equal(np.load(tmp_path / "rdata.npy"), maps.reshape(4, -1))


def test_counts_follow_the_log(run, tmp_path, maps):
    run("bigdata.py", "-f", "maps_aligned", "-s", "True")
    for count, name in enumerate(("u234_b1_c1", "u234_b1_c2", "u234_b1_c10", "u123_b1_c1"), 3):
        write_star(tmp_path / "stars" / f"{name}.star", range(1, count + 1))
    for _ in range(2):
        run("enumerate.sh")
        assert (tmp_path / "num.txt").read_text() == "3\n4\n5\n6\n"


def test_prepared_volumes_are_normalised_each_by_itself(run, tmp_path, maps):
    np.save(tmp_path / "rdata_3d.npy", maps)
    run("run_prepare.py", "-d", "rdata_3d.npy")
    low, high = maps.min((1, 2, 3), keepdims=True), maps.max((1, 2, 3), keepdims=True)
    prepared = np.load(tmp_path / "data_dl.npy")
    np.testing.assert_allclose(prepared, (maps - low) / (high - low), atol=1e-6)


@pytest.mark.parametrize("std", ["True", "False"])
def test_rows_for_tsne_are_volume_and_feature_map(run, tmp_path, std):
    rng = np.random.default_rng(1)
    data = rng.normal(size=(3, 64)).astype("f4")
    feature = rng.normal(5, 2, (3, 2, 2, 2, 1)).astype("f4")
    np.save(tmp_path / "rdata.npy", data)
    np.save(tmp_path / "feature.npy", feature)
    run("tsne_prepare.py", "-f", "feature.npy", "-s", std)
    joined = np.load(tmp_path / "input.npy")
    assert joined.shape == (3, 72)
    np.testing.assert_array_equal(joined[:, :64], data)
    flat = feature.reshape(3, 8)
    if std == "True":
        flat = (flat - flat.mean(1, keepdims=True)) / flat.std(1, keepdims=True)
    np.testing.assert_allclose(joined[:, 64:], flat, atol=1e-5)


def test_maps_are_brought_to_the_reference(run, tmp_path):
    rng = np.random.default_rng(2)
    reference = blob(0.4, rng)
    moved = np.roll(reference, (1, -1, 1), (0, 1, 2))
    write_volume(tmp_path / "maps" / "refs" / "ref.mrc", reference, 5.0)
    write_volume(tmp_path / "maps" / "u123_b1_c1.mrc", moved, 5.0)
    run("fit.sh")
    from alphacryo4d.io.mrc import read_volume

    aligned, voxel_size = read_volume(tmp_path / "maps_aligned" / "u123_b1_c1_aligned.mrc")
    assert voxel_size == pytest.approx(5.0)
    inner = slice(3, BOX - 3)
    corner = (inner, inner, inner)
    before = np.corrcoef(moved[corner].ravel(), reference[corner].ravel())[0, 1]
    after = np.corrcoef(aligned[corner].ravel(), reference[corner].ravel())[0, 1]
    assert after > 0.98 > before


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("bigdata.py", ("-f", "absent")),
        ("bigdata.py", ("-f", "mixed")),
        ("bigdata.py", ("--std", "perhaps")),
        ("enumerate.sh", ()),
        ("fit.sh", ("absent",)),
        ("link.sh", ("absent",)),
        ("run_prepare.py", ("-d", "absent.npy")),
        ("tsne_prepare.py", ("-d", "absent.npy")),
        ("tsne_prepare.py", ("-d", "two.npy", "-f", "three.npy")),
    ],
)
def test_wrong_input_is_one_line_and_writes_nothing(run, tmp_path, name, arguments):
    write_volume(tmp_path / "mixed" / "a.mrc", np.ones((8, 8, 8), np.float32), 1.0)
    write_volume(tmp_path / "mixed" / "b.mrc", np.ones((4, 4, 4), np.float32), 1.0)
    np.save(tmp_path / "two.npy", np.ones((2, 8)))
    np.save(tmp_path / "three.npy", np.ones((3, 8)))
    before = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    run(name, *arguments, code=2 if "perhaps" in arguments else 3)
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == before
