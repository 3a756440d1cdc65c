"""Minimum-energy path by the simplified string method (sections 4.6 and 4.7, eq. 7-9)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.core.progress import Progress, no_progress
from alphacryo4d.landscape.options import PathOptions
from alphacryo4d.landscape.surface import Surface, TriangulatedSurface

_CHUNK = 2000
_PATIENCE = 12
PAPER_STEP = 0.1


@dataclass(frozen=True)
class EnergyPath:
    """A path and how it was found.

    Attributes
    ----------
    images : (n, d) float64 array
        Points at equal arc length from start to end; d is 2 on the plane of the landscape.
    energies : (n,) array
        Energy along it in kT.
    iterations : int
        Steps done.
    displacement : float
        (|dx| + |dy| + ...) / n of the last step, per step of 0.1 where the step was automatic.
    residual : float
        Root mean square of the gradient's part across the path (eq. 7), in kT per unit.
    converged : bool
        Whether the displacement fell below the tolerance.
    returned : int
        How often an image left the surface and was brought back to its edge.
    """

    images: Array
    energies: Array
    iterations: int
    displacement: float
    residual: float
    converged: bool
    returned: int


def straight_line(points: Array, images: int) -> Array:
    """Images (n, d) at equal arc length along straight lines through points (P, d)."""
    points = np.asarray(points, np.float64)
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    lengths = np.concatenate([[0.0], np.cumsum(steps)])
    wanted = np.linspace(0.0, lengths[-1], images)
    return np.stack([np.interp(wanted, lengths, column) for column in points.T], axis=1)


def minimum_energy_path(
    surface: Surface,
    points: Array,
    options: PathOptions,
    *,
    progress: Progress = no_progress,
) -> EnergyPath:
    """Path between two minima that follows the gradient (eq. 7).

    Images move down the gradient by a step (eq. 8) and are re-spaced to equal arc length (eq. 9)
    until (|dx| + |dy|) / n is at most the tolerance. The ends move, too, and settle in minima.
    Images off the surface are brought back to its nearest point.

    Parameters
    ----------
    surface : Surface
        Energy over the plane, or over a space of d dimensions.
    points : (P, d) array
        Start, points to pass, end; the first path is the straight line through them.
    options : PathOptions
        Images, step, tolerance. Without a step it is chosen anew every few hundred iterations
        (:func:`stable_step`), the displacement is counted per step of 0.1, and a path that no
        longer gains (a surface with kinks has no smooth one) is given up, not converged.
    progress : Progress
        Called now and then with the steps done.
    """
    images, returned = surface.bring_back(straight_line(points, options.images))
    if isinstance(surface, TriangulatedSurface):
        run: Any = _Triangulated(surface, images)
    else:
        run = _General(surface, images)
    done, displacement, since = 0, np.inf, 0
    best, first = np.inf, 0.0
    while done < options.stepmax and displacement > options.tolerance and since < _PATIENCE:
        step = options.stepsize
        chunk = _CHUNK
        if step is None:
            step, chunk = stable_step(surface, run.images), _CHUNK // 4
        scale = 1.0 if options.stepsize is not None else PAPER_STEP / step
        count = min(chunk, options.stepmax - done)
        steps, displacement, left = run(step, options.tolerance / scale, count)
        displacement *= scale
        done += steps
        first = max(first, displacement)
        returned += left
        since = 0 if options.stepsize is not None or displacement < 0.95 * best else since + 1
        best = min(best, displacement)
        progress(_share_done(first, displacement, options), 1.0, f"displacement {displacement:.1e}")
    images, left = surface.bring_back(run.images)
    return EnergyPath(
        images=images,
        energies=surface.values(images),
        iterations=done,
        displacement=float(displacement),
        residual=residual(surface, images),
        converged=bool(displacement <= options.tolerance),
        returned=int(returned + left),
    )


def stable_step(surface: Surface, images: Array) -> float:
    """Step for which eq. 8 neither oscillates nor moves an image past its neighbour.

    0.7 over the largest curvature along the path (steps over 2 / curvature oscillate), and at
    most half the spacing over the largest gradient.
    """
    spacing = float(np.linalg.norm(images[1] - images[0])) + 1e-12
    offset = 0.25 * spacing
    gradient = surface.gradients(images)
    largest = float(np.nanmax(np.linalg.norm(gradient, axis=1), initial=0.0))
    columns = [
        surface.gradients(surface.bring_back(images + shift)[0]) - gradient
        for shift in offset * np.eye(images.shape[1])
    ]
    second = np.stack(columns, axis=-1) / offset
    curvature = float(np.nanmax(np.abs(second).sum(1).max(1), initial=0.0))
    return min(0.7 / (curvature + 1e-12), 0.5 * spacing / (largest + 1e-12))


def _share_done(first: float, displacement: float, options: PathOptions) -> float:
    """How far the displacement has fallen on its way to the tolerance, on a scale of powers."""
    if not np.isfinite(displacement) or displacement <= 0 or first <= options.tolerance:
        return 0.0
    share = np.log(first / displacement) / np.log(first / options.tolerance)
    return float(np.clip(share, 0.0, 0.99))


def residual(surface: Surface, images: Array) -> float:
    """Root mean square over inner images of the gradient across the path (eq. 7)."""
    tangent = images[2:] - images[:-2]
    norms = np.linalg.norm(tangent, axis=1, keepdims=True)
    tangent = tangent / np.where(norms == 0, 1, norms)
    gradient = surface.gradients(images[1:-1])
    across = gradient - (gradient * tangent).sum(1, keepdims=True) * tangent
    return float(np.sqrt((across**2).sum(1).mean()))


class _Triangulated:
    """The compiled loop, with the triangle of each image kept between calls."""

    def __init__(self, surface: TriangulatedSurface, images: Array) -> None:
        from alphacryo4d.landscape import kernels

        self.surface = surface
        self.images = np.ascontiguousarray(images)
        self.kernels = kernels
        self.triangles, _ = kernels.bring_back(
            self.images, surface.affine, surface.neighbours, surface.hull
        )

    def __call__(self, step: float, tolerance: float, steps: int) -> tuple[int, float, int]:
        surface = self.surface
        result: tuple[int, float, int] = self.kernels.evolve(
            self.images,
            self.triangles,
            step,
            tolerance,
            steps,
            surface.affine,
            surface.neighbours,
            surface.hull,
            surface.slopes,
        )
        return result


class _General:
    """The same loop for any surface, vectorised over the images."""

    def __init__(self, surface: Surface, images: Array) -> None:
        self.surface = surface
        self.images = images

    def __call__(self, step: float, tolerance: float, steps: int) -> tuple[int, float, int]:
        displacement, returned = np.inf, 0
        for iteration in range(steps):
            images, left = self.surface.bring_back(self.images)
            returned += left
            moved = images - step * self.surface.gradients(images)
            moved = straight_line(moved, len(images))
            change = moved - self.images
            displacement = float(np.linalg.norm(change, axis=0).sum() / len(images))
            self.images = moved
            if displacement <= tolerance:
                return iteration + 1, displacement, returned
        return steps, displacement, returned


def spaced_centers(images: Array, states: int) -> Array:
    """Centers (K, 2) at equal arc length along a path, both ends included (the authors' way)."""
    rows = np.linspace(0, len(images) - 1, states).astype(int)
    result: Array = images[rows]
    return result
