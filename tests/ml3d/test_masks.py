"""Masks around what volumes fill."""

import numpy as np
from blobs import make_blobs, random_states

from alphacryo4d.ml3d.grid import Grid
from alphacryo4d.ml3d.masks import solvent_mask, sphere_mask


def test_the_mask_narrows_to_a_molecule_and_is_never_empty():
    images = make_blobs(random_states(1), 4, noise=0.1).prepared()
    grid = Grid(10)
    sphere = sphere_mask(grid, images, None)
    axis = np.arange(grid.cube) - grid.cube // 2
    radius = np.sqrt(axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2)
    small = np.exp(-np.square(radius / 2))[None].astype(np.float32)
    narrow = solvent_mask(small, sphere, 4.0)
    assert 0 < narrow.sum() < 0.5 * sphere.sum()
    assert narrow[radius < 2].min() > 0.99
    rng = np.random.default_rng(0)
    for everywhere in (np.zeros_like(small), rng.normal(size=small.shape), radius[None]):
        mask = solvent_mask(everywhere, sphere, 4.0)
        assert np.isfinite(mask).all()
        assert mask.sum() > 0.5 * sphere.sum()
