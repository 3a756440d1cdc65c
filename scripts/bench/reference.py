"""The reference classifier on simulated data: accuracy to several resolutions.

    python scripts/bench/reference.py --conformers nlrp3/ data/mini_001_s1 [--true-poses]

A simulator is right when the figures are within 0.01 of the table in the README of the benchmark:
NLRP3, 20,000 particles, SNR 0.05 / 0.01 / 0.005: 0.896 / 0.758 / 0.641 to 15 A and
0.940 / 0.888 / 0.811 to 8 A; true poses at 0.01: 0.831 (15 A), 0.938 (10.5 A), 0.975 (8 A);
2 degrees and 1 A: 0.612, 0.653, 0.669.
"""

import argparse
import dataclasses
import time
from pathlib import Path

import numpy as np

from alphacryo4d.assessment.conformers_stage import load_conformers
from alphacryo4d.assessment.limit import ImagingTable, classify_by_reference, reference_scores
from alphacryo4d.particles.particle_set import read_particles


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", type=Path, nargs="+", help="folders of alphacryo4d simulate")
    parser.add_argument("--conformers", required=True, help="folder or built-in molecule")
    parser.add_argument("--resolutions", type=float, nargs="+", default=[15.0, 10.5, 8.0])
    parser.add_argument("--true-poses", action="store_true", help="use true_poses.npy")
    parser.add_argument("--j", type=int, default=2)
    arguments = parser.parse_args()
    for folder in arguments.folders:
        particles = read_particles(folder / "particles.star")
        table = ImagingTable(
            particles.angles,
            particles.shifts,
            particles.defocus,
            particles.box,
            particles.pixel_size,
            float(particles.optics.voltage[0]),
            float(particles.optics.spherical_aberration[0]),
            float(particles.optics.amplitude_contrast[0]),
        )
        if arguments.true_poses:
            poses = np.load(folder / "true_poses.npy")
            table = dataclasses.replace(table, angles=poses[:, :3], shifts=poses[:, 3:])
        molecules = load_conformers(
            [arguments.conformers], box=table.box, pixel_size=table.pixel_size
        )
        truth = np.load(folder / "truth.npy")
        for resolution in arguments.resolutions:
            begun = time.perf_counter()
            *products, samples = reference_scores(
                molecules, particles.images, table, resolution=resolution, threads=arguments.j
            )
            result = classify_by_reference(*products, samples=samples)
            print(
                f"{folder.name} {resolution:4.1f} A: accuracy {(result.labels == truth).mean():.4f}"
                f", mean certainty {result.certainty.mean():.3f}, {samples} samples, "
                f"{time.perf_counter() - begun:.1f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
