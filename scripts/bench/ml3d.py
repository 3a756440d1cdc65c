"""Speed, accuracy and memory of the native engine, and RELION's on the same data in one run.

    python scripts/bench/ml3d.py DATASET [--classes 20] [--relion] [--copies 50] [--json]

DATASET is a folder of ``alphacryo4d simulate``: particles.star with its stack, and truth.npy.
Times are wall-clock, of a process of its own from its start to its end, with kernels that were
compiled before: start-up, reading, components, mixture, classes, volumes. Compilation is reported
apart (a small run comes first). With ``--relion`` RELION's run is the reference: the whole process
against all of its iterations, and an iteration against an iteration.
With ``--copies n`` the particles are repeated n times, each copy in a stack of its own name, as a
test of scale: 50 copies of 20,000 are a million particles.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from alphacryo4d.ml3d import classes, mixture_search
from alphacryo4d.ml3d.classify import classify
from alphacryo4d.ml3d.images import PreparedImages
from alphacryo4d.ml3d.options import ClassifyOptions
from alphacryo4d.ml3d.reconstruct import reconstruct
from alphacryo4d.particles.open import open_table
from alphacryo4d.particles.particle_set import ParticleSet, read_particles
from alphacryo4d.particles.samples import match_intensities, prepare_rows
from alphacryo4d.relion.preflight import image_root


def scores(labels: np.ndarray, states: np.ndarray) -> dict[str, float]:
    """Mean precision, recall and states found by the rules of the benchmark."""
    count = int(states.max())
    table = np.zeros((labels.max() + 1, count), int)
    np.add.at(table, (labels[labels >= 0], states[labels >= 0] - 1), 1)
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


class Phases:
    """Progress that keeps when the components end and when iterations of the classes begin."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.components = self.mixture = 0.0

    def __call__(self, done: float, total: float, message: str = "") -> None:
        """Note the time."""
        if message == "components":
            self.components = time.perf_counter()
        elif message.startswith("iteration") or (done == total and self.times):
            self.times.append(time.perf_counter())

    def search(self, *arguments: Any, **options: Any) -> Any:
        """The search for the mixture, and the seconds that it takes."""
        begin = time.perf_counter()
        mixture = mixture_search.fit_mixture(*arguments, **options)
        self.mixture = time.perf_counter() - begin
        return mixture

    @property
    def seconds(self) -> float:
        """Median time of an iteration."""
        return statistics.median(np.diff(self.times)) if len(self.times) > 1 else float("nan")


