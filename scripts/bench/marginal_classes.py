"""Classes of one fold with small pose errors marginalised in the expectation, and without.

Takes a fold's class volumes and asks in which class each image is: of particles that the fold was
made of, and of those that it left out. A class counts for the state that most of its images are
in. ``docs/method/poses.md`` has the figures.
"""

import argparse
from pathlib import Path

import numpy as np

from alphacryo4d.maths.fourier import resize_cubes
from alphacryo4d.ml3d.expectation import View, expect
from alphacryo4d.ml3d.grid import Grid
from alphacryo4d.ml3d.images import shell_of_resolution
from alphacryo4d.ml3d.mean import data_power
from alphacryo4d.particles.particle_set import read_particles
from alphacryo4d.particles.samples import prepare_rows
from alphacryo4d.reclassify.joint_moments import joint_moments

SIGMAS = ((0.5, 0.2), (1.0, 0.4), (2.0, 0.6), (5.0, 2.0))
"""Errors of the poses (degrees, A) that are marginalised."""


def scaled(view: View, cubes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Volumes (K, m, m, m) at the scale of the images, and the noise (G, shells)."""
    noise, even = data_power(view), np.full(len(cubes), 1 / len(cubes))
    noise[:, 0] = noise[:, 1]
    for _ in range(4):
        outcome = expect(view, view.grid.class_references(cubes), 1 / noise, even)
        noise = outcome.noise
        noise[:, 0] = noise[:, 1]
        inner, norm = outcome.moments.sum(axis=0, dtype=np.float64)
        cubes = (cubes * (inner / norm)).astype(np.float32)
    return cubes, noise


def right(classes: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Whether the class of an image is mostly of images of its state."""
    state = np.zeros(int(classes.max()) + 1, np.int64)
    for number in np.unique(classes):
        state[number] = np.bincount(truth[classes == number]).argmax()
    return state[classes] == truth


def main() -> None:
    """Print the shares of images in a class of their state."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", type=Path, help="particles with the poses that were classified")
    parser.add_argument("project", type=Path)
    parser.add_argument("truth", type=Path, help="truth.npy")
    parser.add_argument("--left-out", type=int, default=4, help="fold group, from 1")
    parser.add_argument("--particles", type=int, default=4000, help="of each kind")
    parser.add_argument("--resolution", type=float, default=10.5, help="A")
    given = parser.parse_args()
    resample = given.project / "resample"
    groups = np.load(resample / "groups.npy")
    folds = int(groups[:, 1].max())
    first = groups[:, 0] == 1
    left = np.flatnonzero(first & (groups[:, 1] == given.left_out))[: given.particles]
    seen = np.flatnonzero(first & (groups[:, 1] != given.left_out))[: given.particles]
    rows = np.union1d(left, seen)
    images = prepare_rows(read_particles(given.table), rows, given.resolution)
    shell = shell_of_resolution(given.resolution, images.box, images.pixel_size)
    grid = Grid(min(shell, images.radius), 1)
    view = View(images, images.sorted_rows(np.arange(len(images))), grid)
    name = "".join(str(k) for k in range(1, folds + 1) if k != given.left_out)
    volumes = np.load(resample / "batch1" / f"u{name}" / "class_volumes.npy")
    cubes, noise = scaled(view, resize_cubes(volumes, grid.cube) / np.float32(images.box))
    mean = cubes.mean(axis=0)
    joint, _ = joint_moments(view, np.concatenate([mean[None], cubes - mean]), noise)
    count = len(cubes)
    moments = joint.of_states(np.eye(count), np.full(count, 1 / count))
    truth = np.load(given.truth)[rows][view.rows]
    held_out = np.isin(rows[view.rows], left)

    def say(what: str, values: np.ndarray) -> None:
        good = right(values[:, :count].argmax(axis=1), truth)
        print(f"{what}: left out {good[held_out].mean():.3f}, seen {good[~held_out].mean():.3f}")

    say("poses as they are", moments.plain)
    for sigma in SIGMAS:
        values, _ = moments.marginal(sigma, np.zeros((len(truth), 6)))
        say(f"errors of {sigma[0]} degrees and {sigma[1]} A marginalised", values)


if __name__ == "__main__":
    main()
