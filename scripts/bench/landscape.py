"""Figures that the landscape stage must show; one subcommand each.

python scripts/bench/landscape.py distances            # 1,500 volumes of 64^3, against scikit-learn
python scripts/bench/landscape.py memory --gigabytes 20 --folder /scratch    # 200^3 from a map
python scripts/bench/landscape.py string --data ../shared/data/proteasome    # against a plain loop
python scripts/bench/landscape.py analytic             # paths and barriers on known surfaces
python scripts/bench/landscape.py coverage --repetitions 200    # intervals from noisy points
python scripts/bench/landscape.py embeddings --resample DIR --truth truth.npy    # t-SNE, PCA, ...
python scripts/bench/landscape.py states --resample DIR --truth truth.npy [--features DIR]
python scripts/bench/landscape.py populations --resample DIR --truth truth.npy
python scripts/bench/landscape.py homogeneity --resample DIR --truth truth.npy
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "landscape"))


def peak_gigabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def make_volumes(count: int, box: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Volumes on a curve with noise, and feature maps."""
    rng = np.random.default_rng(seed)
    ends = rng.normal(size=(3, box, box, box)).astype(np.float32)
    volumes = np.empty((count, box, box, box), np.float32)
    for row, t in enumerate(np.linspace(0, 3, count)):
        volumes[row] = ends[0] * np.cos(t) + ends[1] * np.sin(t)
        volumes[row] += rng.standard_normal((box, box, box), np.float32)
    features = volumes[:, ::4, ::4, ::4, None].copy()
    return volumes, features


def save_volumes(folder: str, count: int, box: int) -> None:
    volumes, features = make_volumes(count, box)
    np.save(Path(folder, "v.npy"), volumes)
    np.save(Path(folder, "f.npy"), features)


def alone(function, *arguments: object) -> None:
    """Run in a process of its own, so that its peak is not another's."""
    process = multiprocessing.get_context("spawn").Process(target=function, args=arguments)
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(f"{function.__name__} failed")


def ours(folder: str) -> None:
    from alphacryo4d.landscape.distances import squared_distances
    from alphacryo4d.landscape.embedding import embed
    from alphacryo4d.landscape.options import EmbedOptions

    mapped = np.load(Path(folder, "v.npy"), mmap_mode="r")
    features = np.load(Path(folder, "f.npy"), mmap_mode="r")
    begun, spent = time.perf_counter(), time.process_time()
    squares = squared_distances([mapped, features])
    between = time.perf_counter() - begun
    embed(squares, EmbedOptions())
    tell(f"ours (distances {between:.1f} s)", begun, spent)


def naive(folder: str) -> None:
    from sklearn.manifold import TSNE

    begun, spent = time.perf_counter(), time.process_time()
    rows = [np.load(Path(folder, name)) for name in ("v.npy", "f.npy")]
    rows = [row.reshape(len(row), -1) for row in rows]
    rows = [(r - r.mean(1, keepdims=True)) / r.std(1, keepdims=True) for r in rows]
    TSNE(random_state=0).fit_transform(np.hstack(rows))
    tell("scikit-learn on the raw vectors", begun, spent)


def tell(name: str, begun: float, spent: float) -> None:
    seconds, cpu = time.perf_counter() - begun, time.process_time() - spent
    print(
        f"{name}: {seconds:.1f} s ({cpu:.1f} s of CPU), peak {peak_gigabytes():.2f} GB", flush=True
    )


def distances(arguments: argparse.Namespace) -> None:
    """Time and memory of distances and t-SNE, ours and by scikit-learn."""
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        alone(save_volumes, folder, arguments.volumes, arguments.box)
        alone(ours, folder)
        if not arguments.no_naive:
            alone(naive, folder)


def write_large(path: str, count: int, box: int) -> None:
    """Volumes of noise around two maps, written one after another; no page is a hole."""
    rng = np.random.default_rng(0)
    maps = rng.standard_normal((3, box, box, box), np.float32)
    with Path(path).open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (count, box, box, box)}
        np.lib.format.write_array_header_1_0(file, header)
        for t in np.linspace(0, 3, count):
            shift = tuple(int(s) for s in rng.integers(0, box, 3))
            volume = np.float32(np.cos(t)) * maps[0] + np.float32(np.sin(t)) * maps[1]
            volume += np.roll(maps[2], shift, (0, 1, 2))
            file.write(volume.tobytes())


