"""What the particle landscape reaches on data with a known answer; one subcommand each.

python scripts/bench/particles.py antibody --pdb 1hzh.pdb --o conformers        # igg-1d
python scripts/bench/particles.py subset --data D --height 3 --o W   # its double well
python scripts/bench/particles.py latent --project P --height 3     # repetitions
python scripts/bench/particles.py points --project P --truth truth.npy --o points.csv --every 10
python scripts/bench/particles.py angles --project P --truth truth.npy [--height 3]
python scripts/bench/particles.py chosen --project P --truth truth.npy --height 3  # no refit
python scripts/bench/particles.py curves --data D --conformers C --volumes V --every 10
python scripts/bench/particles.py wells --height 4 --error 0.3 --particles 20000 --repetitions 25
python scripts/bench/particles.py energies --project P --truth truth.npy
python scripts/bench/particles.py million --data D --particles 1000000 --o F    # without images
"""

from __future__ import annotations

import argparse
import csv
import resource
import time
from pathlib import Path

import numpy as np

from alphacryo4d.particle_landscape.frame import likelihood_of, unpacked

ROOT = Path(__file__).resolve().parents[2]
TURNS = 100
"""Conformations of the antibody, equal steps of a whole turn."""
RADIUS = 1.4
BINS = 25
"""Bins of the angle in which densities are compared."""


# --- the antibody whose arm turns -------------------------------------------------------------


def antibody(arguments: argparse.Namespace) -> None:
    """Write 1HZH with light chain L and residues up to 229 of chain H turned about the hinge."""
    lines = [
        line
        for line in arguments.pdb.read_text().splitlines()
        if line.startswith(("ATOM", "HETATM"))
    ]
    chain = np.array([line[21] for line in lines])
    residue = np.array([int(line[22:26]) for line in lines])
    name = np.array([line[12:16].strip() for line in lines])
    places = np.array([[float(line[a : a + 8]) for a in (30, 38, 46)] for line in lines])
    ends = [places[(chain == "H") & (residue == at) & (name == "CA")][0] for at in (230, 235)]
    moves = (chain == "L") | ((chain == "H") & (residue <= 229))
    shapes = []
    for turn in 2 * np.pi * np.arange(TURNS) / TURNS:
        moved = places.copy()
        moved[moves] = (places[moves] - ends[0]) @ about(ends[1] - ends[0], turn).T + ends[0]
        shapes.append(moved)
    centre = np.mean([shape.mean(axis=0) for shape in shapes], axis=0)
    arguments.o.mkdir(parents=True, exist_ok=True)
    for number, shape in enumerate(shapes):
        text = [
            line[:30] + "".join(f"{value:8.3f}" for value in place) + line[54:]
            for line, place in zip(lines, shape - centre, strict=True)
        ]
        (arguments.o / f"c{number:03d}.pdb").write_text("\n".join([*text, "END", ""]))
    print(f"{TURNS} conformers, {moves.mean():.2f} of the atoms turn")


def about(axis: np.ndarray, angle: float) -> np.ndarray:
    """Matrix of a turn about an axis."""
    x, y, z = axis / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def shares_of(height: float) -> np.ndarray:
    """Shares of the conformations: two wells half a turn apart, with a barrier (kT)."""
    turn = 2 * np.pi * (np.arange(TURNS) + 0.5) / TURNS
    share = np.exp(-0.5 * height * (1 - np.cos(2 * turn)))
    return share / share.sum()


def chosen_by(truth: np.ndarray, height: float, seed: int) -> np.ndarray:
    """Rows (n,) of particles that are as if drawn from two wells, from evenly populated ones."""
    share = shares_of(height)[truth - 1]
    return np.flatnonzero(np.random.default_rng(seed).random(len(truth)) < share / share.max())


def subset(arguments: argparse.Namespace) -> None:
    """Write the table and the truth of a part of a simulation whose angles lie in two wells."""
    truth = np.load(arguments.data / "truth.npy")
    rows = chosen_by(truth, arguments.height, arguments.first)
    text = (arguments.data / "particles.star").read_text().splitlines()
    first = next(n for n, line in enumerate(text) if "@" in line)
    arguments.o.mkdir(parents=True, exist_ok=True)
    kept = text[:first] + [text[first + row] for row in rows]
    (arguments.o / "particles.star").write_text("\n".join([*kept, ""]))
    np.save(arguments.o / "truth.npy", truth[rows])
    print(f"{len(rows)} of {len(truth)} particles")


