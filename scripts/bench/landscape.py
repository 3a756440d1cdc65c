"""Time and memory of the landscape stage, and how sure its barriers are.

python scripts/bench/landscape.py distances            # 1,500 volumes of 64^3 with features
python scripts/bench/landscape.py distances --naive    # the same by scikit-learn on raw vectors
python scripts/bench/landscape.py memory --gigabytes 20 --folder /scratch
python scripts/bench/landscape.py string --data ../shared/data/proteasome
python scripts/bench/landscape.py coverage --repetitions 200
python scripts/bench/landscape.py embeddings --resample project/resample --truth truth.npy
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


def distances(arguments: argparse.Namespace) -> None:
    from alphacryo4d.landscape.distances import squared_distances
    from alphacryo4d.landscape.embedding import embed
    from alphacryo4d.landscape.options import EmbedOptions

    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        # Made by a process of its own, so that it does not count in the peak of this one.
        maker = multiprocessing.Process(
            target=save_volumes, args=(folder, arguments.volumes, arguments.box)
        )
        maker.start()
        maker.join()
        mapped = np.load(Path(folder, "v.npy"), mmap_mode="r")
        features = np.load(Path(folder, "f.npy"))
        begun = time.perf_counter()
        if arguments.naive:
            from sklearn.manifold import TSNE

            rows = [part.reshape(len(part), -1) for part in (mapped, features)]
            rows = [(r - r.mean(1, keepdims=True)) / r.std(1, keepdims=True) for r in rows]
            TSNE(random_state=0).fit_transform(np.hstack(rows))
        else:
            found = squared_distances([mapped, features])
            print(f"distances: {time.perf_counter() - begun:.1f} s")
            embed(found, EmbedOptions())
        seconds = time.perf_counter() - begun
        print(f"in all: {seconds:.1f} s ({time.process_time():.1f} s of CPU)")
        print(f"peak {peak_gigabytes():.2f} GB")


def memory(arguments: argparse.Namespace) -> None:
    """Distances over a sparse memory map: holes but for a part of every volume."""
    from alphacryo4d.landscape.distances import squared_distances

    box = 200
    count = int(arguments.gigabytes * 1e9 / (4 * box**3)) + 1
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        path = Path(folder, "v.npy")
        volumes = np.lib.format.open_memmap(path, "w+", np.float32, (count, box, box, box))
        for volume in volumes:
            volume[90:92] = rng.standard_normal((2, box, box), np.float32)
        volumes.flush()
        del volumes
        before = peak_gigabytes()
        begun = time.perf_counter()
        squared_distances([np.load(path, mmap_mode="r")], memory=0.5)
        seconds = time.perf_counter() - begun
        size = path.stat().st_size / 1e9
        print(f"{count} volumes of {box}^3, {size:.1f} GB: {seconds:.0f} s")
        print(f"peak {peak_gigabytes():.2f} GB (before: {before:.2f} GB)")


def string(arguments: argparse.Namespace) -> None:
    from scipy.interpolate import CloughTocher2DInterpolator

    from alphacryo4d.landscape.energy import free_energy
    from alphacryo4d.landscape.options import PathOptions
    from alphacryo4d.landscape.string_method import minimum_energy_path, spaced_centers
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
    plain = CloughTocher2DInterpolator(embedding, energies)
    images = path.images.copy()
    begun = time.perf_counter()
    for _ in range(200):
        for shift in 1e-5 * np.eye(2):
            plain(images + shift) - plain(images - shift)
    each = (time.perf_counter() - begun) / 200
    print(f"gradients of the plain loop alone: {1e6 * each:.0f} us an iteration")


def coverage(arguments: argparse.Namespace) -> None:
    """Share of intervals that hold the true barrier, from points sampled with noise."""
    from surfaces import DoubleWell, MuellerBrown, ThreeBasins

    from alphacryo4d.landscape.barriers import bootstrap, corrected_interval, lowest_path
    from alphacryo4d.landscape.surface import triangulated_surface

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
                made = triangulated_surface(points[rows], values, kind="cubic")
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


def embeddings(arguments: argparse.Namespace) -> None:
    """States by k-means on the plane of each embedding, against those of the default."""
    from sklearn.cluster import KMeans

    from alphacryo4d.landscape.clustering import group_volumes
    from alphacryo4d.landscape.distances import squared_distances
    from alphacryo4d.landscape.embedding import embed
    from alphacryo4d.landscape.inputs_stage import read_inputs
    from alphacryo4d.landscape.options import METHODS, EmbedOptions

    inputs = read_inputs(arguments.resample, None)
    truth = np.load(arguments.truth)
    table, assignments = inputs.table, inputs.assignments
    assert assignments is not None
    distances = squared_distances([inputs.volumes])
    number = int(truth.max())
    shares = np.zeros((len(table.names), number + 1))
    for column in assignments.T:
        np.add.at(shares, (column[column >= 0], truth[column >= 0]), 1)
    report("perfect labels", shares.argmax(1) - 1, assignments, truth)
    plane = None
    for method in METHODS:
        if method == "umap":
            continue
        found = embed(distances, EmbedOptions(embedding_method=method))
        plane = found if plane is None else plane
        labels = KMeans(number, n_init=20, random_state=0).fit_predict(found)
        report(f"k-means on {method}", labels, assignments, truth)
    for states in (number, None):
        grouping = group_volumes(
            distances,
            plane,
            table.counts,
            table.fold_numbers,
            states=states,
            assignments=assignments,
        )
        found_number = grouping.labels.max() + 1
        report(f"default, {states or 'auto'} ({found_number})", grouping.labels, assignments, truth)


def report(name: str, labels: np.ndarray, assignments: np.ndarray, truth: np.ndarray) -> None:
    """Precision, recall, states found and share kept by the rules of the benchmark."""
    states, true = int(labels.max()) + 1, int(truth.max())
    votes = np.zeros((len(truth), states), int)
    for column in assignments.T:
        rows = np.flatnonzero(column >= 0)
        votes[rows, labels[column[rows]]] += 1
    kept = 2 * votes.max(1) > assignments.shape[1] - 1
    table = np.zeros((states, true), int)
    np.add.at(table, (votes.argmax(1)[kept], truth[kept] - 1), 1)
    sizes = np.bincount(truth - 1, minlength=true)
    precision, recall = np.zeros(true), np.zeros(true)
    for state in range(true):
        rows = np.flatnonzero((table.argmax(1) == state) & (table.sum(1) > 0))
        if not len(rows):
            continue
        best = rows[table[rows, state].argmax()]
        if table[best, state] >= 0.1 * sizes[state]:
            precision[state] = table[best, state] / table[best].sum()
            recall[state] = table[best, state] / sizes[state]
    found = int((precision > 0).sum())
    print(
        f"{name:24s} precision {precision.mean():.3f}  recall {recall.mean():.3f}  "
        f"states {found}  kept {kept.mean():.3f}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("distances")
    one.add_argument("--volumes", type=int, default=1500)
    one.add_argument("--box", type=int, default=64)
    one.add_argument("--naive", action="store_true")
    one.add_argument("--folder", type=Path)
    two = commands.add_parser("memory")
    two.add_argument("--gigabytes", type=float, default=20.0)
    two.add_argument("--folder", type=Path)
    three = commands.add_parser("string")
    three.add_argument("--data", type=Path, default=ROOT.parent / "shared/data/proteasome")
    four = commands.add_parser("coverage")
    four.add_argument("--repetitions", type=int, default=200)
    four.add_argument("--points", type=int, default=300)
    four.add_argument("--noise", type=float, default=0.1)
    four.add_argument("--draws", type=int, default=40)
    five = commands.add_parser("embeddings")
    five.add_argument("--resample", type=Path, required=True)
    five.add_argument("--truth", type=Path, required=True)
    arguments = parser.parse_args()
    globals()[arguments.command](arguments)


if __name__ == "__main__":
    main()
