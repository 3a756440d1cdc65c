"""Half maps of poses: resolution, noise, and the maps that images are aligned to."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import scipy.fft

from alphacryo4d.alignment.poses import Target, target_of
from alphacryo4d.core.arrays import Array
from alphacryo4d.maths.fourier import filter_map, resize_cubes, shell_numbers
from alphacryo4d.maths.fsc import Correlation, correlate_halves, soft_mask
from alphacryo4d.maths.threads import in_ranges
from alphacryo4d.ml3d.expectation import View, expect
from alphacryo4d.ml3d.grid import Grid
from alphacryo4d.ml3d.images import PreparedImages, shifted_samples, viewing_order
from alphacryo4d.ml3d.masks import resize_mask, sphere_mask
from alphacryo4d.ml3d.mean import data_power
from alphacryo4d.ml3d.reconstruct import reconstruct

SHARED = 40.0
"""Shells coarser than this (A) are those of both half-sets together: they keep one frame."""
_FINE = 15.0
"""From this resolution on (A) the mask follows the map."""
_NOISE = 4000
"""Particles from which the noise is estimated anew."""
_MOVED = 512
"""Images that are moved at once: that takes several times the memory of their samples."""
KEPT = ("volumes", "half_maps", "volume", "noise", "resolution")


def moved_images(
    images: PreparedImages,
    rows: Array,
    rotations: Array,
    shifts: Array,
    radius: int | None = None,
    workers: int = 1,
) -> PreparedImages:
    """Some images in other poses.

    Parameters
    ----------
    images : PreparedImages
    rows : (n,) int array
    rotations : (n, 3, 3) array
    shifts : (n, 2) array
        Pixels, beside those that the images were prepared with.
    radius : int, optional
        Last Fourier shell (pixels) that is kept; by default all.
    workers : int
    """
    last = len(images.kx) if radius is None else images.samples_within(radius)
    kept = replace(images, kx=images.kx[:last], ky=images.ky[:last], shell=images.shell[:last])
    data = np.empty((len(rows), last, 2), np.float32)
    ctf = np.empty((len(rows), last), np.float32)

    def work(begin: int, end: int) -> None:
        some = rows[begin:end]
        own = np.ascontiguousarray(images.data[some, :last])
        data[begin:end] = shifted_samples(kept, own, shifts[begin:end] * images.pixel_size)
        ctf[begin:end] = images.ctf[some, :last]

    in_ranges(work, len(rows), max(1, len(rows) // _MOVED), workers)
    return replace(
        kept,
        data=data,
        ctf=ctf,
        matrices=np.ascontiguousarray(rotations[:, :2], np.float32),
        group=images.group[rows],
        order=viewing_order(rotations[:, 2]),
        outlier=None if images.outlier is None else images.outlier[rows],
    )


class HalfMaps:
    """Maps of two half-sets that never exchange what is finer than 40 A.

    Attributes
    ----------
    volumes : (2, n, n, n) float32
        What the images of each half-set are aligned to: masked, each shell weighted by the
        correlation of the halves, the Wiener weight of a half map.
    half_maps : (2, n, n, n) float32
        Half maps, not filtered.
    volume : (n, n, n) float32
        Of all particles, filtered by the correlation.
    curves : Correlation
    resolution : float
        Where the halves correlate by 0.143 (A); that of the low-pass filter at first.
    noise : (G, shells) float64
        Power of the noise by group and shell.
    """

    def __init__(
        self,
        images: PreparedImages,
        half: Array,
        *,
        diameter: float | None = None,
        mask: Array | None = None,
        workers: int = 1,
    ) -> None:
        self.images, self.half, self.given, self.workers = images, half, mask, workers
        self.grid = Grid((images.box - 1) // 2 - 1, workers)
        self.sphere = resize_mask(sphere_mask(self.grid, images, diameter), images.box)
        every = images.sorted_rows(np.arange(len(images)))
        self.noise = data_power(View(images, every, self.grid))
        self.resolution = np.inf
        self.volumes = self.half_maps = np.zeros((2, *[images.box] * 3), np.float32)
        self.volume = self.volumes[0]
        self.curves: Correlation | None = None

    def start(self, reference: Array, resolution: float) -> None:
        """Begin with a map of any grey scale, low-passed at a resolution (A)."""
        low = filter_map(np.asarray(reference, np.float64), resolution, self.images.pixel_size)
        low = low * self.sphere / max(float(np.abs(low).max()), 1e-30)
        self.volumes = np.stack([low, low]).astype(np.float32)
        self.resolution = resolution

    def target(self, half: int, radius: int) -> Target:
        """What the images of a half-set are aligned to, up to a shell."""
        grid = Grid(radius, self.workers)
        cube = resize_cubes(self.volumes[half][None] / self.images.box, grid.cube)[0]
        return target_of(cube, grid, 1 / self.noise[:, : radius + 1])

    def rebuild(self, rotations: Array, shifts: Array, used: Array) -> None:
        """The maps of other poses (P, 3, 3), (P, 2), of the particles (P,) bool in use."""
        images = self.images
        labels = np.where(used, 0, -1).astype(np.int32)

        def source(rows: Array) -> PreparedImages:
            return moved_images(images, rows, rotations[rows], shifts[rows])

        made = next(
            reconstruct(images, labels, half_sets=self.half, source=source, threads=self.workers)
        )
        self.half_maps, self.volume = made.half_maps, made.volume
        self._compare()
        self._filter()
        self._estimate_noise(rotations, shifts, np.flatnonzero(used))

    def _mask(self) -> Array:
        if self.given is not None:
            return self.given
        if self.resolution > _FINE:
            return self.sphere
        own = soft_mask(self.half_maps.mean(axis=0), self.images.pixel_size)
        return np.asarray(self.sphere * own, np.float32)

    def _compare(self) -> None:
        one, two = self.half_maps
        self.mask = self._mask()
        self.curves = correlate_halves(one, two, self.images.pixel_size, mask=self.mask)
        self.resolution = float(self.curves.resolution)

    def _filter(self) -> None:
        assert self.curves is not None
        size = self.images.box
        weights = np.clip(self.curves.corrected, 0, 1)
        beyond = np.flatnonzero(weights[1:] < 0.143)
        if len(beyond):
            weights[beyond[0] + 1 :] = 0
        shells = np.minimum(shell_numbers(size), len(weights))
        spectra = scipy.fft.rfftn(self.half_maps, axes=(1, 2, 3), workers=self.workers)
        shared = shells <= size * self.images.pixel_size / SHARED
        spectra[:, shared] = spectra[:, shared].mean(axis=0)
        spectra *= np.append(weights, 0)[shells]
        maps = scipy.fft.irfftn(spectra, s=(size,) * 3, axes=(1, 2, 3), workers=self.workers)
        self.volumes = (maps * self.mask).astype(np.float32)

    def _estimate_noise(self, rotations: Array, shifts: Array, rows: Array) -> None:
        """Noise power that remains beside the map, from some of the particles."""
        rng = np.random.default_rng(len(rows))
        some = np.sort(rng.choice(rows, min(_NOISE, len(rows)), replace=False))
        part = moved_images(self.images, some, rotations[some], shifts[some])
        cube = resize_cubes(self.volumes.mean(axis=0)[None] / self.images.box, self.grid.cube)
        view = View(part, part.order, self.grid)
        references = self.grid.class_references(cube)
        noise = expect(view, references, 1 / self.noise, np.ones(1)).noise
        self.noise[: len(noise)] = noise
        self.noise[:, 0] = self.noise[:, 1]

    def state(self) -> dict[str, Array]:
        """What :meth:`restore` needs."""
        return {name: np.asarray(getattr(self, name)) for name in KEPT}

    def restore(self, saved: dict[str, Array]) -> None:
        """Go on from a state."""
        for name in KEPT:
            setattr(self, name, saved[name])
        resolution = self.resolution = float(saved["resolution"])
        if self.half_maps.any():
            self._compare()
            self.resolution = resolution
