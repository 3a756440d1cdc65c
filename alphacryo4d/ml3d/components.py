"""Probabilistic principal components of the particles, by EM with the engine's kernels.

Model: a particle is the projection of ``mean + sum_a z_a component_a`` with standard normal
coordinates z, its CTF and coloured noise. The components are volumes; every particle has the mean
and the covariance of its coordinates. Nothing is classified here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.core.progress import Progress, no_progress
from alphacryo4d.maths.fourier import resize_cubes
from alphacryo4d.ml3d import local_prior
from alphacryo4d.ml3d.checkpoint import Checkpoint
from alphacryo4d.ml3d.expectation import View, project_back
from alphacryo4d.ml3d.grid import Grid
from alphacryo4d.ml3d.images import PreparedImages
from alphacryo4d.ml3d.latent import latent_moments, packed, random_fields, whitened
from alphacryo4d.ml3d.masks import first_mask, resize_mask, solvent_mask
from alphacryo4d.ml3d.mean import data_power, solve_mean


@dataclass
class Components:
    """Principal components of particles.

    Attributes
    ----------
    rows : (n,) int64
        Particles, in the order of the other arrays.
    cubes : (q + 1, m, m, m) float32
        Mean and components on the cube of ``grid``.
    coordinates : (n, q) float32
        Posterior means.
    information, projected : (n, q, q), (n, q) float32
        Log-likelihood of coordinates z: ``projected . z - z . information . z / 2``.
    noise : (G, shells) float64
        Noise power.
    grid : Grid
    mask : (m, m, m) float32
    """

    rows: Array
    cubes: Array
    coordinates: Array
    information: Array
    projected: Array
    noise: Array
    grid: Grid
    mask: Array


def fit_components(
    images: PreparedImages,
    rows: Array,
    count: int,
    iterations: int,
    radius: int,
    seed: int,
    *,
    finer: tuple[int, int, int] | None = None,
    mask_diameter: float | None = None,
    solvent: Array | None = None,
    workers: int = 1,
    progress: Progress = no_progress,
    check: Callable[[], None] | None = None,
    saved: dict[str, Array] | None = None,
    checkpoint: Checkpoint | None = None,
) -> Components:
    """Probabilistic principal components of some particles, by EM (Tipping & Bishop 1999).

    The solvent mask narrows on the way, and the prior of the components to where these are.

    Parameters
    ----------
    rows : (n,) int array
    count, iterations, radius, seed : int
        Components, EM iterations, last Fourier shell (pixels), seed of start and choices.
    finer : optional
        Count, iterations and radius to go on with after these.
    mask_diameter, solvent : float, (box, box, box) array, optional
        Spherical solvent mask (A); soft mask in its place, which stays as it is.
    check : callable, optional
        Called before every iteration; stops the work by raising.
    saved, checkpoint : dict, Checkpoint, optional
        State to go on from; told the state after every iteration.
    """
    total = iterations + (finer[1] if finer else 0)
    ordered = images.sorted_rows(rows)
    if saved is None:
        view, first = View(images, ordered, Grid(radius, workers)), 0
        rng = np.random.default_rng([seed, total])
        first_few = _number_used(share_of_particles(0, iterations, total), len(rows))
        fit = _Fit(view, first_mask(view.grid, images, mask_diameter, solvent), first_few, rng)
        fit.add_components(count, rng)
    else:
        fit, first = _Fit.restored(saved, images, ordered, workers), int(saved["iteration"])
    for iteration in range(first, total):
        if check is not None:
            check()
        progress(iteration, total, "components")
        if finer and iteration == iterations:
            fit.sharpen(finer[2])
            fit.add_components(finer[0] - count, np.random.default_rng([seed, total + 1]))
        share = share_of_particles(iteration, iterations, total)
        fit.use(_number_used(share, len(rows)), np.random.default_rng([seed, iteration]))
        fit.iterate(local=iteration > iterations // 3)
        if solvent is None and iteration in (iterations // 3, 2 * iterations // 3):
            fit.narrow_mask()
        if checkpoint is not None:
            checkpoint.save(fit.state(iteration + 1) | {"seed": np.array(seed)})
    progress(total, total, "components")
    return fit.outcome()


LEAST_PARTICLES = 5_000
MOST_PARTICLES = 200_000
"""Particles that an iteration of the components uses: some are enough at first, and for good
where there are very many."""


RELAXATION = 1.6
"""Components move so many times as far as an EM step takes them: EM is slow where they are weak."""


def _number_used(share: float, particles: int) -> int:
    return int(np.clip(share * particles, LEAST_PARTICLES, MOST_PARTICLES))


def share_of_particles(iteration: int, coarse: int, total: int) -> float:
    """Part of the particles that an iteration uses: the first ones only find the directions.

    A quarter, then half, then all at the starting resolution (``coarse`` iterations), but no more
    than half where a finer one follows; there half, and all in the end.
    """
    if iteration < coarse:
        last = 1.0 if total == coarse else 0.5
        return 0.25 if iteration < 0.4 * coarse else 0.5 if iteration < 0.7 * coarse else last
    return 0.5 if iteration - coarse < 0.8 * (total - coarse) else 1.0


_KEPT = (
    "mask", "sphere", "amplitude", "fields", "spectrum", "noise", "variance", "spread", "means",
    "second",
)  # fmt: skip


class _Fit:
    """State of the EM for the components."""

    def __init__(self, view: View, mask: Array, particles: int, rng: np.random.Generator) -> None:
        self.all, self.view, self.mask, self.sphere = view, view, mask, mask
        self.amplitude = np.ones_like(mask)
        self.use(particles, rng)
        self.fresh = False
        noise = data_power(self.view)
        noise[:, 0] = noise[:, 1]
        self.fields, self.spectrum, self.noise = solve_mean(self.view, noise, mask)
        self.variance = self.spread = np.empty((0, view.grid.radius + 1))
        self.means = np.ones((len(self.view.rows), 1), np.float32)
        self.second = np.ones((len(self.view.rows), 1, 1), np.float32)

    @property
    def grid(self) -> Grid:
        return self.view.grid

    def state(self, iteration: int) -> dict[str, Array]:
        """What :meth:`restored` needs to go on with an iteration."""
        state = {name: getattr(self, name) for name in _KEPT}
        state |= {"stage": np.array("components"), "iteration": np.array(iteration)}
        state |= {"radius": np.array(self.grid.radius), "used": self.view.rows}
        return state

    @classmethod
    def restored(
        cls, saved: dict[str, Array], images: PreparedImages, rows: Array, workers: int
    ) -> _Fit:
        """The fit of a saved state."""
        fit = cls.__new__(cls)
        grid = Grid(int(saved["radius"]), workers)
        fit.all, fit.view = View(images, rows, grid), View(images, saved["used"], grid)
        fit.fresh = False
        for name in _KEPT:
            setattr(fit, name, saved[name])
        return fit

    def use(self, particles: int, rng: np.random.Generator) -> None:
        """Go on with some of the particles, drawn anew when their number changes."""
        every = self.all.rows
        particles = min(particles, len(every))
        if particles == len(self.view.rows):
            return
        chosen = np.sort(rng.choice(len(every), particles, replace=False))
        self.view = View(self.view.images, every[chosen], self.grid)
        self.fresh = True

    def add_components(self, count: int, rng: np.random.Generator) -> None:
        """More components: weak random volumes."""
        if count <= 0:
            return
        fields = random_fields(self.grid, count, 0.1 * self.spectrum, rng)
        self.fields = np.concatenate([self.fields, fields])
        self.variance = np.vstack([self.variance, np.tile(0.1 * self.spectrum, (count, 1))])
        n, old = self.means.shape
        self.means = np.concatenate([self.means, np.zeros((n, count), np.float32)], axis=1)
        second = np.zeros((n, old + count, old + count), np.float32)
        second[:, :old, :old] = self.second
        self.second = second

    def sharpen(self, radius: int) -> None:
        """More Fourier shells."""
        old = self.grid.radius
        if radius <= old:
            return
        grid = Grid(radius, self.grid.workers)
        self.view = View(self.view.images, self.view.rows, grid)
        self.all = View(self.all.images, self.all.rows, grid)
        self.fields = resize_cubes(self.fields, grid.cube)
        self.mask = resize_mask(self.mask, grid.cube)
        self.sphere = resize_mask(self.sphere, grid.cube)
        self.amplitude = np.maximum(
            resize_mask(self.amplitude, grid.cube), local_prior.LEAST_AMPLITUDE
        )
        power = data_power(self.view)
        power[:, : old + 1] = self.noise
        self.noise = power
        more = radius - old
        self.spectrum = np.concatenate([self.spectrum, np.repeat(self.spectrum[-1:], more)])
        tail = np.repeat(self.variance[:, -1:], more, axis=1)
        self.variance = np.concatenate([self.variance, tail], axis=1)
        self.spread = np.concatenate([self.spread, tail], axis=1)

    def iterate(self, *, local: bool) -> None:
        """One expectation and maximisation; the prior follows the components in space or not."""
        grid = self.grid
        if local:
            self.amplitude, grown = local_prior.refitted(
                grid, self.fields[1:] * self.mask, self.mask, self.amplitude,
                self.spread.sum(axis=0),
            )  # fmt: skip
            self.variance *= grown
        self.expect()
        right, weights = project_back(self.view, 1.0 / self.noise, self.means, packed(self.second))
        solution = local_prior.solve_components(
            grid, right, weights, np.vstack([self.spectrum, self.variance]), mask=self.mask,
            amplitude=self.amplitude, start=self.fields, steps=2,
        )  # fmt: skip
        further = RELAXATION - 1.0
        solution.fields[1:] += np.float32(further) * (solution.fields[1:] - self.fields[1:])
        self.fields, turn = whitened(solution.fields, self.means, self.second)
        self.means = self.means @ turn.T
        self.second = np.einsum("ab,nbc,dc->nad", turn, self.second, turn, optimize=True)
        power = local_prior.power_of(grid, self.fields * self.mask, self.mask, self.amplitude)
        power += np.diagonal(solution.variance, axis1=1, axis2=2).T
        self.spread = np.diagonal(solution.variance, axis1=1, axis2=2).T[1:]
        self.spectrum = np.maximum(power[0], 1e-12)
        self.variance = np.maximum(power[1:], 1e-6 * self.spectrum)

    def expect(self) -> tuple[Array, Array]:
        """Moments of the coordinates, and the noise that remains."""
        if self.fresh:
            n, q = len(self.view.rows), len(self.fields)
            self.means = np.tile(np.eye(q, dtype=np.float32)[0], (n, 1))
            self.second = np.tile(np.eye(q, dtype=np.float32), (n, 1, 1))
        self.means, self.second, information, projected, left = latent_moments(
            self.view, self.fields * self.mask, self.noise, self.means, self.second
        )
        if not self.fresh:
            self.noise = left
        self.fresh = False
        return information, projected

    def narrow_mask(self) -> None:
        """Fit the mask to what the mean and the components fill."""
        images = self.view.images
        voxel = images.box * images.pixel_size / self.grid.cube
        mask = solvent_mask(self.fields * self.mask, self.sphere, voxel)
        self.fields = self.fields * self.mask * (mask > 0.01)
        self.mask = mask

    def outcome(self) -> Components:
        """Components with the coordinates of the particles."""
        self.use(len(self.all.rows), np.random.default_rng(0))
        information, projected = self.expect()
        return Components(
            self.view.rows, self.fields * self.mask, self.means[:, 1:], information, projected,
            self.noise, self.grid, self.mask,
        )  # fmt: skip