def read_large(path: str) -> None:
    from alphacryo4d.landscape.distances import squared_distances
    from alphacryo4d.landscape.embedding import classical_scaling, embed
    from alphacryo4d.landscape.options import EmbedOptions

    volumes = np.load(path, mmap_mode="r")
    begun, spent = time.perf_counter(), time.process_time()
    squares = squared_distances([volumes])
    count, box = volumes.shape[:2]
    tell(f"distances of {count} volumes of {box}^3, {volumes.nbytes / 1e9:.1f} GB", begun, spent)
    embed(squares, EmbedOptions())
    tell("and t-SNE", begun, spent)
    turned = classical_scaling(squares, 2)
    angle = np.unwrap(np.arctan2(*turned.T))
    order = abs(np.corrcoef(angle, range(count))[0, 1])
    print(f"order along the curve: correlation {order:.4f}")


def memory(arguments: argparse.Namespace) -> None:
    """Peak memory over a memory map of many gigabytes (deleted at the end)."""
    count = int(arguments.gigabytes * 1e9 / (4 * 200**3)) + 1
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        path = str(Path(folder, "v.npy"))
        alone(write_large, path, count, 200)
        alone(read_large, path)


def string(arguments: argparse.Namespace) -> None:
    """The authors' centers on their data, and the time of an iteration."""
    from scipy.interpolate import CloughTocher2DInterpolator

    from alphacryo4d.landscape.energy import free_energy
    from alphacryo4d.landscape.options import PathOptions
    from alphacryo4d.landscape.string_method import (
        minimum_energy_path,
        spaced_centers,
        straight_line,
    )
    from alphacryo4d.landscape.surface import triangulated_surface

    embedding = np.load(arguments.data / "output_big.npy").astype(float)
    energies = free_energy(np.loadtxt(arguments.data / "num_big.txt"))
    surface = triangulated_surface(embedding, energies, kind="cubic")
    ends = np.array([[-50.0, 100.0], [-80.0, -30.0]])
    minimum_energy_path(surface, ends, PathOptions(stepsize=0.1, stepmax=2))
    begun = time.perf_counter()
    path = minimum_energy_path(surface, ends, PathOptions(stepsize=0.1))
    ours = time.perf_counter() - begun
    print(f"{path.iterations} iterations, {1e6 * ours / path.iterations:.1f} us each, {ours:.2f} s")
    off = np.abs(spaced_centers(path.images, 7) - np.load(arguments.data / "centers_k.npy")).max()
    print(f"largest distance from the authors' centers: {off:.1e}")
    plain, steps = CloughTocher2DInterpolator(embedding, energies), 1000
    images, grid = straight_line(ends, 500), np.linspace(0, 1, 500)
    begun = time.perf_counter()
    for _ in range(steps):
        slopes = [(plain(images + d) - plain(images - d)) / 2e-5 for d in 1e-5 * np.eye(2)]
        moved = images - 0.1 * np.stack(slopes, 1)
        length = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(moved, axis=0).T))])
        moved = np.stack([np.interp(grid, length / length[-1], column) for column in moved.T], 1)
        np.linalg.norm(moved - images, axis=0).sum()
        images = moved
    each = (time.perf_counter() - begun) / steps
    ours /= path.iterations
    print(
        f"plain loop: {1e6 * each:.0f} us an iteration, {each / ours:.0f} times ours; "
        f"the recorded 250 us: {250e-6 / ours:.0f} times"
    )


