"""Energy of every volume from its population (eq. 6), and what is known of its error."""

from __future__ import annotations

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.core.errors import InputError


def free_energy(particle_counts: Array) -> Array:
    """Free energy of each volume from its population (eq. 6).

    Parameters
    ----------
    particle_counts : (V,) array
        Particles per volume, all positive.

    Returns
    -------
    (V,) float64 array
        Energy in kT, relative to the whole data set.

    Raises
    ------
    InputError
        A count is zero, negative or not finite.
    """
    counts = np.asarray(particle_counts, np.float64)
    bad = np.flatnonzero(~(counts > 0) | ~np.isfinite(counts))
    if len(bad):
        raise InputError(
            f"volume {bad[0] + 1}: {counts[bad[0]]:g} particles; an empty class has no energy, "
            "leave it out of the table"
        )
    energies: Array = -np.log(counts / counts.sum())
    return energies


def neighbourhood_scale(embedding: Array, neighbours: int | None = None) -> Array:
    """Distance (V,) of each volume to its k-th nearest neighbour in the embedding.

    Parameters
    ----------
    neighbours : int, optional
        k; by default 8, and fewer (down to 3) where there are fewer than 80 volumes.
    """
    from scipy.spatial import cKDTree

    k = min(neighbours or max(3, min(8, len(embedding) // 10)), len(embedding) - 1)
    distances = cKDTree(embedding).query(embedding, k=k + 1)[0][:, -1]
    positive = distances[distances > 0]
    floor = 1e-3 * (np.median(positive) if len(positive) else 1.0)
    result: Array = np.maximum(distances, floor)
    return result


def population_density(points: Array, embedding: Array, counts: Array, width: Array) -> Array:
    """Population per area at points, from Gaussians of each volume's own width.

    Parameters
    ----------
    points : (N, 2) array
        Where the density is wanted.
    embedding : (V, 2) array
        Volumes.
    counts : (V,) array
        Particles per volume.
    width : (V,) array
        Standard deviation of each volume's Gaussian, in units of the embedding.

    Returns
    -------
    (N,) array
        Share of the particles per unit area.
    """
    share = counts / counts.sum() / (2 * np.pi * width**2)
    result = np.empty(len(points))
    for begin in range(0, len(points), 1024):
        block = points[begin : begin + 1024]
        squared = ((block[:, None, :] - embedding[None]) ** 2).sum(2)
        result[begin : begin + 1024] = np.exp(-0.5 * squared / width**2) @ share
    return result


def density_energy(embedding: Array, counts: Array, *, neighbours: int | None = None) -> Array:
    """Energy of each volume from the population density around it, in kT.

    One state that the classification cut into many small classes looks high by eq. 6, since each
    class holds few particles; the density of particles over the embedding does not see the cuts.
    The scale is that of eq. 6: a typical volume of typical surroundings gets -ln of its share.
    """
    embedding = np.asarray(embedding, np.float64)
    counts = np.asarray(counts, np.float64)
    width = neighbourhood_scale(embedding, neighbours)
    density = population_density(embedding, embedding, counts, width)
    typical = np.exp(np.median(np.log(counts / counts.sum()) - np.log(density)))
    energies: Array = -np.log(density * typical)
    return energies


def jackknife_error(replicates: Array) -> Array:
    """Standard error from leave-one-group-out values: SE^2 = M/(M+1) * sum of squared deviations.

    Parameters
    ----------
    replicates : (M + 1, ...) array
        The same quantity from every fold; fold j leaves out group j.
    """
    groups = len(replicates)
    spread = ((replicates - replicates.mean(0)) ** 2).sum(0)
    result: Array = np.sqrt((groups - 1) / groups * spread)
    return result


def energy_error(
    embedding: Array,
    counts: Array,
    folds: Array,
    *,
    images: Array | None = None,
    neighbours: int | None = None,
) -> Array:
    """Standard error of each volume's energy in kT.

    Two parts in quadrature. Reproducibility: the population around a volume is estimated from
    each fold alone, and the folds, which leave out one group each, are the leave-one-out values
    of a jackknife. Counting: 1/N of the volume's own images, of which several particles may be
    copies. Covered are the sampling of particles, the random split into classes and its jitter in
    the embedding; not covered is what all folds share: wrong poses, a missed state, the choice of
    the embedding.

    Parameters
    ----------
    embedding : (V, 2) array
        Coordinates.
    counts : (V,) array
        Particles per volume.
    folds : (V,) array
        Group that the fold of each volume leaves out, any labels; the same in all batches.
    images : (V,) array, optional
        Images per volume, where they are fewer than the particles.

    Returns
    -------
    (V,) float64 array
        Standard error in kT.
    """
    embedding = np.asarray(embedding, np.float64)
    counts = np.asarray(counts, np.float64)
    counting = 1.0 / (counts if images is None else np.asarray(images, np.float64))
    labels = np.unique(folds)
    if len(labels) < 2:
        return np.sqrt(counting)
    width = neighbourhood_scale(embedding, neighbours)
    replicates = np.empty((len(labels), len(counts)))
    for row, label in enumerate(labels):
        inside = folds == label
        density = population_density(embedding, embedding[inside], counts[inside], width[inside])
        replicates[row] = -np.log(density + 1e-300)
    lowest = replicates.min(0)
    replicates = np.minimum(replicates, lowest + 10.0)
    errors: Array = np.sqrt(counting + jackknife_error(replicates) ** 2)
    return errors
