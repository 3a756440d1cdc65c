"""The null model: what the same pipeline makes of particles that have one conformation.

The consensus volume is projected with the same poses and CTF, noise of the measured spectrum is
added, and the folds are classified in the same way. Whatever agreement the folds reach there comes
from noise, orientation and defocus, not from conformations. Folds share particles in the null as
they do in the data, which a permutation of labels would not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.maths.fourier import resize_cubes
from alphacryo4d.maths.threads import thread_count
from alphacryo4d.ml3d.classify import classify, expectation
from alphacryo4d.ml3d.expectation import View
from alphacryo4d.ml3d.grid import Grid
from alphacryo4d.ml3d.images import PreparedImages
from alphacryo4d.ml3d.masks import first_mask
from alphacryo4d.ml3d.mean import data_power, solve_mean
from alphacryo4d.ml3d.options import ClassifyOptions


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
    solvent: Array | None = None,
    threads: int | None = None,
) -> PreparedImages:
    """Particles with the same poses, CTF and noise, all of the consensus conformation.

    Parameters
    ----------
    images : PreparedImages
        Of the data.
    rng : Generator
        For the noise.
    mask_diameter : float, optional
        Diameter of a spherical solvent mask (A); by default the box.
    solvent : (box, box, box) array, optional
        Solvent mask instead of the sphere.
    threads : int, optional
    """
    grid = Grid(images.radius, thread_count(threads))
    view = View(images, images.sorted_rows(np.arange(len(images))), grid)
    mask = first_mask(grid, images, mask_diameter, solvent)
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
class NullFold:
    """A fold of null particles, as the resample stage leaves a fold of the data.

    Attributes
    ----------
    labels : (n,) int32 array
        Class of every particle of the fold, from 0.
    heldout : (m,) int32 array
        Class that each left-out particle fits best among those that are kept; -1 where none is.
    counts : (K,) int64 array
        Particles of each class.
    volumes : (K, box, box, box) float32 array
        At the analysis box.
    resolution : float
        Finest resolution that was used (A).
    """

    labels: Array
    heldout: Array
    counts: Array
    volumes: Array
    resolution: float


def classify_null(
    images: PreparedImages,
    left: Array,
    options: ClassifyOptions,
    rng: np.random.Generator,
    *,
    minimum_class_size: int,
    box: int,
    solvent: Array | None = None,
    focus: Array | None = None,
    threads: int | None = None,
) -> NullFold:
    """Classify one fold of null particles and judge those that it left out.

    Parameters
    ----------
    images : PreparedImages
        Of :func:`simulate_null`, a whole batch.
    left : (P,) bool array
        Which of them the fold leaves out.
    options : ClassifyOptions
        Those of the resample stage.
    rng : Generator
    minimum_class_size : int
        Left-out particles are not compared with classes that have fewer particles.
    box : int
        Box of the volumes in pixels.
    solvent, focus : (n, n, n) arrays, optional
        Masks of the resample stage.
    threads : int, optional
    """
    rows, heldout = np.flatnonzero(~left), np.flatnonzero(left)
    classification = classify(
        images, rows, options, rng, solvent=solvent, focus=focus, threads=threads
    )
    counts = np.bincount(
        classification.labels[classification.labels >= 0], minlength=len(classification.volumes)
    )
    kept = np.flatnonzero(counts >= minimum_class_size)
    best = np.full(len(heldout), -1, np.int32)
    if len(heldout) and len(kept):
        nearest, _ = expectation(
            images,
            heldout,
            classification.volumes[kept],
            resolution=classification.resolution,
            noise=classification.noise,
            threads=threads,
        )
        best = kept[nearest].astype(np.int32)
    volumes = resize_cubes(classification.volumes, box) * np.float32((box / images.box) ** 3)
    return NullFold(classification.labels, best, counts, volumes, float(classification.resolution))