def coverage(arguments: argparse.Namespace) -> None:
    """Share of intervals that hold the true barrier, from points sampled with noise."""
    from surfaces import DoubleWell, MuellerBrown, ThreeBasins

    from alphacryo4d.landscape.barriers import bootstrap, corrected_interval, lowest_path
    from alphacryo4d.landscape.options import EnergyOptions
    from alphacryo4d.landscape.plane import surface_of

    kind = arguments.interpolate
    cases = {
        "double well": (DoubleWell(), [[-1.4, -0.6], [1.4, 1.6]], 0, 1, 3.0),
        "Mueller-Brown": (MuellerBrown(), [[-1.3, -0.3], [1.0, 1.9]], 0, 2, 10.60347),
        "three basins": (ThreeBasins(), [[-1.4, -1.4], [1.4, 1.4]], 0, 1, 2.0),
    }
    for name, (surface, limits, first, last, barrier) in cases.items():
        low, high = np.array(limits)
        rng = np.random.default_rng(0)
        ends = surface.minima[first], surface.minima[last]
        covered, heights = 0, []
        for _ in range(arguments.repetitions):
            points = rng.uniform(low, high, (arguments.points, 2))
            energies = surface.values(points)
            kept = energies < surface.values(ends[0][None])[0] + barrier + 4
            points, energies = points[kept], energies[kept]
            energies = energies + arguments.noise * rng.normal(size=len(energies))
            box = np.array([points.min(0), points.max(0)])

            def height(rows, values, points=points, box=box, ends=ends):
                made = surface_of(points[rows], values, EnergyOptions(interpolate=kind))
                return lowest_path(made, *ends, box, size=40).forward

            value = height(np.arange(len(points)), energies)
            errors = np.full(len(points), arguments.noise)
            draws = bootstrap(height, energies, errors, replicates=arguments.draws, rng=rng)
            interval = corrected_interval(float(value), draws)
            covered += interval.low <= barrier <= interval.high
            heights.append(value)
        share = covered / arguments.repetitions
        print(
            f"{name}: true {barrier:.2f} kT, found {np.mean(heights):.2f} +- "
            f"{np.std(heights):.2f}, interval holds it in {100 * share:.0f}%",
            flush=True,
        )


def analytic(_: argparse.Namespace) -> None:
    """Distance of the path from each saddle, and error of each barrier."""
    from surfaces import DoubleWell, MuellerBrown, ThreeBasins

    from alphacryo4d.landscape.barriers import barriers_along, lowest_path
    from alphacryo4d.landscape.options import PathOptions
    from alphacryo4d.landscape.string_method import minimum_energy_path

    well, brown, ring = DoubleWell(), MuellerBrown(), ThreeBasins()
    cases = (
        ("double well", well, well.minima, well.saddle[None], [3.0], [[-2, -1], [2, 3]]),
        ("Mueller-Brown", brown, brown.minima[[0, 2]], brown.saddles,
         brown.saddle_heights - brown.heights[:2], [[-1.5, -0.3], [1.1, 2.0]]),
        ("three basins", ring, ring.minima[:2], ring.saddles[:1], [2.0], [[-1.5] * 2, [1.5] * 2]),
    )  # fmt: skip
    for name, surface, ends, saddles, heights, limits in cases:
        options = PathOptions(images=400, tolerance=1e-8, stepmax=20_000)
        path = minimum_energy_path(surface, ends, options)
        barriers = barriers_along(path.images, path.energies)
        a, b = path.images[:-1], path.images[1:]
        apart = []
        for saddle in saddles:
            t = np.clip(((saddle - a) * (b - a)).sum(1) / ((b - a) ** 2).sum(1), 0, 1)
            apart.append(np.linalg.norm(a + t[:, None] * (b - a) - saddle, axis=1).min())
        off = np.abs(np.array([barrier.forward for barrier in barriers]) - heights)
        top = max(surface.values(saddles))
        lowest = lowest_path(surface, ends[0], ends[1], np.array(limits, float))
        print(
            f"{name}: path within {max(apart):.1e} of the saddles, barriers within {off.max():.1e} "
            f"kT ({path.iterations} steps, converged: {path.converged}); highest point of the "
            f"lowest path within {abs(lowest.top - top):.1e} kT"
        )


def load_run(arguments: argparse.Namespace):
    """Table, distances, assignments and truth of a resampling of simulated particles."""
    from alphacryo4d.landscape.distances import squared_distances
    from alphacryo4d.landscape.inputs_stage import read_inputs

    inputs = read_inputs(arguments.resample, arguments.features)
    parts = [inputs.volumes] if inputs.features is None else [inputs.volumes, inputs.features]
    return inputs.table, squared_distances(parts), inputs.assignments, np.load(arguments.truth)


