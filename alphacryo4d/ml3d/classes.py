"""Expectation and maximisation of classes with fixed poses: start, iterations, empty classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.core.progress import Progress, part_of
from alphacryo4d.core.words import plural
from alphacryo4d.maths.fourier import resize_cubes
from alphacryo4d.ml3d.checkpoint import Checkpoint
from alphacryo4d.ml3d.class_volumes import (
    ClassSums,
    class_sums,
    correlation_of_halves,
    solve_classes,
)
from alphacryo4d.ml3d.components import Components, fit_components
from alphacryo4d.ml3d.expectation import View, expect
from alphacryo4d.ml3d.grid import Grid
from alphacryo4d.ml3d.images import PreparedImages, shell_of_resolution
from alphacryo4d.ml3d.masks import first_mask, resize_mask
from alphacryo4d.ml3d.mean import data_power
from alphacryo4d.ml3d.mixture import LatentParticles
from alphacryo4d.ml3d.mixture_search import fit_mixture
from alphacryo4d.ml3d.options import ClassifyOptions
from alphacryo4d.ml3d.points import grouped_points


@dataclass
class Model:
    """Classes in the middle of the iterations."""

    grid: Grid
    fields: Array
    mask: Array
    noise: Array
    own: Array
    """(shells, K) prior variance of the deviations of the classes from their mean."""
    common: Array
    """(shells,) prior variance of their mean."""
    posteriors: Array
    uncertainty: Array
    """(shells, K) posterior variance of the Fourier components of the masked volumes."""


OF_COMPONENTS, OF_SEEDS = 0.55, 0.8
"""Fractions of the time after the components, whose last iterations take all particles and finer
shells, and after the classes that begin from them."""
HALVES_AGREE = 0.143
"""Correlation of the classes' deviations between half sets above which a shell is used."""


def state_of(model: Model, iteration: int) -> dict[str, Array]:
    """What :meth:`Run.restored` needs to go on after some iterations."""
    return {
        "stage": np.array("classes"),
        "radius": np.array(model.grid.radius),
        "iteration": np.array(iteration),
        "fields": model.fields,
        "mask": model.mask,
        "noise": model.noise,
        "own": model.own,
        "common": model.common,
        "posteriors": model.posteriors,
        "uncertainty": model.uncertainty,
    }


