"""One map and one pose of every particle, from a reference and nothing else, or from rough poses.

Every half-set is aligned to a map of its own (Scheres & Chen 2012, Nat. Methods 9, 853); only
shells coarser than 40 A are shared, which keeps the two in one frame. Each iteration finds the best
pose of every image (:mod:`alphacryo4d.alignment.search`), reconstructs both halves, and goes on with
maps whose shells are weighted by the correlation of the halves: that is the Wiener weight of a half
map, S / (S + N) = FSC. Samples beyond the resolution of the halves are not used.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import scipy.fft
from scipy.spatial.transform import Rotation

from alphacryo4d.alignment import search
from alphacryo4d.alignment.search import Poses, Target
from alphacryo4d.core.arrays import Array
from alphacryo4d.core.progress import Progress, no_progress
from alphacryo4d.maths.fourier import filter_map, resize_cubes, shell_numbers
from alphacryo4d.maths.fsc import Correlation, correlate_halves, soft_mask
from alphacryo4d.ml3d.checkpoint import Checkpoint
from alphacryo4d.ml3d.expectation import View, expect
from alphacryo4d.ml3d.grid import Grid
from alphacryo4d.ml3d.images import PreparedImages, shell_of_resolution, viewing_order
from alphacryo4d.ml3d.masks import sphere_mask
from alphacryo4d.ml3d.mean import data_power
from alphacryo4d.ml3d.reconstruct import reconstruct

SHARED = 40.0
"""Shells coarser than this (A) are those of both half-sets together."""
_COARSE = 6
_FIRST_SHELL = 4
"""Shells (pixels) to which all orientations are searched, and the fewest in use."""
_NOISE = 4000
"""Particles from which the noise is estimated anew."""


@dataclass(frozen=True)
class Search:
    """How poses are looked for.

    Attributes
    ----------
    everywhere : bool
        All orientations; otherwise around the poses that are given.
    reach : float
        Shifts (pixels) around those that are given.
    candidates : int
        Poses of an image that are refined.
    most_iterations : int
    resolution : float or None
        Finest that is used (A).
    initial : float
        Low-pass filter of the reference (A).
    diameter : float or None
        Of the spherical mask (A).
    """

    everywhere: bool
    reach: float = 5.0
    candidates: int = 12
    most_iterations: int = 25
    resolution: float | None = None
    initial: float = 60.0
    diameter: float | None = None


@dataclass
class Consensus:
    """Poses and maps.

    Attributes
    ----------
    rotations : (P, 3, 3) float64
    shifts : (P, 2) float64
        That centre the prepared images (pixels).
    halves : (2, n, n, n) float32
        Half maps, not filtered.
    volume : (n, n, n) float32
        Of all particles, filtered by the correlation of the halves.
    curves : Correlation
        Of the half maps, within the mask.
    angle_error, shift_error : float
        Of a pose about each axis, from the curvature of its likelihood (degrees, A): the spread
        that noise leaves, of poses that found the right optimum.
    log : list of dict
        Of every iteration: resolution (A), median change of angle (degrees) and shift (A), mean
        log-likelihood ratio of a particle against noise alone.
    """

    rotations: Array
    shifts: Array
    halves: Array
    volume: Array
    curves: Correlation
    angle_error: float
    shift_error: float
    log: list[dict[str, float]]


class _Maps:
    """Half maps and what they allow: resolution, mask, targets of the alignment."""

    def __init__(self, images: PreparedImages, halves: Array, asked: Search, mask: Array | None):
        self.images, self.halves, self.asked = images, halves, asked
        self.given = mask
        grid = Grid((images.box - 1) // 2, 1)
        sphere = sphere_mask(grid, images, asked.diameter)
        self.sphere = np.clip(resize_cubes(sphere[None], images.box)[0], 0, 1) * np.float32(
            (grid.cube / images.box) ** -3
        ) if grid.cube != images.box else sphere

    def mask(self, volume: Array, resolution: float) -> Array:
        """The mask given, a sphere, or what the map fills where it is fine enough to tell."""
        if self.given is not None:
            return self.given
        if resolution > 15:
            return self.sphere
        return np.asarray(self.sphere * soft_mask(volume, self.images.pixel_size), np.float32)


def find_consensus(
    images: PreparedImages,
    halves: Array,
    asked: Search,
    *,
    reference: Array | None = None,
    mask: Array | None = None,
    workers: int = 1,
    progress: Progress = no_progress,
    check: Callable[[], None] = lambda: None,
    checkpoint: Checkpoint | None = None,
) -> Consensus:
    """Align all images, iteration by iteration, until neither map nor poses change.

    Parameters
    ----------
    images : PreparedImages
        With all shells; with the poses that are given where the search is not everywhere.
    halves : (P,) int array
        Half-set of every particle, 0 or 1.
    asked : Search
    reference : (n, n, n) array, optional
        Map to start from, of any grey scale; by default that of the poses given.
    mask : (n, n, n) array, optional
        Soft mask of the solvent.
    workers : int
    progress, check, checkpoint
        Told how far it is; called before every iteration, stops by raising; told the state after
        every iteration.
    """
    work = _Refinement(images, halves, asked, mask, workers)
    saved = None if checkpoint is None else checkpoint.load()
    if saved is not None:
        work.restore(saved)
    elif reference is not None:
        work.start(reference)
    else:
        work.start_from_poses()
    while not work.finished:
        check()
        number = len(work.log)
        progress(number, asked.most_iterations, work.words())
        work.iterate(lambda part, n=number: progress(n + part, asked.most_iterations, work.words()))
        if checkpoint is not None:
            checkpoint.save(work.state())
    progress(asked.most_iterations, asked.most_iterations, work.words())
    return work.outcome()


class _Refinement:
    """State of the refinement between iterations."""

    def __init__(
        self, images: PreparedImages, halves: Array, asked: Search, mask: Array | None, workers: int
    ) -> None:
        self.images, self.asked, self.workers = images, asked, workers
        self.half = np.asarray(halves)
        self.maps = _Maps(images, halves, asked, mask)
        first = images.matrices.astype(np.float64)
        third = np.cross(first[:, 0], first[:, 1])[:, None]
        self.rotations = np.concatenate([first, third], axis=1)
        self.shifts = np.zeros((len(images), 2))
        self.log: list[dict[str, float]] = []
        self.unscaled = False
        self.finished = False
        self.errors = np.full(2, np.nan)
        grid = Grid((images.box - 1) // 2 - 1, workers)
        every = np.arange(len(images))
        self.noise = data_power(View(images, images.sorted_rows(every), grid))

    def start(self, reference: Array) -> None:
        """Begin with a map of unknown grey scale."""
        voxel, box = self.images.pixel_size, self.images.box
        low = filter_map(np.asarray(reference, np.float64), self.asked.initial, voxel)
        low = (low * self.maps.sphere).astype(np.float32)
        self.volumes = np.stack([low, low]) / max(float(np.abs(low).max()), 1e-30)
        self.weights = np.ones(box // 2)
        self.resolution = self.asked.initial
        self.unscaled = True

    def start_from_poses(self) -> None:
        """Begin with the maps of the poses that are given."""
        self._reconstruct()
        # poses that one map gave agree too well: their halves are not independent
        self.resolution = min(self.asked.initial, 2 * self.resolution)

    def words(self) -> str:
        """What is known of the map, for the progress."""
        return f"iteration {len(self.log) + 1}, map at {self.resolution:.1f} A"

    @property
    def radius(self) -> int:
        """Last Fourier shell that the alignment uses."""
        finest = self.resolution
        if self.asked.resolution is not None:
            finest = max(finest, self.asked.resolution)
        shell = shell_of_resolution(finest, self.images.box, self.images.pixel_size)
        most = (self.images.box - 1) // 2 - 2
        return int(np.clip(shell, min(_FIRST_SHELL, most), most))

    def target(self, half: int) -> Target:
        """What the images of a half-set are aligned to."""
        grid = Grid(self.radius, self.workers)
        cube = resize_cubes(self.volumes[half][None] / self.images.box, grid.cube)[0]
        inverse = 1 / self.noise[:, : grid.radius + 1]
        return search.target_of(cube, grid, inverse)

    def iterate(self, told: Callable[[float], None]) -> None:
        """Align both half-sets, and reconstruct."""
        before, shifts_before = self.rotations.copy(), self.shifts.copy()
        curvature = np.zeros((len(self.half), 5, 5))
        score = np.zeros(len(self.half))
        for half in (0, 1):
            rows = np.flatnonzero((self.half == half) & self.images.informative)
            target = self.target(half)
            block = 2000
            for begin in range(0, len(rows), block):
                some = rows[begin : begin + block]
                found, curved = self._align(some, target)
                self.rotations[some], self.shifts[some] = found.rotations, found.shifts
                curvature[some], score[some] = curved, found.score
                told((half * len(self.half) / 2 + begin + len(some)) / len(self.half) * 0.8)
        self.unscaled = False
        turned = Rotation.from_matrix(self.rotations @ before.transpose(0, 2, 1)).magnitude()
        moved = np.linalg.norm(self.shifts - shifts_before, axis=1) * self.images.pixel_size
        previous = self.resolution
        self._reconstruct()
        self._errors(curvature)
        self.log.append(
            {
                "resolution": float(self.resolution),
                "angle_change": float(np.rad2deg(np.median(turned))),
                "shift_change": float(np.median(moved)),
                "log_likelihood": float(score.mean()),
            }
        )
        self._judge(previous)

    def _align(self, rows: Array, target: Target) -> tuple[Poses, Array]:
        images, asked = self.images, self.asked
        coarse = min(_COARSE, target.radius)
        step = float(np.rad2deg(1 / (0.6 * coarse)))
        slide = images.box / (4.0 * coarse)
        start = Poses(rows, self.rotations[rows], self.shifts[rows], np.zeros(len(rows)))
        if asked.everywhere:
            low = replace(target, radius=coarse)
            reach = asked.reach if len(self.log) < 3 else min(asked.reach, slide)
            many = search.search_all(
                images, rows, low, search.rotations_apart(step),
                search.shifts_within(max(reach, slide), slide), start.shifts,
                keep=asked.candidates, unscaled=self.unscaled, workers=self.workers,
            )  # fmt: skip
            if self.log:
                many = _joined(many, start, asked.candidates)
            each = len(many.row) // len(rows)
        else:
            coarse = max(coarse, int(target.radius / 1.5))
            step = float(np.rad2deg(1 / (0.6 * coarse)))
            near = search.around(start, step, images.box / (4.0 * coarse))
            each = len(near.row) // len(rows)
            fitted = search.fit(images, target, near, coarse, self.workers)
            near.score = 2 * fitted.cross - fitted.norm
            many = search.best_of(near, asked.candidates, each)
            each = min(each, asked.candidates)
        if self.unscaled:
            fitted = search.fit(images, target, many, coarse, self.workers)
            first = np.arange(0, len(many.row), each)
            scale = max(fitted.cross[first].sum() / max(fitted.norm[first].sum(), 1e-30), 1e-6)
            target = replace(target, spectrum=target.spectrum * np.float32(scale))
        return search.climb(images, target, many, each, coarse, workers=self.workers)

    def _source(self, rows: Array) -> PreparedImages:
        """Some images with their poses of now."""
        images = self.images
        radius = max(int(images.kx.max()), int(np.abs(images.ky).max()))
        wave = np.arange(-radius, radius + 1) * (-2j * np.pi / images.box)
        x, y = (np.exp(np.outer(self.shifts[rows, axis], wave)) for axis in (0, 1))
        turn = (x[:, images.kx + radius] * y[:, images.ky + radius]).astype(np.complex64)
        data = np.ascontiguousarray(images.data[rows].view(np.complex64)[..., 0] * turn)
        rotations = self.rotations[rows]
        return replace(
            images,
            data=data.view(np.float32).reshape(len(rows), -1, 2),
            ctf=images.ctf[rows],
            matrices=np.ascontiguousarray(rotations[:, :2], np.float32),
            group=images.group[rows],
            order=viewing_order(rotations[:, 2]),
            outlier=None if images.outlier is None else images.outlier[rows],
        )

    def _reconstruct(self) -> None:
        """Half maps of the poses of now, their correlation, and the maps to go on with."""
        images, voxel = self.images, self.images.pixel_size
        labels = np.where(images.informative, 0, -1).astype(np.int32)
        made = next(
            iter(
                reconstruct(
                    images, labels, halves=self.half, source=self._source, threads=self.workers
                )
            )
        )
        self.halves, self.volume = made.halves, made.volume
        rough = self.resolution if self.log else 60.0
        mask = self.maps.mask(made.halves.mean(axis=0), rough)
        self.curves = correlate_halves(made.halves[0], made.halves[1], voxel, mask=mask)
        self.resolution = float(min(self.curves.resolution, self.asked.initial))
        # shells weighted by what they hold of the signal, up to where the halves agree
        fsc = np.clip(self.curves.corrected, 0, 1)
        beyond = np.flatnonzero(fsc[1:] < 0.143)
        if len(beyond):
            fsc[beyond[0] + 1 :] = 0
        size = images.box
        shells = np.minimum(shell_numbers(size), len(fsc))
        weights = np.append(fsc, 0)[shells]
        spectra = scipy.fft.rfftn(made.halves, axes=(1, 2, 3), workers=self.workers)
        shared = shells <= size * voxel / SHARED
        spectra[:, shared] = spectra[:, shared].mean(axis=0)
        maps = scipy.fft.irfftn(spectra * weights, s=(size,) * 3, axes=(1, 2, 3))
        self.volumes = (maps * mask).astype(np.float32)
        self._noise()

    def _noise(self) -> None:
        """Noise power that remains beside the map, from some of the particles."""
        rows = np.flatnonzero(self.images.informative)
        rng = np.random.default_rng(len(self.log))
        some = np.sort(rng.choice(rows, min(_NOISE, len(rows)), replace=False))
        part = self._source(some)
        grid = Grid((self.images.box - 1) // 2 - 1, self.workers)
        cube = resize_cubes(self.volumes.mean(axis=0)[None] / self.images.box, grid.cube)
        view = View(part, part.order, grid)
        found = expect(view, grid.class_references(cube), 1 / self.noise, np.ones(1)).noise
        noise = self.noise.copy()
        noise[: len(found)] = found
        noise[:, 0] = noise[:, 1]
        self.noise = noise

    def _errors(self, curvature: Array) -> None:
        """Errors of the poses that the noise leaves, from the curvatures (P, 5, 5)."""
        known = np.linalg.det(curvature) > 0
        inverse = np.linalg.inv(curvature[known]) if known.any() else np.full((1, 5, 5), np.nan)
        diagonal = np.diagonal(inverse, axis1=1, axis2=2)
        with np.errstate(invalid="ignore"):
            self.errors = np.sqrt(np.median(diagonal, axis=0))
        angle = np.rad2deg(np.sqrt(np.mean(self.errors[:3] ** 2)))
        shift = np.sqrt(np.mean(self.errors[3:] ** 2)) * self.images.pixel_size
        self.errors = np.array([angle, shift])

    def _judge(self, previous: float) -> None:
        """Stop where the map has not become finer and the poses move less than they are sure of."""
        asked = self.asked
        settled = len(self.log) >= 3 and all(
            entry["angle_change"] < self.errors[0] for entry in self.log[-2:]
        )
        no_finer = self.resolution > 0.98 * previous
        self.finished = len(self.log) >= asked.most_iterations or (settled and no_finer)

    def state(self) -> dict[str, Array]:
        """What :meth:`restore` needs to go on."""
        names = ("rotations", "shifts", "volumes", "halves", "volume", "noise", "errors")
        kept = {name: np.asarray(getattr(self, name)) for name in names}
        rows = [list(entry.values()) for entry in self.log]
        return kept | {
            "log": np.array(rows),
            "resolution": np.array(self.resolution),
            "finished": np.array(self.finished),
        }

    def restore(self, saved: dict[str, Array]) -> None:
        """Go on from a state."""
        for name in ("rotations", "shifts", "volumes", "halves", "volume", "noise", "errors"):
            setattr(self, name, saved[name])
        keys = ("resolution", "angle_change", "shift_change", "log_likelihood")
        self.log = [dict(zip(keys, map(float, row), strict=True)) for row in saved["log"]]
        self.resolution, self.finished = float(saved["resolution"]), bool(saved["finished"])
        mask = self.maps.mask(self.halves.mean(axis=0), self.resolution)
        self.curves = correlate_halves(*self.halves, self.images.pixel_size, mask=mask)

    def outcome(self) -> Consensus:
        """The poses and maps of now."""
        return Consensus(
            self.rotations, self.shifts, self.halves, self.volume, self.curves,
            float(self.errors[0]), float(self.errors[1]), self.log,
        )  # fmt: skip


def _joined(many: Poses, start: Poses, each: int) -> Poses:
    """Candidates of every image (``each``), and the pose that it has."""
    n = len(start.row)

    def join(a: Array, b: Array) -> Array:
        both = np.concatenate([a.reshape(n, each, *a.shape[1:]), b[:, None]], axis=1)
        return both.reshape(n * (each + 1), *a.shape[1:])

    return Poses(
        join(many.row, start.row),
        join(many.rotations, start.rotations),
        join(many.shifts, start.shifts),
        join(many.score, start.score),
    )
