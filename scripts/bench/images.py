r"""Classes of stacks that nobody normalised, and of two sets with other pixels and boxes.

    python scripts/bench/images.py --o images [--states 4] [--seeds 3] [--snr 4] [--j 2]

480 particles of conformers of the hinge are simulated and classified with default options, as they
are, on a background of 20 deviations, with contrasts that vary by a factor of e, with five images
of ten times the contrast, with one of a thousand times, and as unsigned 16-bit counts: the share in
the right class is to be within 0.02 of the first. Then the same particles of a molecule of half the
size on one grid (1.24 A, 64 pixels), and every second one at 1.25 A in 72 pixels: the precision is
to be within 0.01. Classifications of few particles end in one of many optima: what is compared is
the mean of some seeds, and its standard error is printed beside it.
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from ml3d import scores
from scipy.optimize import linear_sum_assignment

from alphacryo4d.assessment.conformers import Atoms
from alphacryo4d.assessment.hinge import hinge_conformers
from alphacryo4d.assessment.options import SimulateOptions
from alphacryo4d.assessment.stage import write_simulation
from alphacryo4d.ml3d.classify import classify
from alphacryo4d.ml3d.options import ClassifyOptions
from alphacryo4d.particles.particle_set import read_particles
from alphacryo4d.particles.samples import match_intensities, prepare_rows

COUNT = 480
HEADER = 1024


def spoilt(images: np.ndarray) -> dict[str, np.ndarray]:
    """The images as other programs and cameras would have left them."""
    rng = np.random.default_rng(5)
    deviation = images.std()
    bright, huge = images.copy(), images.copy()
    bright[rng.choice(COUNT, 5, replace=False)] *= 10
    huge[100] *= 1000
    return {
        "as simulated": images,
        "background of 20 deviations": images + 20 * deviation,
        "contrast by a factor of e": images * np.exp(rng.uniform(-0.5, 0.5, (COUNT, 1, 1))),
        "five images of ten times the contrast": bright,
        "one image of 1000 times the contrast": huge,
        "unsigned 16 bits": np.rint(30000 + 400 * images / deviation).astype(np.uint16),
    }


def write_like(stack: Path, images: np.ndarray) -> None:
    """Write a stack anew, as 32-bit numbers or as unsigned 16-bit ones."""
    header = bytearray(stack.read_bytes()[:HEADER])
    unsigned = images.dtype == np.uint16
    header[12:16] = int(6 if unsigned else 2).to_bytes(4, "little")
    stack.write_bytes(bytes(header) + images.astype("<u2" if unsigned else "<f4").tobytes())


def labels_of(
    table: Path, options: ClassifyOptions, choices: argparse.Namespace
) -> Iterator[np.ndarray]:
    """Class of every particle, seed by seed; -1 of outliers."""
    particles, rows = read_particles(table), np.arange(COUNT)
    how, threads = options.normalise, choices.j
    images = prepare_rows(particles, rows, None, normalise=how, threads=threads)
    match_intensities(images, options.final_resolution, how, threads=threads)
    for seed in range(choices.seeds):
        rng = np.random.default_rng(seed)
        yield classify(images, rows, options, rng, threads=threads).labels


def right_share(labels: np.ndarray, truth: np.ndarray) -> float:
    """Share of all particles in the class that is matched with their state."""
    good = labels >= 0
    table = np.zeros((labels.max() + 1, truth.max()))
    np.add.at(table, (labels[good], truth[good] - 1), 1)
    return float(table[linear_sum_assignment(-table)].sum() / COUNT)


def mean_of(values: list[float]) -> str:
    """Mean and its standard error."""
    error = np.std(values, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
    return f"{np.mean(values):.4f} | {error:.4f}"


def of_half_size(states: int) -> list[Atoms]:
    """Conformers that fit a box of 79 A."""
    return [replace(one, positions=one.positions * 0.5) for one in hinge_conformers(states)]


def merged_sets(folder: Path, states: int, snr: float) -> list[tuple[str, Path]]:
    """Tables of the same particles on one grid and on two, every second one on the other."""
    lines = []
    for box, pixel_size in ((64, 1.24), (72, 1.25)):
        options = SimulateOptions(
            particles_per_state=COUNT // states, box=box, pixel_size=pixel_size, snr=snr,
            snr_box=box, shift=2.0, shift_error=0.25, defocus_min=0.3, defocus_max=0.8,
        )  # fmt: skip
        write_simulation(of_half_size(states), folder / f"box{box}", options=options, seed=1)
        lines.append((folder / f"box{box}/particles.star").read_text().splitlines())
    one, other = lines
    merged = []
    for line, second in zip(one, other, strict=True):
        words = second.split()
        if line.startswith("opticsGroup1 "):
            merged += [line, second.replace("opticsGroup1 1", "opticsGroup2 2", 1)]
        elif "@" in line and int(line.split("@")[0]) % 2:
            if line.split()[6:9] != words[6:9]:
                raise SystemExit("the two sets do not hold the same particles")
            merged.append(" ".join([*words[:2], "2", *words[3:]]))
        else:
            merged.append(line)
    table = folder / "box64/merged.star"
    table.write_text("\n".join(merged) + "\n")
    return [("one grid", folder / "box64/particles.star"), ("two grids", table)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--o", type=Path, required=True, help="folder for the data")
    parser.add_argument("--states", type=int, default=4)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--snr", type=float, default=4.0)
    parser.add_argument("--j", type=int, default=2)
    choices = parser.parse_args()
    each = COUNT // choices.states
    simulated = SimulateOptions(
        particles_per_state=each, box=36, pixel_size=4.667, snr=choices.snr, snr_box=36
    )
    folder = choices.o / "levels"
    write_simulation(hinge_conformers(choices.states), folder, options=simulated, seed=1)
    table, truth = folder / "particles.star", np.load(folder / "truth.npy")
    images = read_particles(table).images(np.arange(COUNT))
    options = ClassifyOptions(classes=str(choices.states))
    print("| images | share in the right class | standard error | outliers |\n|---|---|---|---|")
    for name, other in spoilt(images).items():
        write_like(folder / "particles.mrcs", other)
        every_labels = list(labels_of(table, options, choices))
        shares = [right_share(labels, truth) for labels in every_labels]
        print(f"| {name} | {mean_of(shares)} | {(every_labels[0] < 0).sum()} |", flush=True)
    options = replace(options, initial_resolution=7.0, final_resolution=5.0)
    print("\n| sets | precision | standard error |\n|---|---|---|")
    for name, table in merged_sets(choices.o, choices.states, choices.snr):
        truth = np.load(table.parent / "truth.npy")
        every_labels = labels_of(table, options, choices)
        values = [scores(labels, truth)["precision"] for labels in every_labels]
        print(f"| {name} | {mean_of(values)} |", flush=True)


if __name__ == "__main__":
    main()
