"""Time and memory of large particle tables: this package beside starfile, in the same run.

    python scripts/bench/tables.py [--rows 3000000] [--compare 1000000] [--folder /tmp]

Each measurement runs in a process of its own, so that its peak memory is its own.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

COLUMNS = [
    "rlnCoordinateX",
    "rlnCoordinateY",
    "rlnImageOriginalName",
    "rlnMicrographName",
    "rlnCtfMaxResolution",
    "rlnCtfFigureOfMerit",
    "rlnDefocusU",
    "rlnDefocusV",
    "rlnDefocusAngle",
    "rlnCtfBfactor",
    "rlnCtfScalefactor",
    "rlnPhaseShift",
    "rlnAngleRot",
    "rlnAngleTilt",
    "rlnAnglePsi",
    "rlnClassNumber",
    "rlnNormCorrection",
    "rlnRandomSubset",
    "rlnLogLikeliContribution",
    "rlnMaxValueProbDistribution",
    "rlnNrOfSignificantSamples",
    "rlnImageName",
    "rlnOpticsGroup",
    "rlnOriginXAngst",
    "rlnOriginYAngst",
    "rlnGroupNumber",
]

OPTICS = """
# version 30001

data_optics

loop_
_rlnOpticsGroup #1
_rlnOpticsGroupName #2
_rlnAmplitudeContrast #3
_rlnSphericalAberration #4
_rlnVoltage #5
_rlnImagePixelSize #6
_rlnImageSize #7
_rlnImageDimensionality #8
           1 opticsGroup1 0.100000 2.700000 300.000000 1.403000 256 2


# version 30001

data_particles

loop_
"""


def make_table(path: Path, rows: int) -> None:
    """Write a table in RELION's own layout: 26 columns, 514 bytes a row."""
    rng = np.random.default_rng(0)
    labels = "".join(f"_{name} #{i} \n" for i, name in enumerate(COLUMNS, 1))
    line = (
        "%12.6f %12.6f %06d@Extract/job133/Micrographs/18aug10a_MC2_FoilHole_10984848_Data_"
        "10985376_10985377_20180810_%07d_DW.mrcs Micrographs/18aug10a_MC2_FoilHole_10984848_Data_"
        "10985376_10985377_20180810_%07d_DW.mrc     4.545000     0.089249 %12.6f %12.6f %12.6f "
        "    0.000000     1.000000     0.000000 %12.6f %12.6f %12.6f            1     0.891387 "
        "           %d 2.586789e+05     0.051189          450 %06d@Extract/job133/Micrographs/"
        "18aug10a_MC2_FoilHole_10984848_Data_%07d.mrcs            1 %12.6f %12.6f            1 \n"
    )
    with path.open("w") as out:
        out.write(OPTICS + labels)
        for first in range(0, rows, 100_000):
            count = min(100_000, rows - first)
            values = rng.uniform(0, 180, (count, 10))
            values[:, 2:4] *= 100
            numbers = values.tolist()
            out.writelines(
                line
                % (
                    *v[:2],
                    row % 300 + 1,
                    row // 300,
                    row // 300,
                    *v[2:8],
                    row % 2 + 1,
                    row % 300 + 1,
                    row // 300,
                    *v[8:],
                )
                for row, v in enumerate(numbers, first)
            )


def read(path: Path, _: Path) -> int:
    """Every column that the classification needs."""
    from alphacryo4d.particles.particle_set import read_particles

    return len(read_particles(path, need_images=False))


def filter_rows(path: Path, out: Path) -> int:
    """Half of the rows, as a vote would keep them."""
    from alphacryo4d.particles.open import open_table

    table = open_table(path)
    mask = np.random.default_rng(1).random(table.rows) < 0.5
    table.write_rows(out, mask)
    return int(mask.sum())


def add_columns(path: Path, out: Path) -> int:
    """All rows with the four columns of a vote."""
    from alphacryo4d.particles.open import open_table

    table = open_table(path)
    votes = np.random.default_rng(1).integers(0, 4, table.rows)
    confidence = votes / 3
    columns = {
        "rlnClassNumber": votes,
        "ac4dVotes": votes,
        "ac4dConfidence": confidence,
        "ac4dEntropy": confidence,
    }
    table.write_with_columns(out, columns)
    return table.rows


def starfile_read(path: Path, _: Path) -> int:
    """Read with starfile."""
    import starfile

    return len(starfile.read(path, always_dict=True)["particles"])


def starfile_filter(path: Path, out: Path) -> int:
    """Half of the rows with starfile."""
    import starfile

    tables = starfile.read(path, always_dict=True)
    rows = len(tables["particles"])
    tables["particles"] = tables["particles"][np.random.default_rng(1).random(rows) < 0.5]
    starfile.write(tables, out)
    return len(tables["particles"])


TASKS = {f.__name__: f for f in (read, filter_rows, add_columns, starfile_read, starfile_filter)}


def measure(task: str, path: Path, out: Path) -> dict[str, float]:
    """Run one task in its own process."""
    command = [sys.executable, __file__, "--task", task, "--table", str(path), "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    out.unlink(missing_ok=True)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def run_task(task: str, path: Path, out: Path) -> None:
    """Body of the process of one task."""
    begun, cpu = time.perf_counter(), time.process_time()
    rows = TASKS[task](path, out)
    seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    result = {"rows": rows, "seconds": seconds, "cpu": cpu, "peak_mb": round(peak)}
    print(json.dumps(result))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=3_000_000)
    parser.add_argument("--compare", type=int, default=1_000_000, help="rows for starfile")
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--task", choices=list(TASKS), help=argparse.SUPPRESS)
    parser.add_argument("--table", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.task:
        run_task(arguments.task, arguments.table, arguments.out)
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        compare(arguments.rows, arguments.compare, Path(folder))


def compare(rows: int, fewer: int, folder: Path) -> None:
    """Print one line for every measurement and the ratios."""
    results = {}
    for count, tasks in (
        (rows, ("read", "filter_rows", "add_columns")),
        (fewer, tuple(TASKS)),
    ):
        if not count:
            continue
        path = folder / f"{count}.star"
        make_table(path, count)
        size = path.stat().st_size / 1e6
        for task in tasks:
            result = results[count, task] = measure(task, path, folder / "out.star")
            print(
                f"{task:16} {count:>9,} rows {size:7,.0f} MB: {result['seconds']:7.2f} s "
                f"({result['cpu']:.2f} s of CPU), "
                f"{result['peak_mb']:6,.0f} MB peak",
                flush=True,
            )
        path.unlink()
    if fewer:
        for ours, theirs in (("read", "starfile_read"), ("filter_rows", "starfile_filter")):
            a, b = results[fewer, ours], results[fewer, theirs]
            print(
                f"{theirs} / {ours} at {fewer:,} rows: {b['seconds'] / a['seconds']:.1f} x time, "
                f"{b['cpu'] / a['cpu']:.1f} x CPU, "
                f"{b['peak_mb'] / a['peak_mb']:.1f} x memory"
            )


if __name__ == "__main__":
    main()
