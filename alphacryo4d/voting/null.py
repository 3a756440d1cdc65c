"""The null model: what the same pipeline makes of particles that have one conformation.

The consensus volume is projected with the same poses and CTF, noise of the measured spectrum is
added, and the folds are classified in the same way. Whatever agreement the folds reach there comes
from noise, orientation and defocus, not from conformations. Folds share particles in the null as
they do in the data, which a permutation of labels would not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from alphacryo4d.ml3d.classify import classify, expectation
from alphacryo4d.ml3d.components import data_power, solve_mean
from alphacryo4d.ml3d.images import PreparedImages
from alphacryo4d.ml3d.kernels_linear import thread_count
from alphacryo4d.ml3d.masks import sphere_mask
from alphacryo4d.ml3d.model import Grid
from alphacryo4d.ml3d.options import ClassifyOptions
from alphacryo4d.ml3d.sums import View
from alphacryo4d.voting.support import heldout_evidence, measure_support
from alphacryo4d.voting.votes import LEFT_OUT

Array = np.ndarray[Any, Any]


def projections(volume: Array, images: PreparedImages) -> Array:
    """Fourier samples of the projections of a volume at the poses of the images, by NUFFT.

    Parameters
    ----------
    volume : (m, m, m) float array
        Cube of the same field of view, origin at m // 2.
    images : PreparedImages

    Returns
    -------
    (P, S) complex64 array
        Sum over voxels; F_img(kx, ky) = F_vol(R^T (kx, ky, 0)).
    """
    import finufft

    size = volume.shape[0]
    cube = np.ascontiguousarray(volume.transpose(2, 1, 0), np.complex64)
    flat = np.stack([images.kx, images.ky], axis=1).astype(np.float32)
    result = np.empty((len(images), len(flat)), np.complex64)
    scale = np.float32(2 * np.pi / size)
    for start in range(0, len(images), 4096):
        part = slice(start, min(start + 4096, len(images)))
        points = np.einsum("sa,pab->psb", flat, images.matrices[part]).reshape(-1, 3) * scale
        x, y, z = (np.ascontiguousarray(points[:, axis]) for axis in range(3))
        values = finufft.nufft3d2(x, y, z, cube, isign=-1, eps=1e-4)
        result[part] = values.reshape(-1, len(flat))
    return result


def simulate_null(
    images: PreparedImages,
    rng: np.random.Generator,
    *,
    mask_diameter: float | None = None,
    threads: int | None = None,
) -> PreparedImages:
    """Particles with the same poses, CTF and noise, all of the consensus conformation."""
    grid = Grid(images.radius, thread_count(threads))
    view = View(images, images.sorted_rows(np.arange(len(images))), grid)
    mask = sphere_mask(grid, images, mask_diameter)
    noise = data_power(view)
    noise[:, 0] = noise[:, 1]
    field, _, noise = solve_mean(view, noise, mask)
    clean = projections(field[0] * mask, images) * images.ctf
    spread = np.sqrt(noise[images.group][:, images.shell] / 2)
    data = np.empty_like(images.data)
    for axis, part in enumerate((clean.real, clean.imag)):
        data[..., axis] = part + spread * rng.standard_normal(clean.shape, np.float32)
    return replace(images, data=data)


@dataclass(frozen=True)
class NullFolds:
    """Folds of null particles: labels, held-out labels and volumes, as the engine gives them."""

    labels: Array
    """(P, M+1) int32: class from 0 in every fold, -1 where left out."""
    heldout: Array
    """(P,) int32: class from 0 of the fold that left the particle out."""
    volumes: Array
    """(M+1, K, n, n, n) float32."""
    resolution: float


def classify_null(
    images: PreparedImages,
    groups: Array,
    options: ClassifyOptions,
    seed: int,
    *,
    threads: int | None = None,
    check: Callable[[], None] | None = None,
) -> NullFolds:
    """Classify every fold of null particles as the resample stage does.

    Parameters
    ----------
    images : PreparedImages
        Of :func:`simulate_null`.
    groups : (P,) int array
        Group of every particle, from 1.
    options : ClassifyOptions
        Those of the resample stage.
    seed : int
    threads, check : optional
    """
    folds = int(groups.max())
    labels = np.full((len(images), folds), LEFT_OUT, np.int32)
    heldout = np.zeros(len(images), np.int32)
    volumes = []
    for fold in range(folds):
        rows, left = np.flatnonzero(groups != fold + 1), np.flatnonzero(groups == fold + 1)
        rng = np.random.default_rng([seed, 77, fold])
        found = classify(images, rows, options, rng, threads=threads, check=check)
        labels[rows, fold] = found.labels
        heldout[left], _ = expectation(
            images,
            left,
            found.volumes,
            resolution=found.resolution,
            noise=found.noise,
            threads=threads,
        )
        volumes.append(found.volumes)
    return NullFolds(labels, heldout, np.stack(volumes), float(found.resolution))


def group_volumes(volumes: Array, state_count: int, seed: int) -> Array:
    """States (M+1, K) from 1 of the volumes of all folds: k-means on their principal parts."""
    from scipy.cluster.vq import kmeans2

    flat = volumes.reshape(-1, volumes[0, 0].size).astype(np.float64)
    flat -= flat.mean(axis=0)
    values, vectors = np.linalg.eigh(flat @ flat.T)
    points = vectors[:, -20:] * np.sqrt(np.maximum(values[-20:], 0))
    count = min(state_count, len(points))
    _, states = kmeans2(points, count, minit="++", rng=np.random.default_rng(seed))
    grouped: Array = (states + 1).reshape(volumes.shape[:2]).astype(np.int32)
    return grouped


def null_support(
    images: PreparedImages, groups: Array, folds: NullFolds, *, threads: int | None = None
) -> tuple[float, float]:
    """Likelihood gain of the null's classes on left-out particles, and its error."""
    tests = []
    for fold in range(folds.labels.shape[1]):
        left = np.flatnonzero(groups == fold + 1)
        sizes = np.bincount(
            folds.labels[folds.labels[:, fold] >= 0, fold], minlength=folds.volumes.shape[1]
        )
        kept = sizes > 0
        judged = heldout_evidence(
            images,
            left,
            folds.volumes[fold][kept],
            sizes[kept],
            resolution=folds.resolution,
            threads=threads,
        )
        tests.append((judged.evidence, judged.consensus))
    evidence, consensus = (np.concatenate(part) for part in zip(*tests, strict=True))
    ones = np.ones((len(evidence), 1))
    found = measure_support(evidence, consensus, ones, ones)
    return found.gain, found.error
