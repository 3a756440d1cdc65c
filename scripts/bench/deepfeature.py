"""Time of an epoch of the network, its error and its features, against another version.

    python scripts/bench/deepfeature.py --against v0.1.0 --box 32 --volumes 64 --epochs 6

trains this version and that of a git revision, one after the other in processes of their own, on
the same volumes: a few states of a moving blob with noise, or ``--i volumes.npy --states
states.npy`` (one integer a volume). Printed for each: seconds and processor seconds of an epoch
(the first one and the start of the program taken out), held-out error over that of the mean
volume after all epochs, and the share of volumes whose nearest neighbour in feature space is of
the same state.
"""

from __future__ import annotations

import argparse
import csv
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
STATES = 4


def blobs(count: int, box: int) -> tuple[np.ndarray, np.ndarray]:
    """Volumes of a fixed blob and one at ``STATES`` places, with noise, and their states."""
    rng = np.random.default_rng(0)
    z, y, x = np.indices((box,) * 3) - box // 2
    states = np.arange(count) % STATES
    fixed = np.exp(-(z**2 + (y + 0.1 * box) ** 2 + x**2) / (0.02 * box**2))
    volumes = []
    for state in states:
        angle = 0.5 * state
        dy, dx = 0.3 * box * np.sin(angle), 0.3 * box * np.cos(angle)
        moving = np.exp(-(z**2 + (y - dy) ** 2 + (x - dx) ** 2) / (0.008 * box**2))
        volumes.append(fixed + moving + 0.3 * rng.normal(size=z.shape))
    return np.array(volumes, np.float32), states


def train(code: Path, volumes: Path, folder: Path, epochs: int, seed: int) -> tuple[float, float]:
    """Train by the command of a version; wall and processor seconds."""
    command = [sys.executable, "-m", "alphacryo4d", "train", "--i", str(volumes)]
    command += ["--o", str(folder), "--epochs", str(epochs), "--no-early-stop"]
    begun, used = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [*command, "--seed", str(seed)],
        check=True,
        capture_output=True,
        cwd=code,
        env={**os.environ, "PYTHONPATH": str(code)},
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime
    return time.perf_counter() - begun, processor


def held_out_errors(folder: Path) -> np.ndarray:
    """Held-out error of every epoch."""
    with (folder / "history.csv").open() as stream:
        return np.array([float(row["validation_error"]) for row in csv.DictReader(stream)])


def neighbours_alike(features: np.ndarray, states: np.ndarray) -> float:
    """Share of volumes whose nearest neighbour is of the same state."""
    points = features.reshape(len(features), -1).astype(np.float64)
    points -= points.mean(1, keepdims=True)
    points /= np.maximum(points.std(1, keepdims=True), 1e-12)
    squares = (points**2).sum(1)
    distances = squares[:, None] + squares - 2 * points @ points.T
    np.fill_diagonal(distances, np.inf)
    return float(np.mean(states[distances.argmin(1)] == states))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--against", metavar="REVISION", help="git revision to compare with")
    parser.add_argument("--box", type=int, default=32)
    parser.add_argument("--volumes", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--i", type=Path, help="volumes.npy instead of blobs")
    parser.add_argument("--states", type=Path, help="states.npy, one integer a volume")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        if options.i:
            volumes, states = np.load(options.i), np.load(options.states)
        else:
            volumes, states = blobs(options.volumes, options.box)
        source = place / "volumes.npy"
        np.save(source, volumes)
        versions = {"this version": ROOT}
        if options.against:
            earlier = place / "earlier"
            earlier.mkdir()
            archive = subprocess.run(
                ["git", "-C", str(ROOT), "archive", options.against, "alphacryo4d"],
                check=True,
                capture_output=True,
            ).stdout
            subprocess.run(["tar", "x", "-C", str(earlier)], input=archive, check=True)
            versions = {options.against: earlier, **versions}
        print(f"{len(volumes)} volumes of {volumes.shape[1]} voxels, {options.epochs} epochs")
        print("version         seed  s/epoch  cpu s/epoch  held-out error  same-state neighbours")
        for seed in range(options.seeds):
            for label, code in versions.items():
                once = train(code, source, place / f"{label}-{seed}-1", 1, seed)
                folder = place / f"{label}-{seed}"
                whole = train(code, source, folder, options.epochs, seed)
                wall, cpu = (
                    (b - a) / (options.epochs - 1) for a, b in zip(once, whole, strict=True)
                )
                error = held_out_errors(folder).min()
                alike = neighbours_alike(np.load(folder / "features.npy"), states)
                print(
                    f"{label:15s} {seed:4d} {wall:8.2f} {cpu:12.2f} {error:15.3e} {alike:22.3f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
