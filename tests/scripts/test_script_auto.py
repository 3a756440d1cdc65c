"""Auto4D.py: from maps and class tables to the volumes of every state, in one call."""

import numpy as np
import pytest
from prototype_files import CLASSES, FOLDS, PARTICLES, particle_numbers


@pytest.mark.slow
def test_all_steps_in_one_script(run, tmp_path, project):
    """The landscape is a given one, a ladder of classes, so that its states are known."""
    run("link.sh", project)
    ladder = np.array([(20.0 * c, 3.0 * f) for f in range(FOLDS + 1) for c in range(CLASSES)])
    np.save(tmp_path / "ladder.npy", ladder.astype("f4"))
    done = run(
        "Auto4D.py", "-f", "maps", "-a", "stars", "-e", 1, "-v", 4, "-p", 5, "-N", 250,
        "-l", "ladder.npy", "-A", 1, 4, "-E", 99, 5, "-m", 200, "-k", CLASSES, "-u", 9,
    )  # fmt: skip
    assert "CPU" in done.stderr
    count = len(ladder)
    raw = np.load(tmp_path / "rdata_3d.npy")
    np.testing.assert_array_equal(raw, np.load(project / "volumes.npy"))
    prepared = np.load(tmp_path / "Deep" / "data_dl.npy")
    assert prepared.min((1, 2, 3)).tolist() == [0] * count
    side = raw.shape[1] // 4
    feature = np.load(tmp_path / "Deep" / "result" / "feature.npy")
    assert feature.shape == (count, side, side, side, 1)
    assert np.load(tmp_path / "Manifold" / "input.npy").shape == (count, raw[0].size + side**3)
    embedding = np.load(tmp_path / "output.npy")
    np.testing.assert_array_equal(embedding, np.load(tmp_path / "Manifold" / "output.npy"))
    assert embedding.shape == (count, 2)
    assignments = np.load(project / "assignments.npy")
    numbers = list(map(int, (tmp_path / "num.txt").read_text().split()))
    assert numbers == np.bincount(assignments[assignments >= 0], minlength=count).tolist()
    centers = np.load(tmp_path / "centers_k.npy")
    distances = np.linalg.norm(ladder[:, None] - centers, axis=2)
    for state in range(CLASSES):
        inside = (distances.argmin(1) == state) & (distances[:, state] < 9)
        listed = (tmp_path / "Vote" / f"c{state + 1}" / f"c{state + 1}").read_text().split()
        assert list(map(int, listed[::2])) == (np.flatnonzero(inside) + 1).tolist()
        assert inside[state::CLASSES].all()
    third = tmp_path / "Vote" / "c3"
    run("Vote.py", "-c", "c3", "-t", 2, at=third)
    votes = (assignments[:, :, None] == np.arange(2, count, CLASSES)).sum(axis=(1, 2))
    assert particle_numbers(third / "post_and.star") == (np.flatnonzero(votes >= 2) + 1).tolist()
    assert PARTICLES / 20 < (votes >= 2).sum() < PARTICLES / 3
