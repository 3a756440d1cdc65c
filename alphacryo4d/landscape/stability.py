"""How much of an embedding is the data's: the same volumes with other seeds and perplexities."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.core.progress import Progress, no_progress
from alphacryo4d.landscape.embedding import embed, usable_perplexity
from alphacryo4d.landscape.options import EmbedOptions


@dataclass(frozen=True)
class Variant:
    """One embedding of the same volumes, aligned to the reference.

    Attributes
    ----------
    seed, perplexity : numbers
        How it was made.
    embedding : (V, 2) array
        Turned, mirrored, scaled and moved onto the reference (Procrustes).
    disparity : float
        Share (0 to 1) of the variance that the alignment leaves.
    kept_neighbours : float
        Share of each volume's ten nearest neighbours that are so in both.
    """

    seed: int
    perplexity: float
    embedding: Array
    disparity: float
    kept_neighbours: float


def align(embedding: Array, reference: Array) -> tuple[Array, float]:
    """Procrustes alignment of one embedding to another.

    Returns
    -------
    (V, 2) array
        The embedding rotated (or mirrored), scaled and moved to the reference.
    float
        Share of the reference's variance that remains as difference, 0 to 1.
    """
    middle, goal = embedding.mean(0), reference.mean(0)
    moved, wanted = embedding - middle, reference - goal
    u, singular, v = np.linalg.svd(moved.T @ wanted)
    norm, total = float((moved**2).sum()), float((wanted**2).sum())
    scale = singular.sum() / max(norm, 1e-300)
    aligned: Array = scale * (moved @ (u @ v)) + goal
    return aligned, float(max(0.0, 1 - singular.sum() ** 2 / max(norm * total, 1e-300)))


def kept_neighbours(first: Array, second: Array, *, neighbours: int = 10) -> float:
    """Share of each point's nearest neighbours that are so in both embeddings."""
    from scipy.spatial import cKDTree

    k = min(neighbours, len(first) - 1)
    near = [cKDTree(points).query(points, k=k + 1)[1][:, 1:] for points in (first, second)]
    both = [len(np.intersect1d(a, b)) for a, b in zip(*near, strict=True)]
    return float(np.mean(both) / k)


def stability(
    distances: Array,
    reference: Array,
    options: EmbedOptions,
    *,
    seeds: int = 3,
    progress: Progress = no_progress,
) -> list[Variant]:
    """Embeddings with other seeds and with half and twice the perplexity, against a reference.

    t-SNE starts from the principal coordinates here; the other seeds start at random places near
    them (a tenth of their spread), since the seed alone would change nothing.
    """
    usual = usable_perplexity(options.perplexity, len(distances))
    trials = [(seed, usual) for seed in range(1, seeds + 1)]
    trials += [(1, usual / 2), (1, min(2 * usual, (len(distances) - 1) / 3))]
    variants = []
    for number, (seed, perplexity) in enumerate(trials):
        changed = dataclasses.replace(options, perplexity=max(1.0, perplexity))
        rng = np.random.default_rng(seed)
        embedding = embed(distances, changed, seed=seed, jitter=rng).astype(np.float64)
        aligned, disparity = align(embedding, reference)
        kept = kept_neighbours(embedding, reference)
        variants.append(Variant(seed, perplexity, aligned, disparity, kept))
        progress(number + 1, len(trials))
    return variants
