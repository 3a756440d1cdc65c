r"""Consensus poses from a map and nothing else: our engine and RELION on the same images.

    python scripts/bench/alignment.py data/mini_005 --reference ref60.mrc --o poses \
        --particles 2000 --threads 2 [--engines native relion]

Takes the first particles of a simulated folder, drops their poses, and prints for every engine the
wall and CPU seconds, the resolution that ours names, and the errors of its poses with the common
frame taken out; in one run, on the same threads.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import starfile

from alphacryo4d.assessment.pose_errors import pose_errors
from alphacryo4d.particles.particle_set import read_particles

POSES = re.compile("rln(Angle(Rot|Tilt|Psi)|Origin[XYZ](Angst)?|RandomSubset)")


def without_poses(folder: Path, count: int, output: Path) -> Path:
    """Table of the first particles as they come from picking."""
    tables = starfile.read(folder / "particles.star", always_dict=True)
    particles = tables["particles"].iloc[:count]
    names = particles["rlnImageName"].str.split("@", expand=True)
    stacks = [str((folder / Path(name).name).resolve()) for name in names[1]]
    particles = particles.drop(columns=[name for name in particles if POSES.fullmatch(name)])
    particles["rlnImageName"] = names[0] + "@" + stacks
    output.parent.mkdir(parents=True, exist_ok=True)
    starfile.write(tables | {"particles": particles}, output)
    return output


def align(engine: str, table: Path, arguments: argparse.Namespace, count: int) -> dict:
    """Run one engine and judge its poses."""
    output = arguments.o / engine
    before, begun = os.times(), time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "alphacryo4d", "resample", "consensus", "--engine", engine,
         "--i", table, "--o", output, "--reference", arguments.reference, "--overwrite",
         "--particle-diameter", str(arguments.diameter), "--j", str(arguments.threads),
         "--offset-range", str(arguments.offset_range)],
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    wall, after = time.perf_counter() - begun, os.times()
    found = read_particles(output / "particles.star")
    true = np.load(arguments.data / "true_poses.npy")[:count]
    truth = np.load(arguments.data / "truth.npy")[:count]
    errors = pose_errors(found.angles, found.shifts, true[:, :3], true[:, 3:], truth)["frame"]
    report = output / "consensus.json"  # of our engine; RELION's is in its log
    named = json.loads(report.read_text())["resolution"] if report.is_file() else None
    cpu = sum(after[2:4]) - sum(before[2:4])
    return {"engine": engine, "wall_s": wall, "cpu_s": cpu, "named_A": named, **errors}


def main() -> None:
    """Align by every engine in turn."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--reference", type=Path, required=True)
    parser.add_argument("--o", type=Path, required=True)
    parser.add_argument("--particles", type=int, default=2000)
    parser.add_argument("--diameter", type=float, default=160.0, help="Angstrom")
    parser.add_argument("--offset-range", type=float, default=5.0, help="shifts, pixels")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--engines", nargs="+", default=["native", "relion"])
    arguments = parser.parse_args()
    table = without_poses(arguments.data, arguments.particles, arguments.o / "particles.star")
    for engine in arguments.engines:
        print(json.dumps(align(engine, table, arguments, arguments.particles)), flush=True)


if __name__ == "__main__":
    main()
