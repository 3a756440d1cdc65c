"""Time and memory of the votes at full scale, and the ratio to sort and grep over text.

    python scripts/bench/voting.py --particles 3000000 --folds 3 --states 64 --o /scratch/votes

makes a particle table of 26 columns with random classes, runs the counting and all its outputs in
a process of its own, and prints seconds and peak memory. ``--text 5000`` does the same work on so
many particles with sort, uniq and a grep for every particle, as the authors' scripts did.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

COLUMNS = [
    "rlnCoordinateX",
    "rlnCoordinateY",
    "rlnAutopickFigureOfMerit",
    "rlnClassNumber",
    "rlnAnglePsi",
    "rlnImageName",
    "rlnMicrographName",
    "rlnOpticsGroup",
    "rlnCtfMaxResolution",
    "rlnCtfFigureOfMerit",
    "rlnDefocusU",
    "rlnDefocusV",
    "rlnDefocusAngle",
    "rlnCtfBfactor",
    "rlnCtfScalefactor",
    "rlnPhaseShift",
    "rlnGroupNumber",
    "rlnAngleRot",
    "rlnAngleTilt",
    "rlnOriginXAngst",
    "rlnOriginYAngst",
    "rlnNormCorrection",
    "rlnLogLikeliContribution",
    "rlnMaxValueProbDistribution",
    "rlnNrOfSignificantSamples",
    "rlnRandomSubset",
]
CLASSES = 96


def write_table(path: Path, particles: int, rng: np.random.Generator) -> None:
    """Particle table as RELION 3.1 writes it, about 500 bytes a row."""
    optics = (
        "\ndata_optics\n\nloop_\n_rlnOpticsGroupName #1\n_rlnOpticsGroup #2\n_rlnVoltage #3\n"
        "_rlnSphericalAberration #4\n_rlnAmplitudeContrast #5\n_rlnImagePixelSize #6\n"
        "_rlnImageSize #7\n_rlnImageDimensionality #8\n"
        "opticsGroup1 1 300.000000 2.700000 0.100000 0.840000 200 2\n\n\n"
    )
    labels = "".join(f"_{name} #{i}\n" for i, name in enumerate(COLUMNS, 1))
    with path.open("w") as out:
        out.write(f"{optics}data_particles\n\nloop_\n{labels}")
        for first in range(0, particles, 50_000):
            rows = min(50_000, particles - first)
            values = rng.uniform(-180, 180, (rows, 22)).tolist()
            for i, row in enumerate(values, first):
                numbers = " ".join(f"{value:12.6f}" for value in row)
                name = f"{i % 1000 + 1:06d}@Extract/job042/movies/stack_{i // 1000:05d}.mrcs"
                out.write(
                    f"{numbers[:38]} {i % 7 + 1:4d} {numbers[39:51]} {name} "
                    f"MotionCorr/job002/movies/mic_{i // 1000:05d}.mrc 1 {numbers[52:]}\n"
                )
        out.write("\n")


def write_project(root: Path, particles: int, folds: int, states: int) -> None:
    """Folders ``resample`` and ``landscape`` with random votes that mostly agree."""
    rng = np.random.default_rng(0)
    resample, landscape = root / "resample", root / "landscape"
    resample.mkdir(parents=True, exist_ok=True)
    landscape.mkdir(exist_ok=True)
    table = root / "particles.star"
    write_table(table, particles, rng)
    group = rng.integers(0, folds + 1, particles)
    batches = -(-particles // 100_000)
    batch = np.arange(particles) * batches // particles
    volumes = batches * (folds + 1) * CLASSES
    of_volume = np.arange(volumes) % CLASSES % states
    taste = rng.integers(0, CLASSES, particles)
    assignments = np.empty((particles, folds + 1), np.int32)
    for fold in range(folds + 1):
        strays = rng.random(particles) < 0.2
        choice = np.where(strays, rng.integers(0, CLASSES, particles), taste)
        assignments[:, fold] = (batch * (folds + 1) + fold) * CLASSES + choice
    heldout = assignments[np.arange(particles), group].copy()
    assignments[np.arange(particles), group] = -1
    centers = 10.0 * np.column_stack([np.arange(states) % 8, np.arange(states) // 8])
    np.save(resample / "groups.npy", np.column_stack([batch + 1, group + 1]).astype(np.int32))
    np.save(resample / "assignments.npy", assignments)
    np.save(resample / "heldout.npy", heldout)
    np.save(landscape / "embedding.npy", centers[of_volume].astype(np.float32))
    rows = "".join(f"{k + 1} {x} {y} 4.0 0.0 0.0\n" for k, (x, y) in enumerate(centers))
    names = ("State", "CenterX", "CenterY", "Radius", "Energy", "EnergyError")
    labels = "".join(f"_ac4d{name} #{i}\n" for i, name in enumerate(names, 1))
    (landscape / "states.star").write_text(f"\ndata_states\n\nloop_\n{labels}{rows}\n")
    entry = {"path": str(table.absolute()), "size": table.stat().st_size}
    (resample / "job.json").write_text(json.dumps({"status": "done", "inputs": [entry]}))


def run_votes(root: Path) -> None:
    """Count and write everything; print seconds and peak memory of this process."""
    from alphacryo4d.voting.options import VoteOptions
    from alphacryo4d.voting.stage import run_vote

    begun = time.monotonic()
    options = VoteOptions(reconstruct=False, test=False)
    run_vote(root / "resample", root / "landscape", root / "vote", options=options)
    seconds = time.monotonic() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    report = json.loads((root / "vote" / "report.json").read_text())
    print(
        json.dumps(
            {"seconds": round(seconds, 2), "peak_gb": round(peak, 2)}
            | {name: report[name] for name in ("particles", "voted", "voted_out", "states")}
        )
    )


def run_text(root: Path, folds: int) -> float:
    """Seconds of the same votes with sort, uniq and one grep a particle."""
    table = root / "particles.star"
    assignments = np.load(root / "resample" / "assignments.npy")
    lines = [line for line in table.read_text().splitlines() if "@" in line]
    names = [line.split()[5] for line in lines]
    embedding = np.load(root / "landscape" / "embedding.npy")
    _, state = np.unique(embedding, axis=0, return_inverse=True)
    folder = root / "text"
    folder.mkdir(exist_ok=True)
    lists: dict[int, list[str]] = {}
    for name, copies in zip(names, assignments, strict=True):
        for volume in copies[copies >= 0]:
            lists.setdefault(int(state.ravel()[volume]), []).append(name)
    for k, voters in lists.items():
        (folder / f"c{k}.txt").write_text("\n".join(voters) + "\n")
    sort, uniq, grep = (shutil.which(name) or name for name in ("sort", "uniq", "grep"))
    begun = time.monotonic()
    for k in lists:
        ordered = subprocess.run([sort, folder / f"c{k}.txt"], capture_output=True, check=True)
        counted = subprocess.run(
            [uniq, "-c"], input=ordered.stdout, capture_output=True, check=True
        )
        with (folder / f"class{k:03d}.star").open("wb") as out:
            for entry in counted.stdout.decode().splitlines():
                votes, name = entry.split()
                if 2 * int(votes) > folds:
                    matching = subprocess.run(
                        [grep, "-F", name, table], capture_output=True, check=True
                    )
                    out.write(matching.stdout)
    return time.monotonic() - begun


def main() -> None:
    """Make the data, run, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--particles", type=int, default=3_000_000)
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--states", type=int, default=64)
    parser.add_argument("--text", type=int, default=0, help="Particles for sort and grep.")
    parser.add_argument("--o", type=Path, required=True, help="Scratch folder (emptied).")
    parser.add_argument("--votes-only", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.votes_only:
        run_votes(arguments.o)
        return
    sizes = [arguments.text] if arguments.text else [arguments.particles]
    for particles in sizes:
        shutil.rmtree(arguments.o, ignore_errors=True)
        arguments.o.mkdir(parents=True)
        write_project(arguments.o, particles, arguments.folds, arguments.states)
        command = [sys.executable, __file__, "--votes-only", "--o", arguments.o]
        print(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip())
        if arguments.text:
            print(f"sort and grep: {run_text(arguments.o, arguments.folds):.1f} s")


if __name__ == "__main__":
    main()