# --- what a project says ----------------------------------------------------------------------


def posteriors(project: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Coordinates (n, q), and the likelihood behind them: slopes (n, q), information (n, q, q)."""
    folder = project / "particle_landscape"
    mean = np.load(folder / "coordinates.npy").astype(float)
    own = unpacked(np.load(folder / "covariances.npy").astype(float), mean.shape[1])
    return mean, *likelihood_of(mean, own)


def places_of(truth: np.ndarray, slopes: np.ndarray, information: np.ndarray) -> np.ndarray:
    """Most likely point (K, q) of every conformation, by the true labels."""
    states = range(1, int(truth.max()) + 1)
    return np.array(
        [np.linalg.solve(information[truth == k].sum(0), slopes[truth == k].sum(0)) for k in states]
    )


def points(arguments: argparse.Namespace) -> None:
    """Write the points of some conformations, for `volume --at`."""
    _, slopes, information = posteriors(arguments.project)
    found = places_of(np.load(arguments.truth), slopes, information)[:: arguments.every]
    np.savetxt(arguments.o, found, delimiter=",")
    print(f"{len(found)} points in {found.shape[1]} components")


def circular_correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Of angles that are spread over the whole circle (Jammalamadaka & SenGupta 2001, 8.2)."""
    along = abs(np.exp(1j * (one - other)).mean())
    against = abs(np.exp(1j * (one + other)).mean())
    return float(abs(along - against))


def closed_curve(
    mean: np.ndarray, slopes: np.ndarray, information: np.ndarray, nodes: int = 60
) -> np.ndarray:
    """Angle (n,) of every particle along a closed curve through all components; no labels.

    EM of a smooth ring of points that starts from the angle in the plane of the first two.
    """
    q = mean.shape[1]
    away = mean[:, :2] - mean[:, :2].mean(axis=0)
    turn = np.arctan2(away[:, 1], away[:, 0])
    features = np.concatenate([slopes, information.reshape(len(mean), -1)], axis=1)
    soft = np.zeros((len(mean), nodes))
    soft[np.arange(len(mean)), (turn % (2 * np.pi) / (2 * np.pi) * nodes).astype(int) % nodes] = 1
    for _ in range(12):
        sums = soft.T @ features
        sums = 0.5 * sums + 0.25 * (np.roll(sums, 1, 0) + np.roll(sums, -1, 0))
        ring = np.linalg.solve(sums[:, q:].reshape(nodes, q, q), sums[:, :q, None])[..., 0]
        squares = (ring[:, :, None] * ring[:, None]).reshape(nodes, -1)
        logs = features @ np.concatenate([ring, -0.5 * squares], axis=1).T
        soft = np.exp(logs - logs.max(axis=1, keepdims=True))
        soft /= soft.sum(axis=1, keepdims=True)
    steps = np.linalg.norm(np.roll(ring, -1, 0) - ring, axis=1)
    along = 2 * np.pi * np.concatenate([[0], np.cumsum(steps)[:-1]]) / steps.sum()
    return np.angle(soft @ np.exp(1j * along))


def angles(arguments: argparse.Namespace) -> None:
    """Recovered angles against the true ones, and the density over the angle."""
    truth = np.load(arguments.truth)
    mean, slopes, information = posteriors(arguments.project)
    true = 2 * np.pi * (truth - 0.5) / TURNS
    away = mean[:, :2] - mean[:, :2].mean(axis=0)
    plane = np.arctan2(away[:, 1], away[:, 0])
    curve = closed_curve(mean, slopes, information)
    for name, found in (("two components", plane), (f"{mean.shape[1]} components", curve)):
        print(f"circular correlation, {name}: {circular_correlation(true, found):.4f}")
    table = list(csv.DictReader((arguments.project / "particle_landscape/gaussians.csv").open()))
    print(f"{len(table)} numbers of Gaussians tried")
    densities(arguments, truth, mean, slopes, information)


def chosen(arguments: argparse.Namespace) -> None:
    """Density and barrier of particles of an even ring that are chosen to lie in two wells.

    Coordinates are those that the project has from its images; only the density is fitted anew.
    """
    from alphacryo4d.particle_landscape.density import fit_density
    from alphacryo4d.particle_landscape.lowest import lowest_route
    from alphacryo4d.particle_landscape.mixture import Likelihoods
    from alphacryo4d.particle_landscape.paths import density_path
    from alphacryo4d.particle_landscape.surface import DensitySurface

    project, truth = arguments.project, np.load(arguments.truth)
    mean, _, _ = posteriors(project)
    q = mean.shape[1]
    own = unpacked(np.load(project / "particle_landscape/covariances.npy").astype(float), q)
    slopes, information = likelihood_of(mean[:, :2], own[:, :2, :2])
    ring = places_of(truth, slopes, information)
    rows = chosen_by(truth, arguments.height, arguments.first)
    groups = np.load(project / "resample/groups.npy")[rows, 1]
    data = Likelihoods(slopes[rows], np.ascontiguousarray(information[rows]))
    density = fit_density(data, groups, most=arguments.gaussians)
    true = np.bincount((truth[rows] - 1) * BINS // TURNS, minlength=BINS) / len(rows)
    rng = np.random.default_rng(0)
    drawn = along_ring(density.mixture.drawn(400_000, rng), ring)
    raw = along_ring(mean[rows, :2], ring)
    print(f"{len(rows)} particles, {density.gaussians} Gaussians")
    for name, found in (("density", drawn), ("means of the particles", raw)):
        print(f"total variation distance, {name}: {0.5 * np.abs(found - true).sum():.4f}")
    spans = [np.ptp(-np.log(np.maximum(each, 1e-9))) for each in (drawn, true)]
    print(f"highest bin of the angle {spans[0]:.2f} kT above the lowest, truly {spans[1]:.2f}")
    surface = DensitySurface(density.mixture)
    ends = surface.minima_near(ring[[0, TURNS // 2]])  # the wells
    path = density_path(density, lowest_route(density, ends), particles=(data, groups))
    for one, forward, backward in path.barriers:
        print(f"barrier {one.forward:.2f} ({forward.low:.2f} to {forward.high:.2f}), backward "
              f"{one.backward:.2f} ({backward.low:.2f} to {backward.high:.2f})")  # fmt: skip


def along_ring(places: np.ndarray, ring: np.ndarray) -> np.ndarray:
    """Shares of the bins of the angle, by the nearest point of a ring of conformations."""
    from scipy.interpolate import CubicSpline
    from scipy.spatial import cKDTree

    knots = 2 * np.pi * (np.arange(TURNS + 1) + 0.5) / TURNS
    # neighbouring conformations share their errors: a smooth curve through means of five
    smooth = sum(np.roll(ring, k, 0) for k in range(-2, 3)) / 5
    spline = CubicSpline(knots, np.concatenate([smooth, smooth[:1]]), bc_type="periodic")
    fine = np.linspace(0, 2 * np.pi, 2000, endpoint=False)
    turn = fine[cKDTree(spline(fine)).query(places)[1]]
    count = np.histogram(turn, BINS, (0, 2 * np.pi))[0]
    return count / count.sum()


def densities(
    arguments: argparse.Namespace,
    truth: np.ndarray,
    mean: np.ndarray,
    slopes: np.ndarray,
    information: np.ndarray,
) -> None:
    """Total variation distance of the density over the angle, and of the means of particles."""
    from alphacryo4d.particle_landscape.mixture import GaussianMixture

    stored = np.load(arguments.project / "particle_landscape/density.npz")
    names = ("proportions", "means", "covariances")
    whole = GaussianMixture(*(stored[name] for name in names))
    d = whole.means.shape[1]
    ring = places_of(truth, slopes, information)[:, :d]
    true = np.histogram(2 * np.pi * (truth - 0.5) / TURNS, BINS, (0, 2 * np.pi))[0] / len(truth)
    drawn = along_ring(whole.drawn(400_000, np.random.default_rng(0)), ring)
    raw = along_ring(mean[:, :d], ring)
    scale = np.sqrt(np.trace(np.linalg.inv(information[:, :d, :d].mean(axis=0))) / d)
    radius = np.linalg.norm(ring - ring.mean(axis=0), axis=1).mean()
    print(f"{d} dimensions; radius of the ring {radius:.2f}, typical error {scale:.2f}")
    for name, found in (("density", drawn), ("means of the particles", raw)):
        print(f"total variation distance, {name}: {0.5 * np.abs(found - true).sum():.4f}")
    if arguments.height:
        energies = -np.log(np.maximum(drawn, 1e-9))
        print("energy over the angle:", " ".join(f"{e:.2f}" for e in energies - energies.min()))
        print("true:                 ", " ".join(f"{e:.2f}" for e in -np.log(true / true.max())))
        for row in csv.DictReader((arguments.project / "particle_landscape/barriers.csv").open()):
            print({name: round(float(value), 2) for name, value in row.items()})


# --- maps against the truth -------------------------------------------------------------------


def true_map(path: Path, box: int, pixel: float, sigma: float) -> np.ndarray:
    """Map of a conformer by a non-uniform FFT of its atoms."""
    import finufft

    from alphacryo4d.assessment.conformers import read_atoms

    atoms = read_atoms(path)
    place = np.ascontiguousarray(atoms.positions.T) / (box * pixel) * 2 * np.pi
    transform = finufft.nufft3d1(
        *place, atoms.weights.astype(complex), (box, box, box), isign=-1, eps=1e-6
    )
    axis = np.arange(-box // 2, box // 2) / (box * pixel)
    square = axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2
    transform *= np.exp(-2 * np.pi**2 * sigma**2 * square)
    volume = np.fft.fftshift(np.fft.ifftn(np.fft.ifftshift(transform)).real)
    return volume.transpose(2, 1, 0).astype(np.float32)


def area(volume: np.ndarray, true: np.ndarray, mask: np.ndarray) -> float:
    """Area under the curve of the FSC (CryoBench's metric)."""
    from alphacryo4d.maths.fsc import shell_correlation

    box = len(true)
    curve = np.clip(shell_correlation(volume * mask, true * mask), 0, 1)[: box // 2].copy()
    curve[:2] = 1
    return float(np.trapezoid(curve[1:], np.arange(1, box // 2) / box))


def curves(arguments: argparse.Namespace) -> None:
    """FSC-AUC of volumes at conformations, and of reconstructions from the true labels."""
    from alphacryo4d.io.mrc import read_volume
    from alphacryo4d.maths.fsc import soft_mask
    from alphacryo4d.ml3d.options import ClassifyOptions
    from alphacryo4d.ml3d.reconstruct import reconstruct
    from alphacryo4d.particles.particle_set import read_particles
    from alphacryo4d.voting.recorded_stage import Recorded, prepare_recorded

    particles = read_particles(arguments.data / "particles.star")
    truth = np.load(arguments.data / "truth.npy")
    files = sorted(arguments.conformers.glob("*.pdb"))
    chosen = list(range(0, len(files), arguments.every))
    maps = [
        true_map(files[k], particles.box, particles.pixel_size, arguments.atom_sigma)
        for k in chosen
    ]
    mask = np.max([soft_mask(each, particles.pixel_size) for each in maps], axis=0)
    rows = np.flatnonzero(np.isin(truth - 1, chosen))
    images = prepare_recorded(
        particles, rows, Recorded(classify=ClassifyOptions()), None, threads=arguments.threads
    )
    labels = np.searchsorted(chosen, truth[rows] - 1)
    made = {one.label: one.volume for one in reconstruct(images, labels, threads=arguments.threads)}
    by_label = [area(made[n], maps[n], mask) for n in range(len(chosen))]
    found = [
        area(read_volume(arguments.volumes / f"volume_{n + 1:03d}.mrc")[0], maps[n], mask)
        for n in range(len(chosen))
    ]
    for n, k in enumerate(chosen):
        print(f"conformation {k}: true labels {by_label[n]:.3f}, landscape {found[n]:.3f}")
    ratio = np.mean(found) / np.mean(by_label)
    for name, values in (("true labels", by_label), ("landscape", found)):
        print(f"FSC-AUC, {name}: {np.mean(values):.4f} +- {np.std(values):.4f}")
    print(f"ratio {ratio:.3f}")


# --- barriers of double wells -----------------------------------------------------------------


def wells(arguments: argparse.Namespace) -> None:
    """Barriers and densities of double wells (x^2 - 1)^2 behind errors of given size."""
    from alphacryo4d.particle_landscape.basins import find_states
    from alphacryo4d.particle_landscape.density import fit_density
    from alphacryo4d.particle_landscape.mixture import Likelihoods
    from alphacryo4d.particle_landscape.paths import density_path, farthest_apart
    from alphacryo4d.particle_landscape.surface import DensitySurface

    height, count = arguments.height, arguments.particles
    x = np.linspace(-2.2, 2.2, 4001)
    share = np.exp(-height * (x**2 - 1) ** 2)
    share /= share.sum()
    away, held, distance, blurred, of_mixture = [], [], [], [], []
    begun = time.process_time()
    for repetition in range(arguments.first, arguments.first + arguments.repetitions):
        rng = np.random.default_rng(repetition)
        error = arguments.error * np.exp(0.3 * rng.standard_normal(count))
        seen = rng.choice(x, count, p=share) + error * rng.standard_normal(count)
        information = (1 / error**2)[:, None, None]
        data = Likelihoods(seen[:, None] * information[:, 0], information)
        groups = rng.integers(1, 5, count)
        density = fit_density(data, groups, most=arguments.gaussians, seed=repetition)
        found = np.exp(-DensitySurface(density.mixture).values(x[:, None])) * (x[1] - x[0])
        distance.append(0.5 * np.abs(found - share).sum())
        raw = np.histogram(seen, 80, (-2.2, 2.2))[0] / count
        blurred.append(0.5 * np.abs(raw - share[:-1].reshape(80, 50).sum(axis=1)).sum())
        states = find_states(density, depth=0.5)
        if len(states) < 2:
            held.append(False)
            print(repetition, "one state", flush=True)
            continue
        ends = states.minima[list(farthest_apart(states.minima))]
        plain = density_path(density, ends)
        path = density_path(density, ends, particles=(data, groups))
        for interval in max(plain.barriers, key=lambda one: one[0].forward)[1:]:
            of_mixture.append(interval.value - height)
        for interval in max(path.barriers, key=lambda one: one[0].forward)[1:]:
            away.append(interval.value - height)
            held.append(interval.low <= height <= interval.high)
        print(
            repetition, density.gaussians, f"mixture {of_mixture[-1] + height:.2f}, path "
            f"{interval.value:.2f} ({interval.low:.2f} to {interval.high:.2f})", flush=True,
        )  # fmt: skip
    begun = (time.process_time() - begun) / arguments.repetitions
    print(
        f"{height} kT, error {arguments.error}, {count} particles: bias {np.mean(away):.3f} "
        f"({np.mean(of_mixture):.3f} by the mixture), deviation {np.std(away):.3f}, inside the "
        f"interval {np.mean(held):.3f}; total variation {np.mean(distance):.4f}, histogram "
        f"{np.mean(blurred):.4f}; {begun:.1f} CPU s each"
    )


def latent(arguments: argparse.Namespace) -> None:
    """Double wells on a ring behind the errors of the particles of a project."""
    from alphacryo4d.particle_landscape.density import fit_density
    from alphacryo4d.particle_landscape.lowest import lowest_route
    from alphacryo4d.particle_landscape.mixture import Likelihoods
    from alphacryo4d.particle_landscape.paths import density_path
    from alphacryo4d.particle_landscape.surface import DensitySurface

    folder, height = arguments.project / "particle_landscape", arguments.height
    q, d = np.load(folder / "coordinates.npy", mmap_mode="r").shape[1], 2
    own = unpacked(np.load(folder / "covariances.npy").astype(float), q)[:, :d, :d]
    every = likelihood_of(np.zeros((len(own), d)), own)[1]
    turn = 2 * np.pi * np.arange(4000) / 4000
    share = np.exp(-0.5 * height * (1 - np.cos(2 * turn)))
    share /= share.sum()
    error = np.sqrt(np.trace(np.linalg.inv(every.mean(axis=0))) / d)
    print(f"errors of {error:.2f} on a ring of radius {RADIUS}", flush=True)
    away, held, distance, raw = [], [], [], []
    begun = time.process_time()
    for repetition in range(arguments.first, arguments.first + arguments.repetitions):
        rng = np.random.default_rng(repetition)
        information = every[rng.integers(len(every), size=arguments.particles)]
        angle = rng.choice(turn, arguments.particles, p=share)
        place = RADIUS * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        noise = rng.standard_normal(place.shape)
        slopes = np.einsum("nij,nj->ni", information, place)
        slopes += np.einsum("nij,nj->ni", np.linalg.cholesky(information), noise)
        data, groups = Likelihoods(slopes, information), rng.integers(1, 5, len(angle))
        density = fit_density(data, groups, most=arguments.gaussians, seed=repetition)
        drawn = density.mixture.drawn(200_000, rng)
        mean = np.linalg.solve(information + np.eye(d), slopes[..., None])[..., 0]
        true = np.histogram(turn, BINS, (0, 2 * np.pi), weights=share)[0]
        distance.append(0.5 * np.abs(over_circle(drawn) - true).sum())
        raw.append(0.5 * np.abs(over_circle(mean) - true).sum())
        ends = DensitySurface(density.mixture).minima_near(RADIUS * np.array([[1.0, 0], [-1.0, 0]]))
        path = density_path(density, lowest_route(density, ends), particles=(data, groups))
        if not path.barriers:
            held.append(False)
            print(repetition, "no barrier", flush=True)
            continue
        for interval in max(path.barriers, key=lambda one: one[0].forward)[1:]:
            away.append(interval.value - height)
            held.append(interval.low <= height <= interval.high)
        print(
            repetition, density.gaussians, f"{interval.value:.2f} ({interval.low:.2f} to "
            f"{interval.high:.2f}), total variation {distance[-1]:.3f}", flush=True,
        )  # fmt: skip
    begun = (time.process_time() - begun) / arguments.repetitions
    print(
        f"{height} kT: bias {np.mean(away):.3f}, deviation {np.std(away):.3f}, inside the interval "
        f"{np.mean(held):.3f}; total variation {np.mean(distance):.4f}, of means "
        f"{np.mean(raw):.4f}; {begun:.1f} CPU s each"
    )


def over_circle(places: np.ndarray) -> np.ndarray:
    """Shares of the bins of the angle."""
    count = np.histogram(np.arctan2(places[:, 1], places[:, 0]) % (2 * np.pi), BINS, (0, 2 * np.pi))
    return count[0] / len(places)


# --- energies of states -----------------------------------------------------------------------


def energies(arguments: argparse.Namespace) -> None:
    """Energies of the states of a project against the true ones, in their standard errors."""
    from alphacryo4d.particles.open import open_table

    project, truth = arguments.project, np.load(arguments.truth)
    folder = arguments.landscape or project / "particle_landscape"
    rows = list(csv.DictReader((folder / "populations.csv").open()))
    value = np.array([float(row["energy_kt"]) for row in rows])
    error = np.array([float(row["energy_error_kt"]) for row in rows])
    share = np.array([float(row["share_of_votes"]) for row in rows])
    table = open_table(project / arguments.selection / "particles.star")
    states = table.read(["rlnClassNumber"])["rlnClassNumber"]
    label = np.array([np.bincount(truth[states == k]).argmax() for k in range(1, len(rows) + 1)])
    true = np.array([(truth == k).mean() / (label == k).sum() for k in label])
    z = (value + np.log(true)) / error
    print(
        f"{len(set(label))} of {int(truth.max())} states are the largest part of one of {len(rows)}"
    )
    print("differences in standard errors:", " ".join(f"{each:.1f}" for each in z))
    print(
        f"within two: {np.mean(np.abs(z) < 2):.2f}; error {np.sqrt(np.mean((z * error) ** 2)):.3f} "
        f"kT, said {np.mean(error):.3f}; votes {np.sqrt(np.mean(np.log(share / true) ** 2)):.3f}; "
        f"correlation of populations {np.corrcoef(np.exp(-value), true)[0, 1]:.3f}"
    )


# --- a million particles ----------------------------------------------------------------------


def long_table(folder: Path, data: Path, count: int) -> Path:
    """The table of a simulation with its rows repeated, with absolute paths of the images."""
    text = (data / "particles.star").read_text().splitlines()
    first = next(n for n, line in enumerate(text) if "@" in line)
    stack = (data / "particles.mrcs").resolve()
    rows = []
    for line in text[first:]:
        if "@" in line:
            name, rest = line.split(maxsplit=1)
            rows.append(f"{name.partition('@')[0]}@{stack} {rest}")
    path = folder / "particles.star"
    with path.open("w") as stream:
        stream.write("\n".join(text[:first]) + "\n")
        for n in range(count):
            stream.write(rows[n % len(rows)] + "\n")
    return path


def one_fold(inputs, batch: int, fold: int, turn, cubes, rng) -> dict[str, np.ndarray]:
    """What a fold leaves of particles on a ring that are measured with errors of 0.25."""
    q, states = len(cubes) - 1, int(inputs.states.max())
    seen, left = inputs.sides(batch, fold)
    members = inputs.members(batch)
    rows, columns = np.triu_indices(q)

    def slopes(chosen):
        angle = turn[members[chosen]]
        strength = rng.uniform(8, 24, len(chosen)).astype(np.float32)[:, None]
        place = np.zeros((len(chosen), q), np.float32)
        place[:, 0], place[:, 1] = 1.4 * np.cos(angle), 1.4 * np.sin(angle)
        noise = rng.standard_normal(place.shape, dtype=np.float32)
        return strength * place + np.sqrt(strength) * noise, strength

    projected, strength = slopes(left)
    around, weight = slopes(seen)
    return {
        "cubes": cubes,
        "projected": projected,
        "information": strength * (rows == columns).astype(np.float32),
        "seen": around / (1 + weight),
        "states": rng.standard_normal((len(left), states), dtype=np.float32),
        "pose_sigma": np.array([1.0, 0.5]),
    }


def million(arguments: argparse.Namespace) -> None:
    """Time and memory of the stage with folds that are made up, and of the weights of 20 points."""
    import sys

    sys.path[:0] = [str(ROOT / "tests" / "voting"), str(ROOT / "tests")]
    import simulated

    from alphacryo4d.particle_landscape import stage
    from alphacryo4d.particle_landscape.fold_stage import fold_file
    from alphacryo4d.particle_landscape.options import CoordinateOptions, DensityOptions

    count, folder = arguments.particles, arguments.o
    rng = np.random.default_rng(0)
    turn = rng.uniform(0, 2 * np.pi, count)
    folder.mkdir(parents=True)
    table = long_table(folder, arguments.data, count)
    simulated.write_project(folder, table, 1 + (turn * 3).astype(int), rng)
    groups = np.load(folder / "resample/groups.npy")
    batches = -(-count // 100_000)
    groups[:, 0] = 1 + np.arange(count) % batches
    np.save(folder / "resample/groups.npy", groups)
    cubes = rng.standard_normal((11, 32, 32, 32)).astype(np.float32)

    def made_up(job, inputs) -> None:
        for batch in range(1, inputs.batches + 1):
            for fold in range(1, inputs.folds + 1):
                path = fold_file(job.folder, batch, fold)
                path.parent.mkdir(exist_ok=True)
                np.savez(path, **one_fold(inputs, batch, fold, turn, cubes, rng))
                job.complete(f"fold_b{batch}_f{fold}", [path])
        print(f"folds are written, {peak():.2f} GB so far", flush=True)

    stage.run_folds = made_up
    begun = time.process_time()
    stage.run_particles(
        folder,
        folder / "particle_landscape",
        options=CoordinateOptions(),
        density=DensityOptions(gaussians=arguments.gaussians),
    )
    print(f"{count} particles: {time.process_time() - begun:.0f} CPU s, peak {peak():.2f} GB")


def peak() -> float:
    """Peak memory of this process in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    """Run one subcommand."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    options = {
        "--pdb": {"type": Path}, "--o": {"type": Path}, "--project": {"type": Path},
        "--truth": {"type": Path}, "--data": {"type": Path}, "--conformers": {"type": Path},
        "--volumes": {"type": Path}, "--landscape": {"type": Path},
        "--every": {"type": int, "default": 10},
        "--height": {"type": float, "default": 0.0}, "--error": {"type": float, "default": 0.3},
        "--particles": {"type": int, "default": 20_000}, "--first": {"type": int, "default": 0},
        "--repetitions": {"type": int, "default": 25},
        "--gaussians": {"type": int, "default": 12}, "--selection": {"default": "vote"},
        "--atom-sigma": {"type": float, "default": 1.125}, "--threads": {"type": int, "default": 1},
    }  # fmt: skip
    for function in (
        antibody,
        subset,
        points,
        angles,
        chosen,
        curves,
        wells,
        latent,
        energies,
        million,
    ):
        command = commands.add_parser(function.__name__, help=function.__doc__.splitlines()[0])
        for name, given in options.items():
            command.add_argument(name, **given)
        command.set_defaults(function=function)
    arguments = parser.parse_args()
    arguments.function(arguments)


if __name__ == "__main__":
    main()
