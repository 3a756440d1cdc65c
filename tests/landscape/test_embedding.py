"""Embeddings: principal coordinates exactly, the others by their outcome."""

import sys

import numpy as np
import pytest

from alphacryo4d.core.errors import InputError, MissingProgramError
from alphacryo4d.landscape.embedding import (
    classical_scaling,
    embed,
    oriented,
    signs_of,
    usable_perplexity,
)
from alphacryo4d.landscape.options import EmbedOptions


def pairwise(data):
    return ((data[:, None] - data[None]) ** 2).sum(2)


@pytest.fixture(scope="module")
def clumps():
    rng = np.random.default_rng(2)
    data = np.repeat(rng.normal(size=(4, 20)) * 10, 12, axis=0) + rng.normal(size=(48, 20))
    return pairwise(data), np.repeat(np.arange(4), 12)


def test_classical_scaling_of_distances_is_pca_of_the_data():
    data = np.random.default_rng(0).normal(size=(40, 6)) * [5, 3, 1, 1, 1, 1]
    centred = data - data.mean(0)
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    points = classical_scaling(pairwise(data), 2)
    np.testing.assert_allclose(np.abs(points), np.abs(u[:, :2] * s[:2]), atol=1e-9)


@pytest.mark.parametrize("method", ["tsne", "pca", "mds", "isomap", "lle", "umap"])
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
def test_clumps_stay_together(clumps, method):
    if method == "umap":
        pytest.importorskip("umap")
    distances, labels = clumps
    options = EmbedOptions(embedding_method=method, iterations=300, neighbours=14)
    points = embed(distances, options, seed=1)
    assert points.shape == (48, 2)
    assert points.dtype == np.float32
    nearest = np.where(np.eye(48), np.inf, pairwise(points.astype(float))).argmin(1)
    assert (labels[nearest] == labels).mean() > 0.8


def test_the_same_seed_gives_the_same_embedding(clumps):
    options = EmbedOptions(iterations=250)
    first, second = (embed(clumps[0], options, seed=3) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_perplexity_fits_the_number_of_volumes():
    assert usable_perplexity(None, 1000) == 30
    assert usable_perplexity(None, 60) == 10
    assert usable_perplexity(50.0, 31) == 10
    assert usable_perplexity(5.0, 31) == 5


def test_orientation_keeps_distances_and_lays_the_longest_axis_along_rc1():
    points = np.random.default_rng(0).normal(size=(50, 2)) @ [[1.0, 3.0], [0.2, 0.5]] + 7
    turned = oriented(points)
    np.testing.assert_allclose(pairwise(turned), pairwise(points), atol=1e-9)
    assert turned[:, 0].std() > turned[:, 1].std()


def test_orientation_does_not_hang_on_the_last_bit():
    """Two clumps of one size, as far out as each other; an axis that is clearly longer up."""
    clumps = np.array([[-1.0, 0.3], [1.0, -0.2], [-1.0, -0.3], [1.0, 0.9]])
    for last in (1 - 1e-7, 1 + 1e-7):
        for sides in np.array([[1, 1], [-1, 1], [1, -1], [-1, -1]]):
            nudged = clumps * sides
            nudged[1, 0] *= last
            np.testing.assert_allclose(nudged * signs_of(nudged), clumps * [-1, 1], atol=1e-6)


def test_too_few_volumes_are_refused():
    with pytest.raises(InputError, match="at least four"):
        embed(np.zeros((3, 3)), EmbedOptions())


@pytest.mark.parametrize("form", ["exact", "opentsne"])
def test_other_forms_of_tsne_keep_clumps_together(clumps, form):
    if form == "opentsne":
        pytest.importorskip("openTSNE")
    distances, labels = clumps
    points = embed(distances, EmbedOptions(tsne=form, iterations=400), seed=1)
    nearest = np.where(np.eye(48), np.inf, pairwise(points.astype(float))).argmin(1)
    assert (labels[nearest] == labels).mean() > 0.9


@pytest.mark.parametrize("method", ["tsne", "pca", "isomap"])
def test_an_embedding_in_space_keeps_clumps_together(clumps, method):
    distances, labels = clumps
    options = EmbedOptions(embedding_method=method, iterations=300, neighbours=14)
    points = embed(distances, options, dimensions=3)
    assert points.shape == (48, 3)
    nearest = np.where(np.eye(48), np.inf, pairwise(points.astype(float))).argmin(1)
    assert (labels[nearest] == labels).mean() > 0.9


@pytest.mark.parametrize(
    ("options", "package"),
    [
        (EmbedOptions(embedding_method="umap"), "umap"),
        (EmbedOptions(tsne="opentsne"), "openTSNE"),
    ],
)
def test_a_package_that_is_missing_is_named(clumps, options, package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingProgramError, match=f"pip install {package}"):
        embed(clumps[0], options)
