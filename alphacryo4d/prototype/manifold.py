"""Embedding, energy landscape and path with the prototype's files."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np

from alphacryo4d.core import files
from alphacryo4d.core.errors import InputError
from alphacryo4d.core.progress import show_progress
from alphacryo4d.core.words import plural
from alphacryo4d.landscape.distances import squared_distances
from alphacryo4d.landscape.embedding import embed
from alphacryo4d.landscape.energy import free_energy
from alphacryo4d.landscape.inputs_stage import read_centers, read_counts, read_embedding
from alphacryo4d.landscape.options import EmbedOptions, PathOptions
from alphacryo4d.landscape.plots import draw_embedding, draw_landscape
from alphacryo4d.landscape.states import assign_volumes
from alphacryo4d.landscape.string_method import EnergyPath, minimum_energy_path, spaced_centers
from alphacryo4d.landscape.surface import triangulated_surface
from alphacryo4d.prototype.maps import standardized

logger = logging.getLogger(__name__)


def join_features(data: Path, feature: Path, output: Path, *, standardize: bool = True) -> Path:
    """Write ``input.npy``: volumes and their feature maps side by side (``tsne_prepare.py``).

    Parameters
    ----------
    data, feature : Path
        ``rdata.npy`` (V, N^3) and ``feature.npy`` (V, ...).
    output : Path
        (V, N^3 + (N/4)^3) float32.
    standardize : bool
        Bring every feature map to mean 0 and deviation 1 by itself.
    """
    volumes = files.load_array(data, dtype=np.floating, memory_map=True)
    features = files.load_array(feature, dtype=np.floating, memory_map=True)
    if len(volumes) != len(features):
        raise InputError(
            f"{feature}: {len(features)} feature maps, but {data} has {len(volumes)} volumes; "
            "run run_predict.py again"
        )
    width = [int(np.prod(array.shape[1:])) for array in (volumes, features)]
    with files.create_array(output, (len(volumes), sum(width)), np.float32) as joined:
        for row in range(len(volumes)):
            joined[row, : width[0]] = volumes[row].ravel()
            values: Any = features[row]
            if standardize:
                values = standardized(values, f"{feature}: feature map {row + 1}")
            joined[row, width[0] :] = np.ravel(values)
    return output


def embed_rows(
    source: Path, output: Path, figure: Path, *, perplexity: float, iterations: int, seed: int
) -> list[Path]:
    """Write ``output.npy`` (V, 2) float32 by t-SNE, and its picture (``tsne_rd.py``)."""
    rows = files.load_array(source, dtype=np.floating, memory_map=True)
    options = EmbedOptions(perplexity=perplexity, iterations=iterations)
    with show_progress("distances") as progress:
        distances = squared_distances([rows], standardize=False, progress=progress)
    logger.info("t-SNE of %d volumes", len(rows))
    points = embed(distances, options, seed=seed)
    numbers = np.arange(1, len(points) + 1)
    drawn = draw_embedding([figure], points, [("t-SNE: number of the volume", numbers, "number")])
    return [files.save_array(output, points.astype(np.float32)), *drawn]


def path_centers(
    landscape: Path,
    number: Path,
    output: Path,
    figure: Path,
    *,
    options: PathOptions,
    interpolate: str,
    centers: int,
) -> EnergyPath:
    """Write ``centers_k.npy`` and ``el.pdf``: centers along the path (``string_method.py``).

    Parameters
    ----------
    landscape, number : Path
        Embedding (V, 2) and particles per volume, one a line.
    output, figure : Path
        (K, 2) float64 in path order; the landscape with path and centers.
    options : PathOptions
        Start, end, step, range of the figure.
    interpolate : str
        ``linear`` or ``cubic``.
    centers : int
        K.
    """
    points = read_embedding(landscape)
    energies = free_energy(read_counts(number, len(points)))
    surface = triangulated_surface(points, energies, kind=interpolate)
    ends = np.array([options.start, options.end], np.float64)
    with show_progress("path") as progress:
        path = minimum_energy_path(surface, ends, options, progress=progress)
    say = logger.info if path.converged else logger.warning
    say(
        "path %s after %d steps, displacement %.3g",
        "converged" if path.converged else "did NOT converge",
        path.iterations,
        path.displacement,
    )
    if path.returned:
        logger.warning("images left the landscape %d times and were brought back", path.returned)
    positions = spaced_centers(path.images, centers)
    draw_landscape([figure], points, energies, surface, path=path, extent=options.range)
    files.save_array(output, positions)
    return path


def cluster_volumes(points: Path, centers: Path, radius: float, folder: Path) -> list[Path]:
    """Write ``c1/c1`` ...: volumes nearest to each center, inside the radius (``clustering.py``).

    Lines are "index distance" with indices from 1. Files of an earlier run with more centers are
    removed.
    """
    coordinates, middles = read_embedding(points), read_centers(centers)
    radii = np.full(len(middles), radius)
    states = assign_volumes(coordinates, middles, radii)
    distances = np.linalg.norm(coordinates[:, None] - middles[None], axis=2)
    written = []
    for state in range(1, len(middles) + 1):
        rows = np.flatnonzero(states == state)
        lines = [f"{row + 1} {distances[row, state - 1].item()!r}\n" for row in rows]
        path = folder / f"c{state}" / f"c{state}"
        written.append(files.write_text(path, "".join(lines)))
        logger.info("c%d: %s", state, plural(len(rows), "volume"))
    beyond = len(middles) + 1
    while (folder / f"c{beyond}" / f"c{beyond}").is_file():
        (folder / f"c{beyond}" / f"c{beyond}").unlink()
        beyond += 1
    return written
