"""Alignment of embeddings and what changes between them."""

import numpy as np
import pytest
from scipy.spatial import procrustes

from alphacryo4d.landscape.options import EmbedOptions
from alphacryo4d.landscape.stability import align, kept_neighbours, stability


def test_a_turned_mirrored_scaled_embedding_is_laid_back():
    reference = np.random.default_rng(0).normal(size=(40, 2))
    turned = reference @ [[0.0, 3.0], [3.0, 0.0]] + [5, -2]
    aligned, disparity = align(turned, reference)
    np.testing.assert_allclose(aligned, reference, atol=1e-12)
    assert disparity == pytest.approx(0, abs=1e-12)


def test_disparity_is_that_of_scipy():
    first, second = np.random.default_rng(1).normal(size=(2, 30, 2))
    assert align(first, second)[1] == pytest.approx(procrustes(second, first)[2])


def test_all_neighbours_are_kept_by_a_turn_and_few_by_chance():
    points = np.random.default_rng(2).normal(size=(200, 2))
    assert kept_neighbours(points, points[:, ::-1]) == 1
    assert kept_neighbours(points, np.random.default_rng(3).permutation(points)) < 0.15


def test_embeddings_of_clear_clumps_are_stable():
    rng = np.random.default_rng(0)
    data = np.repeat(rng.normal(size=(3, 9)) * 9, 14, axis=0) + rng.normal(size=(42, 9))
    distances = ((data[:, None] - data[None]) ** 2).sum(2)
    options = EmbedOptions(embedding_method="pca")
    reference = data @ np.linalg.svd(data - data.mean(0))[2][:2].T
    for variant in stability(distances, reference, options, seeds=1):
        assert variant.kept_neighbours > 0.9
