"""Soft masks of the solvent: a sphere, or what the volumes fill."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import distance_transform_edt, gaussian_filter

from alphacryo4d.core.arrays import Array
from alphacryo4d.maths.fourier import resize_cubes
from alphacryo4d.ml3d.grid import Grid
from alphacryo4d.ml3d.images import PreparedImages


def resize_mask(mask: Array, size: int) -> Array:
    """A soft mask (n, n, n) on another cube of the same physical box."""
    scale = np.float32((size / len(mask)) ** 3)
    resized: Array = np.clip(resize_cubes(mask[None], size)[0] * scale, 0, 1)
    resized[resized < 0.02] = 0
    return resized


def first_mask(
    grid: Grid, images: PreparedImages, diameter: float | None, solvent: Array | None
) -> Array:
    """Mask on the cube of a grid: a given one (box, box, box), or a sphere."""
    if solvent is None:
        return sphere_mask(grid, images, diameter)
    return resize_mask(np.asarray(solvent, np.float32), grid.cube)


def sphere_mask(grid: Grid, images: PreparedImages, diameter: float | None) -> Array:
    """Soft spherical mask on the cube of a grid; by default the sphere that fits in the box."""
    voxel = images.box * images.pixel_size / grid.cube
    radius = (diameter or images.box * images.pixel_size) / 2 / voxel
    edge = max(1.0, 5.0 / voxel)
    line = (np.arange(grid.cube) - grid.cube // 2) ** 2.0
    distance = np.sqrt(line[:, None, None] + line[:, None] + line)
    ramp = np.clip((radius - distance) / edge + (0.0 if diameter is None else 1.0), 0, 1)
    mask: Array = (0.5 - 0.5 * np.cos(np.pi * ramp)).astype(np.float32)
    return mask


def solvent_mask(
    cubes: Array, sphere: Array, voxel: float, *, dilation: float = 8.0, edge: float = 8.0
) -> Array:
    """Soft mask around what the mean or the components fill; at most the sphere.

    A molecule as large as its box leaves no solvent to tell it from: then it is the sphere, so that
    the mask is never empty.

    Parameters
    ----------
    cubes : (q + 1, m, m, m) array
        Mean and components.
    sphere : (m, m, m) array
        Spherical mask within which they were estimated.
    voxel : float
        Voxel size (A).
    dilation, edge : float
        Margin around the density and width of the soft edge (A).
    """
    power = np.square(cubes, dtype=np.float64).sum(axis=0)
    smooth = np.sqrt(np.maximum(gaussian_filter(power, 5.0 / voxel, mode="wrap"), 0))
    inside = smooth[sphere > 0.5]
    floor = np.median(inside)
    spread = 1.4826 * np.median(np.abs(inside - floor))
    top = np.quantile(inside, 0.99)
    threshold = max(floor + 3 * spread, floor + 0.1 * (top - floor))
    if threshold > top:
        return sphere
    distance = distance_transform_edt(smooth < threshold) * voxel
    ramp = np.clip((dilation + edge - distance) / edge, 0, 1)
    mask: Array = (sphere * (0.5 - 0.5 * np.cos(np.pi * ramp))).astype(np.float32)
    return mask