def voted(labels: np.ndarray, assignments: np.ndarray) -> np.ndarray:
    """State (P,) from 1 by more than half of the votes; 0: voted out. ``labels`` from 0."""
    votes = np.zeros((len(assignments), int(labels.max()) + 1), int)
    for column in assignments.T:
        rows = np.flatnonzero(column >= 0)
        votes[rows, labels[column[rows]]] += 1
    return np.where(2 * votes.max(1) > assignments.shape[1] - 1, votes.argmax(1) + 1, 0)


def report(name: str, labels: np.ndarray, assignments: np.ndarray, truth: np.ndarray) -> float:
    """Precision, recall, states found and share kept by the rules of the benchmark."""
    from alphacryo4d.assessment.score import score_classes

    score = score_classes(voted(labels, assignments), truth)
    print(
        f"{name:26s} precision {score.mean_precision:.3f}  recall {score.mean_recall:.3f}  "
        f"states {score.states_found} of {len(score.states)}  kept {score.kept:.3f}",
        flush=True,
    )
    return score.mean_precision


def grouped(table, distances, plane, assignments, states: int | None, seed: int = 0):
    from alphacryo4d.landscape.grouping.clustering import group_volumes

    return group_volumes(
        distances, plane, table.counts, table.fold_numbers,
        states=states, assignments=assignments, seed=seed,
    )  # fmt: skip


def embeddings(arguments: argparse.Namespace) -> None:
    """States by k-means on the plane of each embedding, all with the true number (the control)."""
    from sklearn.cluster import KMeans

    from alphacryo4d.landscape.embedding import embed
    from alphacryo4d.landscape.options import METHODS, EmbedOptions

    table, between, assignments, truth = load_run(arguments)
    number = int(truth.max())
    forms = [(f"{method}", EmbedOptions(embedding_method=method)) for method in METHODS]
    forms.insert(1, ("tsne exact", EmbedOptions(tsne="exact")))
    forms.insert(2, ("openTSNE", EmbedOptions(tsne="opentsne")))
    plane = None
    for name, options in forms:
        embedding = embed(between, options)
        plane = embedding if plane is None else plane
        labels = KMeans(number, n_init=20, random_state=0).fit_predict(embedding)
        report(f"k-means on {name}", labels, assignments, truth)
    labels = grouped(table, between, plane, assignments, number).labels
    report("default (full space)", labels, assignments, truth)


def states(arguments: argparse.Namespace) -> None:
    """Perfect labels of the volumes, the true number of states given, and the number found."""
    from alphacryo4d.assessment.score import volume_labels
    from alphacryo4d.landscape.embedding import embed
    from alphacryo4d.landscape.options import EmbedOptions

    table, between, assignments, truth = load_run(arguments)
    plane = embed(between, EmbedOptions())
    perfect, purity = volume_labels(assignments, truth)
    print(f"{len(perfect)} volumes, purity {purity:.3f}")
    best = report("true majority labels", perfect - 1, assignments, truth)
    number = len(np.unique(truth))
    for seed in range(arguments.seeds):
        given = grouped(table, between, plane, assignments, number, seed)
        first = report(f"seed {seed}: {number} given", given.labels, assignments, truth)
        auto = grouped(table, between, plane, assignments, None, seed)
        number_found = auto.labels.max() + 1
        second = report(f"seed {seed}: auto ({number_found})", auto.labels, assignments, truth)
        print(f"loss to the given number {best - first:+.3f}, to auto {best - second:+.3f}")
        print("criterion:", " ".join(f"{k}: {value:.0f}" for k, value in auto.tried))


