import numpy as np
import pytest
from blobs import make_blobs, random_states, transform_of

from alphacryo4d.core.errors import InputError, ResourceError
from alphacryo4d.maths.rotations import euler_matrices
from alphacryo4d.ml3d.images import half_plane, viewing_order
from alphacryo4d.reclassify.poses import MovingPoses


def test_samples_are_the_slice_of_the_volume_times_the_ctf():
    states = random_states(1)
    blobs = make_blobs(states, 6, noise=0.0)
    images = blobs.prepared()
    step = 1 / (images.box * images.pixel_size)
    for i in range(6):
        k = images.kx[:, None] * images.matrices[i, 0] + images.ky[:, None] * images.matrices[i, 1]
        truth = transform_of(states[0], k.astype(float) * step, 5.0) / images.box
        samples = images.data[i, :, 0] + 1j * images.data[i, :, 1]
        assert np.abs(samples - images.ctf[i] * truth).max() < 1e-4 * np.abs(truth).max()


def test_a_resolution_limit_keeps_a_prefix_of_the_samples():
    blobs = make_blobs(random_states(1), 3, noise=1.0)
    whole, part = blobs.prepared(), blobs.prepared(limit_resolution=16.0)
    assert np.array_equal(whole.data[:, : len(part.kx)], part.data)
    assert whole.samples_within(part.radius) == len(part.kx)


@pytest.mark.parametrize(("radius", "most"), [(14, 14**2), (15, 15.5**2)])
def test_half_plane_holds_one_of_each_friedel_pair(radius, most):
    """Within a radius; the last shell before Nyquist is whole."""
    kx, ky, shell = half_plane(32, radius)
    seen = set(zip(kx.tolist(), ky.tolist(), strict=True))
    assert all((-x, -y) not in seen for x, y in seen if (x, y) != (0, 0))
    assert 2 * len(seen) - 1 == sum(
        x * x + y * y <= most for x in range(-15, 16) for y in range(-15, 16)
    )
    assert shell.max() == radius
    assert (np.diff(shell) >= 0).all()


def test_a_pixel_that_is_not_finite_is_named_by_its_row():
    blobs = make_blobs(random_states(1), 4, noise=1.0)
    blobs.images[2, 5, 7] = np.nan
    with pytest.raises(InputError, match="row 3"):
        blobs.prepared()


def test_samples_beyond_the_memory_are_refused_or_go_to_scratch(tmp_path):
    blobs = make_blobs(random_states(1), 4, noise=1.0)
    with pytest.raises(ResourceError, match="memory"):
        blobs.prepared(memory=1e-6)
    (tmp_path / "thesis.txt").touch()
    kept = blobs.prepared(memory=1e-6, scratch=tmp_path)
    other = blobs.prepared(memory=1e-6, scratch=tmp_path)  # another run on the same disk
    other.data[:] = 0
    assert isinstance(kept.data.base, np.memmap) or isinstance(kept.data, np.memmap)
    assert np.array_equal(kept.data, blobs.prepared().data)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    moved = MovingPoses(other)  # does not bring into memory what went to disk
    moved.turn(np.arange(4), np.ones((4, 3)), np.ones((4, 2)))
    assert not other.data.any()
    assert isinstance(moved.images.data, np.memmap)
    assert not isinstance(MovingPoses(blobs.prepared()).images.data, np.memmap)
    blobs.prepared(memory=1e-6, scratch=tmp_path / "new" / "folder")
    assert not (tmp_path / "new" / "folder").exists()


def test_neighbours_in_viewing_order_look_from_similar_directions():
    rng = np.random.default_rng(0)
    angles = np.degrees(np.stack([rng.uniform(-3, 3, 4000), np.arccos(rng.uniform(-1, 1, 4000)),
                                  rng.uniform(-3, 3, 4000)], axis=1))  # fmt: skip
    axes = euler_matrices(angles)[:, 2]
    walked = axes[viewing_order(axes)]
    cosine = np.abs((walked[1:] * walked[:-1]).sum(axis=1))
    assert np.median(np.degrees(np.arccos(np.clip(cosine, -1, 1)))) < 3