class Run:
    """One classification: what its steps share."""

    def __init__(
        self,
        images: PreparedImages,
        rows: Array,
        options: ClassifyOptions,
        rng: np.random.Generator,
        workers: int,
        progress: Progress,
        check: Callable[[], None],
        solvent: Array | None = None,
    ) -> None:
        self.images, self.options, self.rng = images, options, rng
        self.workers, self.progress, self.check = workers, progress, check
        self.rows = images.sorted_rows(rows)
        self.given = rows
        self.solvent = solvent
        self.log: list[str] = []
        self.total = int(np.prod(options.levels))
        self.reseeding = False

    def radius_of(self, resolution: float) -> int:
        """Fourier shell of a resolution, within what the images hold."""
        shell = shell_of_resolution(resolution, self.images.box, self.images.pixel_size)
        return min(shell, self.images.radius)

    def view(self, grid: Grid) -> View:
        """The particles up to the grid's shell."""
        return View(self.images, self.rows, grid)

    def seeded(self, saved: dict[str, Array] | None, checkpoint: Checkpoint | None) -> Model:
        """Classes from principal components, or from random labels.

        ``saved`` is the state of components that were being estimated, if there is one.
        """
        options = self.options
        radius = self.radius_of(options.initial_resolution)
        finest = self.radius_of(options.final_resolution) if options.final_resolution else radius
        count, finer = 1, None
        if options.initialisation == "pca":
            count = min(options.components, 7)
            if finest > radius:
                finer = (options.components, options.final_component_iterations, finest)
        seed = int(self.rng.integers(2**62)) if saved is None else int(saved["seed"])
        parts = fit_components(
            self.images, self.rows, count, options.component_iterations, radius, seed,
            finer=finer, mask_diameter=options.mask_diameter, solvent=self.solvent,
            workers=self.workers, progress=part_of(self.progress, 0.0, OF_COMPONENTS, power=3),
            check=self.check, saved=saved,
            checkpoint=checkpoint,
        )  # fmt: skip
        if options.initialisation == "pca":
            posteriors = self._latent_classes(parts, np.random.default_rng(seed))
        else:
            posteriors = np.random.default_rng(seed).dirichlet(np.ones(self.total), len(self.rows))
        model = self.from_posteriors(
            parts.grid, parts.mask, parts.noise, posteriors.astype(np.float32)
        )
        return self._without_noisy_shells(model, radius) if finest > radius else model

    def _latent_classes(self, parts: Components, rng: np.random.Generator) -> Array:
        particles = LatentParticles(parts.information, parts.projected, self.workers)
        mixture = fit_mixture(particles, parts.coordinates, self.total, rng)
        return particles.posteriors(grouped_points(mixture.points, self.options.levels))

    def started(self, start: Array) -> Model:
        """Classes from given volumes (K, box, box, box) or soft labels (n, K)."""
        grid = Grid(self.radius_of(self.options.initial_resolution), self.workers)
        mask = first_mask(grid, self.images, self.options.mask_diameter, self.solvent)
        view = self.view(grid)
        noise = data_power(view)
        noise[:, 0] = noise[:, 1]
        if start.ndim == 2:
            position = np.searchsorted(np.sort(self.given), self.rows)
            soft = start[np.argsort(self.given)][position].astype(np.float32)
            soft /= np.maximum(soft.sum(axis=1, keepdims=True), 1e-12)
            return self.from_posteriors(grid, mask, noise, soft)
        cubes = resize_cubes(start, grid.cube) * mask / np.float32(start.shape[1])
        outcome = expect(
            view, grid.class_references(cubes), 1 / noise, np.full(len(cubes), 1 / len(cubes))
        )
        return self.from_posteriors(grid, mask, noise, outcome.posteriors)

    def from_posteriors(
        self, grid: Grid, mask: Array, noise: Array, soft: Array, *, steps: int = 6, again: int = 0
    ) -> Model:
        """Volumes of soft labels under a weak prior, and the prior that they suggest.

        ``steps`` of conjugate gradients lead there; after ``again`` further ones, volumes and prior
        are those under that prior.
        """
        classes, shells = soft.shape[1], grid.radius + 1
        power = data_power(self.view(grid)).mean(axis=0)
        model = Model(
            grid, np.zeros((classes, *mask.shape), np.float32), mask, noise,
            np.tile(1e3 * power[:, None], classes), np.zeros(shells), soft,
            np.zeros((shells, classes)),
        )  # fmt: skip
        sums = class_sums(self.view(grid), 1 / noise, soft)
        self._solve(model, sums, steps)
        if again:
            self._solve(model, sums, again)
        return model

    def _without_noisy_shells(self, model: Model, least: int) -> Model:
        """The model without the shells in which classes do not differ reproducibly.

        Class volumes are made from the odd and from the even particles. Shells count as long as
        the correlation of the two sets of deviations from the mean, over all classes, is at least
        0.143. Shells up to ``least`` always stay. The labels were found with all particles, so
        that this is the most that the data may hold, not a proof.
        """
        grid = model.grid
        curve = correlation_of_halves(
            self.view(grid), 1 / model.noise, model.posteriors, model.mask, model.own
        )
        below = np.flatnonzero(curve[least + 1 :] < HALVES_AGREE)
        radius = least + int(below[0]) if below.size else grid.radius
        size = self.images.box * self.images.pixel_size
        self.log.append(
            f"classes differ alike in half sets to {size / radius:.1f} A "
            f"(correlation {curve[radius]:.2f} there): classified at {size / radius:.1f} A"
        )
        if radius == grid.radius:
            return model
        smaller = Grid(radius, self.workers)
        mask = resize_mask(model.mask, smaller.cube)
        return self.from_posteriors(smaller, mask, model.noise[:, : radius + 1], model.posteriors)

    def maximise(self, model: Model, steps: int = 3) -> None:
        """Volumes and prior from the posteriors."""
        sums = class_sums(self.view(model.grid), 1 / model.noise, model.posteriors)
        self._solve(model, sums, steps)

    def _solve(self, model: Model, sums: ClassSums, steps: int) -> None:
        """Volumes and prior from the sums over particles."""
        grid = model.grid
        solution = solve_classes(
            grid, sums, model.own, model.common, mask=model.mask, start=model.fields, steps=steps
        )
        model.fields = solution.fields
        model.uncertainty = float(np.mean(model.mask**2)) * solution.variance
        self._set_prior(model, solution.apart)

    def _set_prior(self, model: Model, variance: Array) -> None:
        """Spectrum of the deviations of the classes from their mean: shared, or each its own."""
        grid, classes = model.grid, len(model.fields)
        spectra = grid.transform(model.fields * model.mask)
        filled = float(np.mean(model.mask**2))
        mean = spectra.mean(axis=0)
        model.common = grid.shell_means(np.abs(mean[None]) ** 2)[0] / filled
        own = grid.shell_means(np.abs(spectra - mean) ** 2).T / filled + variance
        own *= self.options.tau2_fudge * classes / max(classes - 1, 1)
        if self.options.prior == "shared":
            own[:] = own.mean(axis=1, keepdims=True)
        model.own = np.maximum(own, 1e-6 * model.common[:, None] + 1e-20)

    def restored(self, saved: dict[str, Array]) -> tuple[Model, int]:
        """Model and next iteration of a saved state."""
        grid = Grid(int(saved["radius"]), self.workers)
        names = ("fields", "mask", "noise", "own", "common", "posteriors", "uncertainty")
        return Model(grid, *(saved[name] for name in names)), int(saved["iteration"])

    def _reseed_small(self, model: Model, rng: np.random.Generator) -> None:
        """Give classes that starve half of the particles of the largest one."""
        soft = model.posteriors
        share = soft.mean(axis=0, dtype=np.float64)
        for weak in np.flatnonzero(share < self.options.minimum_occupancy / len(share)):
            large = int(share.argmax())
            half = rng.random(len(soft)) < 0.5
            soft[half, weak] += soft[half, large]
            soft[half, large] = 0
            model.fields[weak] = model.fields[large]
            share = soft.mean(axis=0, dtype=np.float64)
            self.log.append(f"class {weak + 1} was nearly empty: re-initialised from {large + 1}")

    def _say_small(self, model: Model) -> None:
        """Log the classes that ended small although they could have been re-seeded."""
        share = model.posteriors.mean(axis=0, dtype=np.float64) * model.posteriors.shape[1]
        for weak in np.flatnonzero(share < self.options.minimum_occupancy):
            self.log.append(f"class {weak + 1} ended with {share[weak]:.3f} of the mean occupancy")

    def iterate(self, model: Model, first: int, checkpoint: Checkpoint | None) -> Model:
        """Expectation and maximisation from an iteration on."""
        options, most = self.options, self.options.iterations
        if self.reseeding and options.initialisation == "pca":
            most = min(most, options.iterations_after_pca)
        classes = model.posteriors.shape[1]
        progress = part_of(self.progress, OF_SEEDS if self.reseeding else 0.0, 1.0)
        for iteration in range(first, most):
            self.check()
            progress(iteration, most, f"iteration {iteration + 1}")
            view = self.view(model.grid)
            weights = np.full(classes, 1 / classes)
            if not options.equal_weights:
                weights = np.maximum(model.posteriors.mean(axis=0), 1e-6)
            references = model.grid.class_references(model.fields * model.mask)
            cooled = 1 + (options.temperature - 1) * max(0, 1 - 2 * iteration / most)
            outcome = expect(
                view, references, 1 / model.noise, weights, cooled,
                before=model.posteriors, uncertainty=model.uncertainty,
            )  # fmt: skip
            changed = np.mean(outcome.posteriors.argmax(axis=1) != model.posteriors.argmax(axis=1))
            model.posteriors = outcome.posteriors
            model.noise = outcome.noise
            model.noise[:, 0] = model.noise[:, 1]
            if self.reseeding and iteration + 2 < most:
                self._reseed_small(model, np.random.default_rng(iteration))
            self.maximise(model)
            done = iteration + 1
            if changed < options.converged and cooled <= 1:
                took = plural(done, "iteration")
                self.log.append(
                    f"converged after {took}: {100 * changed:.1f}% of the particles changed their "
                    "class"
                )
                done = most
            if checkpoint is not None:
                checkpoint.save(state_of(model, done))
            if done == most:
                break
        if self.reseeding:
            self._say_small(model)
        self.progress(most, most)
        return model
