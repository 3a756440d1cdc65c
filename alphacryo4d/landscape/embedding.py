"""Volumes laid out in the plane by their distances (section 4.5, eq. 5), and comparisons."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.core.errors import InputError, MissingProgramError
from alphacryo4d.landscape.options import EmbedOptions

logger = logging.getLogger(__name__)
NEARLY = 0.1
"""Part by which two reaches of an axis may differ and count as equal."""


def classical_scaling(distances: Array, dimensions: int) -> Array:
    """Principal coordinates of points from their squared distances (classical MDS).

    For Euclidean distances these are the principal components of the data.

    Parameters
    ----------
    distances : (V, V) array
        Squared distances.
    dimensions : int
        Coordinates to return.

    Returns
    -------
    (V, dimensions) array
        Of falling variance, with signs as :func:`signs_of` says.
    """
    from scipy.linalg import eigh

    count = len(distances)
    wanted = min(dimensions, count)
    centred = distances - distances.mean(0) - distances.mean(1)[:, None] + distances.mean()
    values, vectors = eigh(-0.5 * centred, subset_by_index=(count - wanted, count - 1))
    values, vectors = values[::-1], vectors[:, ::-1]
    coordinates = vectors * signs_of(vectors) * np.sqrt(np.maximum(values, 0.0))
    result: Array = np.zeros((count, dimensions))
    result[:, :wanted] = coordinates
    return result


def embed(
    distances: Array,
    options: EmbedOptions,
    *,
    seed: int = 0,
    dimensions: int = 2,
    jitter: np.random.Generator | None = None,
) -> Array:
    """Coordinates RC1, RC2 of every volume.

    Parameters
    ----------
    distances : (V, V) array
        Squared distances.
    options : EmbedOptions
        Method and its parameters.
    seed : int
        Random seed.
    dimensions : int
        2 for the landscape, 3 for looking.
    jitter : numpy.random.Generator, optional
        Move the start of t-SNE by a tenth of its spread, to see what the start matters.

    Returns
    -------
    (V, dimensions) float32 array
        Embedding.

    Raises
    ------
    InputError
        Fewer than four volumes.
    MissingProgramError
        The method's package is not installed.
    """
    count = len(distances)
    if count < 4:
        raise InputError(f"{count} volumes: at least four are needed for a landscape")
    start = classical_scaling(distances, dimensions)
    if options.embedding_method == "pca":
        return start.astype(np.float32)
    if jitter is not None:
        start = start + 0.1 * start.std(0) * jitter.normal(size=start.shape)
    if options.embedding_method == "tsne":
        return oriented(_tsne(distances, start, options, seed)).astype(np.float32)
    return oriented(_compared(distances, options, seed, dimensions)).astype(np.float32)


def usable_perplexity(perplexity: float | None, count: int) -> float:
    """Perplexity for so many volumes.

    Parameters
    ----------
    perplexity : float, optional
        As asked for; by default 30 (the paper's) or a sixth of the volumes, whichever is less:
        a larger one only shows the overall shape.
    count : int
        Number of volumes; a third of the others is the most that t-SNE can take.
    """
    most = max(1.0, (count - 1) / 3)
    if perplexity is None:
        return min(30.0, max(2.0, count / 6), most)
    if perplexity > most:
        logger.info("perplexity %g: %d volumes allow %.3g", perplexity, count, most)
    return min(perplexity, most)


def oriented(embedding: Array) -> Array:
    """Embedding moved to its mean and turned so that RC1 is its longest axis.

    Distances stay; the sign of each axis is that of :func:`signs_of`.
    """
    centred = np.asarray(embedding, np.float64)
    centred = centred - centred.mean(0)
    axes = np.linalg.svd(centred, full_matrices=False)[2]
    turned = centred @ axes.T
    result: Array = turned * signs_of(turned)
    return result


def signs_of(coordinates: Array) -> Array:
    """Signs of axes that rounding leaves alone.

    An axis that reaches clearly farther to one side has it positive. Two states of the same size
    reach as far to both sides: then the first volume that is far out (farther than half of the
    farthest) is positive, and not the one whose last bit is greater.

    Parameters
    ----------
    coordinates : (V, d) array

    Returns
    -------
    (d,) array of 1.0 and -1.0
    """
    reach = np.abs(coordinates).max(0)
    up, down = coordinates.max(0), -coordinates.min(0)
    first = (np.abs(coordinates) >= 0.5 * reach).argmax(0)
    of_first = coordinates[first, np.arange(coordinates.shape[1])]
    side = np.where(np.minimum(up, down) > (1 - NEARLY) * reach, of_first, up - down)
    return np.where(side < 0, -1.0, 1.0)


def _tsne(distances: Array, start: Array, options: EmbedOptions, seed: int) -> Array:
    """t-SNE from the principal coordinates; the same result whatever the number of threads."""
    count = len(distances)
    perplexity = usable_perplexity(options.perplexity, count)
    begin = 1e-4 * start / max(start[:, 0].std(), 1e-30)
    metric = np.sqrt(distances)
    if options.tsne == "opentsne":
        return _open_tsne(metric, begin, options, perplexity, seed)
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    model = TSNE(
        n_components=start.shape[1],
        perplexity=perplexity,
        max_iter=options.iterations,
        metric="precomputed",
        init=begin.astype(np.float32),
        method="barnes_hut" if options.tsne == "barnes-hut" else "exact",
        # In space the usual least rate of 50 tears a few dozen points apart.
        learning_rate="auto" if start.shape[1] == 2 else max(count / 48, 5.0),
        random_state=seed,
        n_jobs=1,
    )
    with threadpool_limits(limits=1):
        result: Array = model.fit_transform(metric.astype(np.float32))
    return result.astype(np.float32)


def _open_tsne(
    metric: Array, begin: Array, options: EmbedOptions, perplexity: float, seed: int
) -> Array:
    try:
        from openTSNE import TSNE
    except ImportError as error:
        raise MissingProgramError(
            "--tsne opentsne: openTSNE is not installed; `pip install openTSNE` (or "
            "`alphacryo4d[embeddings]`), or leave the option out"
        ) from error
    model = TSNE(
        n_components=begin.shape[1],
        perplexity=perplexity,
        n_iter=max(1, options.iterations - 250),
        metric="precomputed",
        initialization=begin,
        random_state=seed,
        n_jobs=1,
    )
    return np.asarray(model.fit(metric), np.float32)


def _compared(distances: Array, options: EmbedOptions, seed: int, dimensions: int) -> Array:
    """Other embeddings, for comparison (the paper's supplementary controls)."""
    from sklearn import manifold

    method = options.embedding_method
    near = min(options.neighbours, len(distances) - 1)
    metric = np.sqrt(distances)
    if method == "mds":
        model: Any = manifold.MDS(
            n_components=dimensions,
            metric="precomputed",
            init="classical_mds",
            n_init=1,
            random_state=seed,
        )
        result = model.fit_transform(metric)
    elif method == "isomap":
        model = manifold.Isomap(n_neighbors=near, n_components=dimensions, metric="precomputed")
        result = model.fit_transform(metric)
    elif method == "lle":
        data = classical_scaling(distances, min(50, len(distances) - 1))
        model = manifold.LocallyLinearEmbedding(
            n_neighbors=near, n_components=dimensions, eigen_solver="dense", random_state=seed
        )
        result = model.fit_transform(data)
    else:
        result = _umap(metric, near, dimensions, seed)
    return np.asarray(result, np.float32)


def _umap(metric: Array, neighbours: int, dimensions: int, seed: int) -> Array:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its optional parts
            from umap import UMAP
    except ImportError as error:
        raise MissingProgramError(
            "--embedding-method umap: umap-learn is not installed; `pip install umap-learn` "
            "(or `alphacryo4d[embeddings]`), or take another method"
        ) from error
    model = UMAP(
        n_neighbors=neighbours,
        n_components=dimensions,
        metric="precomputed",
        random_state=seed,
        n_jobs=1,
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="using precomputed metric")
        result: Array = model.fit_transform(metric)
    return result