def run_native(
    table: Path, truth: np.ndarray, options: ClassifyOptions, choices: argparse.Namespace
) -> tuple[dict[str, Any], np.ndarray]:
    """Read, classify, make the final volumes: times, scores and labels."""
    start = time.perf_counter()
    particles = read_particles(table)
    rows, threads = np.arange(len(particles)), choices.threads
    finest = min(options.initial_resolution, options.final_resolution or np.inf)
    whole = choices.copies == 1

    def again(some: np.ndarray) -> PreparedImages:
        return prepare_rows(particles, rows[some], None, normalise=options.normalise, threads=1)

    images = prepare_rows(
        particles, rows, None if whole else finest, normalise=options.normalise, threads=threads
    )
    match_intensities(images, finest, options.normalise, threads=threads)
    read = time.perf_counter()
    phases = Phases()
    classes.fit_mixture = phases.search
    classification = classify(
        images, rows, options, np.random.default_rng(choices.seed), threads=threads,
        progress=phases,
    )  # fmt: skip
    classified = time.perf_counter()
    source = None if whole else again
    volumes = sum(
        1 for _ in reconstruct(images, classification.labels, source=source, threads=threads)
    )
    end = time.perf_counter()
    times = {
        "particles": len(rows),
        "read_s": read - start,
        "components_s": phases.components - read,
        "mixture_s": phases.mixture,
        "classes_s": classified - phases.components - phases.mixture,
        "iteration_s": phases.seconds,
        "volumes_s": end - classified,
        "volumes": volumes,
        "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }
    return times | scores(classification.labels, truth), classification.labels


def run_process(final_resolution: float, folder: Path) -> tuple[dict[str, Any], np.ndarray]:
    """The same in a process of its own, measured from its start to its end."""
    labels = folder / "labels.npy"
    begin = time.time()
    asked = ["--final-resolution", str(final_resolution), "--child", str(labels)]
    finished = subprocess.run(
        [sys.executable, *sys.argv, *asked], check=True, capture_output=True, text=True
    )
    whole = time.time() - begin
    times = json.loads(finished.stdout)
    start = {"startup_s": times.pop("began") - begin}
    return start | times | {"total_s": whole}, np.load(labels)


def run_relion(data: Path, classes: int, iterations: int) -> tuple[dict[str, Any], np.ndarray]:
    """RELION's command of the benchmark: classification at 15 A without alignment."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table = str((data / "particles.star").resolve())
        root = image_root(read_particles(data / "particles.star"))
        subprocess.run(
            ["relion_reconstruct", "--i", table, "--ctf", "--maxres", "30",
             "--o", str(folder / "ref30.mrc")],
            check=True, cwd=root, capture_output=True,
        )  # fmt: skip
        start = time.perf_counter()
        subprocess.run(
            ["mpirun", "--allow-run-as-root", "--oversubscribe", "-n", "3", "relion_refine_mpi",
             "--o", str(folder / "run"), "--i", table, "--ref", str(folder / "ref30.mrc"),
             "--ini_high", "30", "--ctf", "--iter", str(iterations), "--tau2_fudge", "4",
             "--K", str(classes), "--flatten_solvent", "--zero_mask", "--oversampling", "1",
             "--skip_align", "--strict_highres_exp", "15", "--sym", "C1", "--norm", "--scale",
             "--particle_diameter", "160", "--j", "1", "--pool", "100", "--pad", "2",
             "--dont_combine_weights_via_disc"],
            check=True, cwd=root, capture_output=True,
        )  # fmt: skip
        seconds = time.perf_counter() - start
        last = folder / f"run_it{iterations:03d}_data.star"
        labels = open_table(last).read(["rlnClassNumber", "rlnImageName"])
    # RELION sorts the rows it writes: back to the order of the input by the image names
    names = open_table(Path(table)).read(["rlnImageName"])["rlnImageName"]
    class_of_image = dict(
        zip(labels["rlnImageName"], np.asarray(labels["rlnClassNumber"], int), strict=True)
    )
    ordered = np.array([class_of_image[image] for image in names]) - 1
    times = {"total_s": seconds, "iteration_s": seconds / iterations}
    return times | scores(ordered, np.load(data / "truth.npy")), ordered


def repeated(data: Path, copies: int, folder: Path) -> Path:
    """A table that holds the particles several times, in links to the stack."""
    lines = (data / "particles.star").read_text().splitlines(keepends=True)
    table = open_table(data / "particles.star")
    names = table.read(["rlnImageName"])["rlnImageName"]
    stack = str(names[0]).split("@")[1]
    rows = [line for line in lines if f"@{stack}" in line]
    head = lines[: lines.index(rows[0])]
    out = folder / "particles.star"
    with out.open("w") as stream:
        stream.writelines(head)
        for copy in range(copies):
            link = folder / f"copy{copy:03d}.mrcs"
            link.symlink_to((data / Path(stack).name).resolve())
            stream.writelines(row.replace(f"@{stack}", f"@{link}") for row in rows)
    return out


def warm_up(particles: ParticleSet, threads: int) -> float:
    """Compile the kernels, or load them; seconds that it takes."""
    start = time.perf_counter()
    few = np.arange(min(200, len(particles)))
    small = ClassifyOptions(
        classes="2", components=2, component_iterations=1, final_component_iterations=1
    )
    images = prepare_rows(particles, few, None, threads=threads)
    classification = classify(images, few, small, np.random.default_rng(0), threads=threads)
    list(reconstruct(images, classification.labels, threads=threads))
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--classes", default="20")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--final-resolution", type=float, default=ClassifyOptions.final_resolution)
    parser.add_argument("--normalise", default=ClassifyOptions.normalise)
    parser.add_argument("--copies", type=int, default=1, help="repeat the particles")
    parser.add_argument("--relion", action="store_true", help="run RELION too (minutes to hours)")
    parser.add_argument("--relion-iterations", type=int, default=25)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    choices = parser.parse_args()
    options = ClassifyOptions(
        classes=choices.classes,
        final_resolution=choices.final_resolution,
        normalise=choices.normalise,
    )
    truth = np.load(choices.dataset / "truth.npy")
    table = choices.dataset / "particles.star"
    if choices.child:
        began = time.time()
        with tempfile.TemporaryDirectory() as name:
            if choices.copies > 1:
                table = repeated(choices.dataset, choices.copies, Path(name))
            times, labels = run_native(table, np.tile(truth, choices.copies), options, choices)
        np.save(choices.child, labels)
        print(json.dumps(times | {"began": began}))
        return
    result: dict[str, Any] = {"first_use_s": warm_up(read_particles(table), choices.threads)}
    with tempfile.TemporaryDirectory() as name:
        result["native"], labels = run_process(options.final_resolution, Path(name))
        if choices.relion and options.final_resolution:
            result["native_15A"], _ = run_process(0.0, Path(name))
    if choices.relion:
        from sklearn.metrics import adjusted_rand_score

        count = int(np.prod(options.levels))
        result["relion"], theirs = run_relion(choices.dataset, count, choices.relion_iterations)
        result["agreement"] = float(adjusted_rand_score(labels, theirs))
        for name in ("native", "native_15A"):
            if name in result:
                one = result["relion"]["iteration_s"]
                result[f"{name}_times_faster"] = {
                    "whole": 25 * one / result[name]["total_s"],
                    "iteration": one / result[name]["iteration_s"],
                }
    if choices.json:
        print(json.dumps(result))
        return
    for name, value in result.items():
        shown = value
        if isinstance(value, dict):
            shown = " ".join(f"{key}={number:.4g}" for key, number in value.items())
        print(f"{name}: {shown}")


if __name__ == "__main__":
    main()
