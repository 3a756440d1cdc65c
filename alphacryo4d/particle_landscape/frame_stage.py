"""Coordinates of all particles in one frame, and how many components held-out particles ask for."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from alphacryo4d.core import files
from alphacryo4d.core.arrays import Array
from alphacryo4d.core.job import Job
from alphacryo4d.core.words import plural
from alphacryo4d.landscape.energy import jackknife_error
from alphacryo4d.landscape.tables_stage import write_csv
from alphacryo4d.ml3d.latent import packed
from alphacryo4d.particle_landscape.figures_stage import draw_imaging
from alphacryo4d.particle_landscape.fold_stage import FoldInputs, read_fold
from alphacryo4d.particle_landscape.frame import (
    Frame,
    common_frame,
    evidence_by_count,
    in_frame,
    likelihood_of,
    packed_size,
    posterior,
    unpacked,
)
from alphacryo4d.particle_landscape.orientation import explained_by_imaging, warnings_of
from alphacryo4d.particle_landscape.populations import (
    MOST,
    placed_populations,
    state_populations,
    voted_populations,
)
from alphacryo4d.voting.losses import by_image, error_of_sums

COORDINATES, COVARIANCES = files.COORDINATES_NPY, files.COVARIANCES_NPY
SEEN = "coordinates_seen.npy"
COMPONENTS_CSV, POPULATIONS_CSV = "components.csv", "populations.csv"
BEYOND_CHANCE = 2.0
"""Standard errors by which held-out particles must be more likely: else no structure."""
_BLOCK = 8192

logger = logging.getLogger(__name__)


@dataclass
class Evidence:
    """Sums over the held-out particles of every group.

    Attributes
    ----------
    gains, squares : (M + 1, q + 1) float64
        Log-likelihood by the first k components above that of the mean, and its square; that of
        the copies of an image is added up before it is squared.
    counts, images : (M + 1,) float64
        Particles, and images, which are fewer where some are copies of one.
    """

    gains: Array
    squares: Array
    counts: Array
    images: Array

    @classmethod
    def none(cls, groups: int, components: int) -> Evidence:
        """Of no particles."""
        sums = np.zeros((2, groups, components + 1))
        return cls(sums[0], sums[1], np.zeros(groups), np.zeros(groups))

    def add(self, group: int, gain: Array, images: Array | None) -> None:
        """Take in what particles (n, q + 1) of a group (from 0) say, with all their copies."""
        of_image = by_image(gain, images)
        self.gains[group] += gain.sum(axis=0)
        self.squares[group] += np.square(of_image).sum(axis=0)
        self.counts[group] += len(gain)
        self.images[group] += len(of_image)

    def per_particle(self) -> tuple[Array, Array]:
        """Mean gain (q + 1,) of a particle in nats, and its standard error."""
        groups, total = len(self.counts), self.counts.sum()
        mean = self.gains.sum(axis=0) / total
        sums, squares = self.gains.sum(axis=0), self.squares.sum(axis=0)
        counting = error_of_sums(sums, squares, total, self.images.sum())
        left = (self.gains.sum(axis=0) - self.gains) / (total - self.counts)[:, None]
        jackknife = jackknife_error(left) if groups > 1 else np.zeros_like(mean)
        return mean, np.maximum(counting, jackknife)


def components_kept(mean: Array, error: Array) -> int:
    """Number of components at which held-out particles are most likely; 0 for no structure.

    Parameters
    ----------
    mean, error : (q + 1,) arrays
        Gain of a held-out particle by the first k components, and its standard error.
    """
    best = int(np.argmax(mean))
    return best if mean[best] > BEYOND_CHANCE * error[best] else 0


def write_coordinates(job: Job, inputs: FoldInputs) -> int:
    """Write the coordinates and what they rest on; gives the number of components kept."""
    first = [read_fold(job.folder, 1, fold)["cubes"] for fold in range(1, inputs.folds + 1)]
    frame = common_frame(first, inputs.options.components)
    total, q = len(inputs.groups), len(frame.components)
    scratch = {name: job.folder / f".{name}" for name in (COORDINATES, COVARIANCES, SEEN)}
    shapes = {COORDINATES: (total, q), COVARIANCES: (total, packed_size(q)), SEEN: (total, q)}
    arrays: dict[str, Array] = {
        name: files.new_map(path, shapes[name], np.float32) for name, path in scratch.items()
    }
    states = np.zeros((total, int(inputs.states.max())), np.float32)
    evidence = Evidence.none(inputs.folds, q)
    arrays[SEEN][:] = 0
    sigma = []
    for batch in range(1, inputs.batches + 1):
        for fold in range(1, inputs.folds + 1):
            sigma.append(_take(job.folder, inputs, (batch, fold), frame, arrays, states, evidence))
    mean, error = evidence.per_particle()
    count = components_kept(mean, error)
    kept = max(1, count)
    outputs = _keep(job.folder, arrays, q, kept)
    for path in scratch.values():
        path.unlink()
    table, imaging = _write_components(job.folder, inputs, frame, evidence, count)
    outputs.append(table)
    outputs.append(_write_populations(job.folder, inputs, states, count))
    own = np.load(job.folder / COORDINATES, mmap_mode="r")
    errors = np.load(job.folder / COVARIANCES, mmap_mode="r")
    outputs += draw_imaging(
        job.folder, inputs.particles, own, errors, inputs.states, inputs.states_of
    )
    turned, moved = np.mean(sigma, axis=0)
    job.note(
        components=count, gain_per_particle=float(mean[count]), pose_sigma=[turned, moved],
        imaging=imaging,
    )  # fmt: skip
    job.complete("coordinates", outputs)
    _say(count, mean, error)
    return count


def _take(
    folder: Path,
    inputs: FoldInputs,
    which: tuple[int, int],
    frame: Frame,
    arrays: dict[str, Array],
    states: Array,
    evidence: Evidence,
) -> Array:
    """Bring a fold into the frame; gives its pose sigma."""
    batch, fold = which
    members = inputs.members(batch)
    seen, left = inputs.sides(batch, fold)
    stored = read_fold(folder, batch, fold)
    offset, turn = frame.from_fold(stored["cubes"])
    count = stored["projected"].shape[1]
    gain = np.zeros((len(left), evidence.gains.shape[1]))
    for begin in range(0, len(left), _BLOCK):
        part = slice(begin, begin + _BLOCK)
        rows = members[left[part]]
        information = unpacked(stored["information"][part].astype(np.float64), count)
        projected, information = in_frame(stored["projected"][part], information, offset, turn)
        mean, covariance = posterior(projected, information)
        arrays[COORDINATES][rows], arrays[COVARIANCES][rows] = mean, packed(covariance)
        gain[part] = evidence_by_count(projected, information)
    evidence.add(fold - 1, gain, inputs.images_of(members[left]))
    back = np.linalg.pinv(turn)
    arrays[SEEN][members[seen]] += (stored["seen"] - offset) @ back.T / (inputs.folds - 1)
    states[members[left]] = stored["states"]
    return stored["pose_sigma"]


def _keep(folder: Path, arrays: dict[str, Array], count: int, kept: int) -> list[Path]:
    """Write the components kept; the others stay integrated out."""
    place = np.zeros((count, count), np.int64)
    row, column = np.triu_indices(count)
    place[row, column] = np.arange(len(row))
    chosen = place[:kept, :kept][np.triu_indices(kept)]
    outputs = []
    for name, columns in ((COORDINATES, slice(kept)), (COVARIANCES, chosen), (SEEN, slice(kept))):
        source = arrays[name]
        width = packed_size(kept) if name == COVARIANCES else kept
        with files.create_array(folder / name, (len(source), width), np.float32) as target:
            for begin in range(0, len(source), _BLOCK):
                target[begin : begin + _BLOCK] = source[begin : begin + _BLOCK][:, columns]
        outputs.append(folder / name)
    return outputs


def _write_components(
    folder: Path, inputs: FoldInputs, frame: Frame, evidence: Evidence, count: int
) -> tuple[Path, list[str]]:
    """Every component: its power, what held-out particles gain, and what it may only encode."""
    mean, error = evidence.per_particle()
    power = np.square(frame.components).sum(axis=1)
    q = len(power)
    columns = {
        "components": np.arange(q + 1),
        "variance_share": np.concatenate([[0.0], power / power.sum()]),
        "heldout_gain_nats": mean,
        "heldout_gain_error": error,
        "kept": (np.arange(q + 1) <= count).astype(int),
    }
    for name in ("agreement", "view_share", "defocus_share"):
        columns[name] = np.full(q + 1, np.nan)
    own = np.load(folder / COORDINATES, mmap_mode="r")
    other = np.load(folder / SEEN, mmap_mode="r")
    for k in range(own.shape[1]):
        one = np.asarray(own[:, k], np.float64)
        columns["agreement"][k + 1] = correlation(one, np.asarray(other[:, k], np.float64))
        view, defocus = explained_by_imaging(one, inputs.particles)
        columns["view_share"][k + 1], columns["defocus_share"][k + 1] = view, defocus
    shares = [columns[name][1 : count + 1].tolist() for name in ("view_share", "defocus_share")]
    said = warnings_of(*shares)
    for sentence in said:
        logger.warning("%s", sentence)
    return write_csv(folder / COMPONENTS_CSV, columns), said


def correlation(one: Array, other: Array) -> float:
    """Correlation of two columns; 0 where one of them does not vary."""
    spread = float(one.std() * other.std())
    return float(np.mean((one - one.mean()) * (other - other.mean())) / spread) if spread else 0.0


def _write_populations(folder: Path, inputs: FoldInputs, states: Array, kept: int) -> Path:
    """Populations of the states as the likelihoods of held-out particles have them, and votes."""
    placed = _placed(folder, inputs) if kept else None
    populations, error = placed or state_populations(states, inputs.groups[:, 1], inputs.copies)
    count = states.shape[1]
    safe = np.maximum(populations, 1e-12)
    columns = {
        "state": np.arange(1, count + 1),
        "population": populations,
        "population_error": error,
        "energy_kt": -np.log(safe),
        "energy_error_kt": np.minimum(error / safe, 99.0),
        "share_of_votes": voted_populations(inputs.states, count),
    }
    return write_csv(folder / POPULATIONS_CSV, columns)


def _placed(folder: Path, inputs: FoldInputs) -> tuple[Array, Array] | None:
    """Populations of states that EM places among the components; None where they do not stay."""
    step = -(-len(inputs.groups) // MOST)
    mean = np.load(folder / COORDINATES, mmap_mode="r")[::step]
    own = unpacked(np.load(folder / COVARIANCES, mmap_mode="r")[::step], mean.shape[1])
    votes, groups = inputs.states[::step], inputs.groups[::step, 1]
    images = inputs.images_of(slice(None, None, step))
    count = int(inputs.states.max())
    return placed_populations(*likelihood_of(mean, own), votes, groups, count, images)


def _say(count: int, mean: Array, error: Array) -> None:
    if count:
        logger.info(
            "%s: held-out log-likelihood gain per particle %.3f +- %.3f nats",
            plural(count, "component"), mean[count], error[count],
        )  # fmt: skip
    else:
        logger.warning(
            "no structure: no number of components makes held-out particles more likely than "
            "their mean does (beyond %.0f standard errors)", BEYOND_CHANCE,
        )  # fmt: skip
