"""Speed and accuracy of the native engine on a simulated data set, against RELION's on the same.

    python scripts/bench/ml3d.py DATASET [--classes 20] [--relion] [--threads 2] [--json]

DATASET is a folder of ``alphacryo4d simulate``: particles.star with its stack, and truth.npy.
Times are wall-clock; compilation of the kernels is reported apart (a small run comes first).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

from alphacryo4d.ml3d.classify import classify
from alphacryo4d.ml3d.images import PreparedImages, prepare_images
from alphacryo4d.ml3d.options import ClassifyOptions
from alphacryo4d.ml3d.reconstruct import reconstruct
from alphacryo4d.particles import ParticleSet, read_particles


def prepared(particles: ParticleSet, rows: np.ndarray, threads: int) -> PreparedImages:
    return prepare_images(
        lambda r: particles.images(rows[r]),
        angles=particles.angles[rows],
        shifts=particles.shifts[rows],
        defocus=particles.defocus[rows],
        phase_shift=particles.phase_shift[rows],
        optics_group=particles.optics_group[rows],
        optics=particles.optics,
        box=particles.box,
        pixel_size=particles.pixel_size,
        threads=threads,
    )


def scores(labels: np.ndarray, states: np.ndarray) -> dict[str, float]:
    """Mean precision, recall and states found by the rules of the benchmark."""
    count = int(states.max())
    table = np.zeros((labels.max() + 1, count), int)
    np.add.at(table, (labels, states - 1), 1)
    majority, totals = table.argmax(axis=1), table.sum(axis=1)
    precision, recall = np.zeros(count), np.zeros(count)
    for state in range(count):
        mine = np.flatnonzero((majority == state) & (totals > 0))
        if mine.size:
            best = mine[table[mine, state].argmax()]
            share = table[best, state] / table[:, state].sum()
            if share >= 0.1:
                precision[state], recall[state] = table[best, state] / totals[best], share
    return {
        "precision": float(precision.mean()),
        "recall": float(recall.mean()),
        "states": int((precision > 0).sum()),
        "purity": float(table.max(axis=1).sum() / table.sum()),
    }


def run_native(data: Path, options: ClassifyOptions, threads: int, seed: int) -> dict[str, float]:
    start = time.perf_counter()
    particles = read_particles(data / "particles.star")
    rows = np.arange(len(particles))
    images = prepared(particles, rows, threads)
    read = time.perf_counter()
    found = classify(images, rows, options, np.random.default_rng(seed), threads=threads)
    classified = time.perf_counter()
    volumes = sum(1 for _ in reconstruct(images, found.labels, threads=threads))
    end = time.perf_counter()
    return {
        "read_s": read - start,
        "classify_s": classified - read,
        "volumes_s": end - classified,
        "total_s": end - start,
        "volumes": volumes,
    } | scores(found.labels, np.load(data / "truth.npy"))


def run_relion(data: Path, classes: int) -> dict[str, float]:
    """RELION's command of the benchmark: 25 iterations at 15 A without alignment."""
    from alphacryo4d.star import open_table

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table = "particles.star"
        subprocess.run(
            ["relion_reconstruct", "--i", table, "--ctf", "--maxres", "30",
             "--o", str(folder / "ref30.mrc")],
            check=True, cwd=data, capture_output=True,
        )  # fmt: skip
        start = time.perf_counter()
        subprocess.run(
            ["mpirun", "--allow-run-as-root", "--oversubscribe", "-n", "3", "relion_refine_mpi",
             "--o", str(folder / "run"), "--i", table, "--ref", str(folder / "ref30.mrc"),
             "--ini_high", "30", "--ctf", "--iter", "25", "--tau2_fudge", "4", "--K", str(classes),
             "--flatten_solvent", "--zero_mask", "--oversampling", "1", "--skip_align",
             "--strict_highres_exp", "15", "--sym", "C1", "--norm", "--scale",
             "--particle_diameter", "160", "--j", "1", "--pool", "100", "--pad", "2",
             "--dont_combine_weights_via_disc"],
            check=True, cwd=data, capture_output=True,
        )  # fmt: skip
        seconds = time.perf_counter() - start
        labels = open_table(folder / "run_it025_data.star").read(["rlnClassNumber"])
    found = np.asarray(labels["rlnClassNumber"], dtype=int) - 1
    return {"total_s": seconds} | scores(found, np.load(data / "truth.npy"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--classes", default="20")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sharpen-to", type=float, default=ClassifyOptions.sharpen_to)
    parser.add_argument("--relion", action="store_true", help="run RELION too (minutes to hours)")
    parser.add_argument("--json", action="store_true")
    choices = parser.parse_args()
    options = ClassifyOptions(classes=choices.classes, sharpen_to=choices.sharpen_to)
    start = time.perf_counter()
    particles = read_particles(choices.dataset / "particles.star")
    few = np.arange(200)
    small = ClassifyOptions(classes="2", components=2, component_iterations=1, finer_iterations=1)
    images = prepared(particles, few, choices.threads)
    found = classify(images, few, small, np.random.default_rng(0), threads=choices.threads)
    list(reconstruct(images, found.labels, threads=choices.threads))
    result = {
        "first_use_s": time.perf_counter() - start,
        "native": run_native(choices.dataset, options, choices.threads, choices.seed),
    }
    if choices.relion:
        classes = int(np.prod(options.levels))
        result["relion"] = run_relion(choices.dataset, classes)
        result["ratio"] = result["relion"]["total_s"] / result["native"]["total_s"]
    if choices.json:
        print(json.dumps(result))
        return
    for name, value in result.items():
        print(name, value)


if __name__ == "__main__":
    main()