def populations(arguments: argparse.Namespace) -> None:
    """Correlation of recovered with true populations; a state not found has none."""
    from alphacryo4d.assessment.score import confusion, score_classes
    from alphacryo4d.landscape.embedding import embed
    from alphacryo4d.landscape.options import EmbedOptions

    table, between, assignments, truth = load_run(arguments)
    plane = embed(between, EmbedOptions())
    number = len(np.unique(truth))
    for states in (number, None):
        grouping = grouped(table, between, plane, assignments, states)
        name = f"{states} given" if states else f"auto ({grouping.labels.max() + 1})"
        report(name, grouping.labels, assignments, truth)
        labels = voted(grouping.labels, assignments)
        score = score_classes(labels, truth)
        classes, _, counts = confusion(labels, truth)
        sizes = dict(zip(classes.tolist(), counts.sum(1).tolist(), strict=True))
        one = np.array([sizes.get(c, 0) if f else 0 for c, f in
                        zip(score.classes.tolist(), score.found, strict=True)])  # fmt: skip
        every = np.bincount(counts.argmax(1), weights=counts.sum(1), minlength=number)
        true = score.particles / score.particles.sum()
        for what, sizes_found in (("its class", one), ("all classes of a state", every)):
            share = sizes_found / max(sizes_found.sum(), 1)
            print(f"correlation with the true populations, {what}: "
                  f"{np.corrcoef(share, true)[0, 1]:.3f}")  # fmt: skip
        print("true %", *(f"{100 * s:.1f}" for s in true))
        print("found %", *(f"{100 * s:.1f}" for s in one / max(one.sum(), 1)))


def homogeneity(arguments: argparse.Namespace) -> None:
    """The stop rule of zooming in: volumes of one true state, and of two neighbours."""
    from alphacryo4d.assessment.score import volume_labels
    from alphacryo4d.landscape.embedding import embed
    from alphacryo4d.landscape.grouping.homogeneity import (
        assess_homogeneity,
        neighbours_information,
    )
    from alphacryo4d.landscape.options import EmbedOptions

    table, between, assignments, truth = load_run(arguments)
    heldout = np.load(arguments.resample / "heldout.npy")
    plane = embed(between, EmbedOptions())
    labels, _ = volume_labels(assignments, truth)
    states = grouped(table, between, plane, assignments, None).labels + 1
    rng = np.random.default_rng(0)
    yardstick = neighbours_information(assignments, heldout, states, plane, rng=rng)
    print(f"yardstick, from the {states.max()} states found: {yardstick:.3f}")
    number = int(truth.max())
    for apart in (0, 1, 2, 5):
        chosen = [np.isin(labels, (s, s + apart)) for s in range(1, number - apart + 1)]
        assessed = [
            assess_homogeneity(
                assignments, heldout, c.astype(int), 1, rng=rng, shuffles=5, yardstick=yardstick
            )
            for c in chosen
        ]
        name = f"states {apart} apart, taken as one" if apart else "volumes of one state"
        shares = [f.information for f in assessed]
        print(
            f"{name}: {sum(f.homogeneous for f in assessed)} of {len(assessed)} "
            "called homogeneous; "
            f"information {np.median(shares):.3f} ({min(shares):.3f} to {max(shares):.3f})"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("distances")
    one.add_argument("--volumes", type=int, default=1500)
    one.add_argument("--box", type=int, default=64)
    one.add_argument("--no-naive", action="store_true")
    two = commands.add_parser("memory")
    two.add_argument("--gigabytes", type=float, default=20.0)
    for command in (one, two):
        command.add_argument("--folder", type=Path)
    three = commands.add_parser("string")
    three.add_argument("--data", type=Path, default=ROOT.parent / "shared/data/proteasome")
    commands.add_parser("analytic")
    four = commands.add_parser("coverage")
    four.add_argument("--repetitions", type=int, default=200)
    four.add_argument("--points", type=int, default=300)
    four.add_argument("--noise", type=float, default=0.1)
    four.add_argument("--draws", type=int, default=40)
    four.add_argument("--interpolate", default="cubic", choices=("cubic", "linear", "kernel"))
    for name in ("embeddings", "states", "populations", "homogeneity"):
        command = commands.add_parser(name)
        command.add_argument("--resample", type=Path, required=True)
        command.add_argument("--truth", type=Path, required=True)
        command.add_argument("--features", type=Path)
        command.add_argument("--seeds", type=int, default=1, help="seeds of the state finding")
    arguments = parser.parse_args()
    globals()[arguments.command](arguments)


if __name__ == "__main__":
    main()
