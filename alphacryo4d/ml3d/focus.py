"""Focused classification: what lies outside the focus is taken off the images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.maths.fourier import resize_cubes
from alphacryo4d.maths.threads import in_ranges
from alphacryo4d.ml3d.compiled.classes import subtract_reference
from alphacryo4d.ml3d.expectation import View
from alphacryo4d.ml3d.grid import Grid
from alphacryo4d.ml3d.images import PreparedImages, shell_of_resolution
from alphacryo4d.ml3d.masks import first_mask, resize_mask
from alphacryo4d.ml3d.mean import data_power, solve_mean


def without_surroundings(
    images: PreparedImages,
    rows: Array,
    resolution: float,
    *,
    diameter: float | None,
    solvent: Array | None,
    focus: Array,
    workers: int,
) -> tuple[PreparedImages, Array]:
    """Images less the projections of the consensus outside a focus.

    Parameters
    ----------
    images : PreparedImages
    rows : (n,) int array
        Particles that make the consensus.
    resolution : float
        Finest resolution (A) of the consensus, and of the images that are left.
    diameter : float, optional
        Of the spherical mask of the consensus (A).
    solvent : (box, box, box) array, optional
        Soft solvent mask of the consensus.
    focus : (box, box, box) array
        Soft mask of the region to classify by.
    workers : int
        Threads.

    Returns
    -------
    PreparedImages
        All images, up to that resolution.
    surroundings : (box, box, box) float32
        What was subtracted, as a volume.
    """
    radius = min(shell_of_resolution(resolution, images.box, images.pixel_size), images.radius)
    grid = Grid(radius, workers)
    view = View(images, images.sorted_rows(rows), grid)
    mask = first_mask(grid, images, diameter, solvent)
    noise = data_power(view)
    noise[:, 0] = noise[:, 1]
    field, _, _ = solve_mean(view, noise, mask)
    outside = field * mask * (1 - resize_mask(np.asarray(focus, np.float32), grid.cube))
    last = view.last
    data, ctf = images.data[:, :last].copy(), images.ctf[:, :last].copy()
    references = grid.references(outside).ravel()
    in_ranges(
        subtract_reference, len(images), 16 * workers, workers, data, ctf, view.matrices,
        images.kx[:last], images.ky[:last], references, grid.padded,
    )  # fmt: skip
    kept = replace(
        images, data=data, ctf=ctf, kx=images.kx[:last], ky=images.ky[:last],
        shell=images.shell[:last],
    )  # fmt: skip
    return kept, resize_cubes(outside, images.box)[0] * np.float32(images.box)
