import numpy as np
import pytest

from alphacryo4d.deepfeature.normalize import normalize_volume, suitable_box


def test_each_volume_spans_zero_to_one_by_itself():
    rng = np.random.default_rng(0)
    volume = rng.normal(3, 7, (6, 6, 6))
    normal = normalize_volume(volume)
    assert normal.min() == 0
    assert normal.max() == 1
    np.testing.assert_allclose(normal, normalize_volume(-5 + 0.1 * volume), atol=1e-6)


def test_normalisation_leaves_its_input_alone():
    volume = np.random.default_rng(0).normal(size=(4, 4, 4))
    before = volume.copy()
    normalize_volume(volume)
    np.testing.assert_array_equal(volume, before)


def test_a_constant_volume_becomes_zeros():
    assert not normalize_volume(np.full((4, 4, 4), 5.0)).any()


@pytest.mark.parametrize(("box", "suitable"), [(32, 32), (33, 32), (18, 20), (35, 36), (198, 200)])
def test_the_box_of_the_network_is_the_nearest_multiple_of_four(box, suitable):
    assert suitable_box(box) == suitable
