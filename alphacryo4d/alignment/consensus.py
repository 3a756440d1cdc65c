"""One map and one pose of every particle, from a reference and nothing else, or from rough poses.

Every half-set is aligned to a map of its own (Scheres & Chen 2012, Nat. Methods 9, 853). Each
iteration finds the best pose of every image (:mod:`alphacryo4d.alignment.search`), up to the shell
where the halves still correlate, and reconstructs both halves
(:mod:`alphacryo4d.alignment.half_maps`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy.spatial.transform import Rotation

from alphacryo4d.alignment import climbing, several
from alphacryo4d.alignment.half_maps import HalfMaps
from alphacryo4d.alignment.outcome import Consensus, Search
from alphacryo4d.alignment.poses import Poses, Target, grid_steps, rotations_apart, shifts_within
from alphacryo4d.alignment.search import EveryPose
from alphacryo4d.core.arrays import Array
from alphacryo4d.core.progress import Progress, no_progress
from alphacryo4d.maths.rotations import whole_rotations
from alphacryo4d.ml3d.checkpoint import Checkpoint
from alphacryo4d.ml3d.images import PreparedImages, shell_of_resolution

_COARSE, _FINER = 6, 8
_FIRST_SHELL = 4
"""Shells (pixels) to which all orientations are searched, at first and where the map is finer, and
the fewest that are in use."""
_SOME, _ITERATIONS_OF_SOME, _AGAIN = 5000, 4, 4
"""Particles with which a search of all orientations begins, for so many iterations; all of them are
searched everywhere in the next two, and in every so many after these."""
_SETTLED = 1e-3
"""Gain of the log-likelihood, as a part of it, below which an iteration is the last."""
_FURTHER = 5
"""Iterations after the others at most: a search against classes, then poses are refined where they
are."""
_BLOCK = 2000
"""Images whose candidates are in memory at once."""
_ENTRIES = ("resolution", "angle_change", "shift_change", "log_likelihood")


def find_consensus(
    images: PreparedImages,
    half_sets: Array,
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
    half_sets : (P,) int array
        Half-set of every particle, 0 or 1.
    asked : Search
    reference : (n, n, n) array, optional
        Map to start from, of any grey scale; by default that of the poses given.
    mask : (n, n, n) array, optional
        Soft mask of the solvent.
    workers : int
    progress, check, checkpoint
        Told how far it is; called before every block of images, stops by raising; told the state
        after every iteration.
    """
    work = Refinement(images, half_sets, asked, mask, workers)
    saved = None if checkpoint is None else checkpoint.load()
    if saved is not None:
        work.restore(saved)
    else:
        work.start(reference)
    most = asked.most_iterations
    while not work.finished:
        done = len(work.log)

        def told(part: float, done: int = done) -> None:
            progress(min(done + part, most), most, work.words())

        told(0)
        work.iterate(told, check)
        if checkpoint is not None:
            checkpoint.save(work.state())
    progress(most, most, work.words())
    return work.outcome()


class Refinement:
    """State of the refinement between iterations."""

    def __init__(
        self,
        images: PreparedImages,
        half_sets: Array,
        asked: Search,
        mask: Array | None,
        workers: int,
    ) -> None:
        self.images, self.asked, self.workers = images, asked, workers
        self.half = np.asarray(half_sets)
        self.maps = HalfMaps(images, self.half, diameter=asked.diameter, mask=mask, workers=workers)
        self.rotations = whole_rotations(images.matrices)
        self.shifts = np.zeros((len(images), 2))
        self.log: list[dict[str, float]] = []
        self.pose_sigma = np.full(2, np.nan)
        self.unscaled = self.finished = False
        self.further = 0

    def start(self, reference: Array | None) -> None:
        """Begin with a map of any grey scale, or with that of the poses given."""
        if reference is not None:
            self.maps.start(reference, self.asked.initial)
            self.unscaled = True
            return
        self.maps.rebuild(self.rotations, self.shifts, self.images.informative)
        if not self.asked.near:
            # poses that came from one map agree too well: these halves are not independent
            self.maps.resolution = min(self.asked.initial, 2 * self.maps.resolution)

    def words(self) -> str:
        """What is known of the map, for the progress."""
        return f"iteration {len(self.log) + 1}, map at {self.maps.resolution:.1f} A"

    @property
    def radius(self) -> int:
        """Last Fourier shell that the alignment uses."""
        finest = max(self.maps.resolution, self.asked.resolution or 0)
        shell = shell_of_resolution(finest, self.images.box, self.images.pixel_size)
        most = self.maps.grid.radius
        return int(np.clip(shell, min(_FIRST_SHELL, most), most))

    def _used(self) -> Array:
        """Particles (P,) bool of this iteration: some at first, where all are searched."""
        used = self.images.informative.copy()
        if self.asked.everywhere and len(self.log) < _ITERATIONS_OF_SOME:
            rows = np.flatnonzero(used)
            rng = np.random.default_rng(len(rows))
            used[rng.permutation(rows)[_SOME:]] = False
        return used

    @property
    def _everywhere(self) -> bool:
        done = len(self.log) - _ITERATIONS_OF_SOME
        return self.asked.everywhere and not self.further and (done < 2 or done % _AGAIN == 1)

    def iterate(
        self, told: Callable[[float], None], check: Callable[[], None] = lambda: None
    ) -> None:
        """Align both half-sets, and reconstruct."""
        count, used = len(self.half), self._used()
        before, shifts_before = self.rotations.copy(), self.shifts.copy()
        if self.further == 1:
            rows = np.flatnonzero(used)
            poses = self._by_classes(rows, told, check)
            self.rotations[rows], self.shifts[rows] = poses.rotations, poses.shifts
            score = np.zeros(count)
            score[rows] = poses.score
        else:
            curvature, score = self._by_mean(used, told, check)
            self.pose_sigma = self._errors(curvature)
        previous, self.unscaled = self.maps.resolution, False
        self.maps.rebuild(self.rotations, self.shifts, used)
        turned = Rotation.from_matrix(self.rotations @ before.transpose(0, 2, 1)).magnitude()
        moved = np.linalg.norm(self.shifts - shifts_before, axis=1) * self.images.pixel_size
        numbers = (
            self.maps.resolution, np.rad2deg(np.median(turned[used])), np.median(moved[used]),
            score[used].mean(),
        )  # fmt: skip
        self.log.append(dict(zip(_ENTRIES, map(float, numbers), strict=True)))
        self._go_on(self.maps.resolution > 0.98 * previous, int(used.sum()))

    def _go_on(self, no_finer: bool, used: int) -> None:
        """Say whether the iteration was the last, or the last before the search by classes."""
        fewest = _ITERATIONS_OF_SOME + 3 if self.asked.everywhere else 3
        settled = len(self.log) >= fewest and self._gain() < _SETTLED
        classes = several.number_of_classes(self.asked.classes, used)
        over = len(self.log) >= self.asked.most_iterations or (settled and no_finer)
        if self.further or (over and classes > 1):
            self.further += 1
            self.finished = self.further > _FURTHER or (self.further > 3 and settled)
        else:
            self.finished = over

    def _by_classes(
        self, rows: Array, told: Callable[[float], None], check: Callable[[], None]
    ) -> Poses:
        """Search all orientations of the particles (n,) against classes of others."""
        finest = max(several.RESOLUTION, self.maps.resolution, self.asked.resolution or 0)
        shell = shell_of_resolution(finest, self.images.box, self.images.pixel_size)
        return several.align_to_classes(
            self.images, self.half,
            Poses(rows, self.rotations[rows], self.shifts[rows], np.zeros(len(rows))),
            self.maps.noise, several.number_of_classes(self.asked.classes, len(rows)),
            min(shell, self.maps.grid.radius),
            workers=self.workers, told=lambda part: told(0.9 * part), check=check,
        )  # fmt: skip

    def _by_mean(
        self, used: Array, told: Callable[[float], None], check: Callable[[], None]
    ) -> tuple[Array, Array]:
        """Align both half-sets to their maps; curvatures (P, 5, 5) and log-likelihoods (P,)."""
        count, done = len(self.half), 0
        curvature, score = np.zeros((count, 5, 5)), np.zeros(count)
        for half in (0, 1):
            rows = np.flatnonzero((self.half == half) & used)
            target = self.maps.target(half, self.radius)
            everywhere = self._search(target) if self._everywhere else None
            for begin in range(0, len(rows), _BLOCK):
                check()
                some = rows[begin : begin + _BLOCK]
                poses, curvature[some] = self._align(some, target, everywhere)
                self.rotations[some], self.shifts[some] = poses.rotations, poses.shifts
                score[some] = poses.score
                done += len(some)
                told(0.9 * done / used.sum())
        return curvature, score

    def _gain(self) -> float:
        """By what part of itself the log-likelihood has risen in the last iteration."""
        before, now = (entry["log_likelihood"] for entry in self.log[-2:])
        return (now - before) / max(abs(now), 1e-30)

    def _search(self, target: Target) -> EveryPose:
        """Projections of a target in all orientations, up to a coarse shell."""
        coarse = min(_COARSE if target.radius < 2 * _FINER else _FINER, target.radius)
        step, slide = grid_steps(coarse, self.images.box)
        reach = self.asked.reach if len(self.log) < 3 else 0
        return EveryPose(
            self.images, replace(target, radius=coarse), rotations_apart(step),
            shifts_within(max(reach, slide), slide), unscaled=self.unscaled, workers=self.workers,
        )  # fmt: skip

    def _align(
        self, rows: Array, target: Target, everywhere: EveryPose | None
    ) -> tuple[Poses, Array]:
        images, each = self.images, self.asked.candidates
        start = Poses(rows, self.rotations[rows], self.shifts[rows], np.zeros(len(rows)))
        if self.further or self.asked.near:
            coarse = target.radius if self.further else int(target.radius / climbing.NEAR)
            return climbing.climb(images, target, start, 1, coarse, workers=self.workers)
        if everywhere is not None:
            coarse = everywhere.target.radius
            many = everywhere.best(rows, start.shifts, each)
            if self.log:
                many, each = Poses.joined([many, start], [each, 1]), each + 1
        else:
            coarse = max(min(_COARSE, target.radius), int(target.radius / 1.5))
            near = climbing.around(start, *grid_steps(coarse, images.box))
            around = len(near.row) // len(rows)
            near.score = climbing.fit(images, target, near, coarse, self.workers).score
            each = min(each, around)
            many = near.take(climbing.best_rows(near, each, around))
        if self.unscaled:
            sums = climbing.fit(images, target, many, coarse, self.workers)
            scale = sums.cross[::each].sum() / max(sums.norm[::each].sum(), 1e-30)
            target = replace(target, spectrum=target.spectrum * np.float32(max(scale, 1e-6)))
        return climbing.climb(images, target, many, each, coarse, workers=self.workers)

    def _errors(self, curvature: Array) -> Array:
        """Errors (degrees, A) of the poses that the noise leaves, from curvatures (P, 5, 5)."""
        known = np.linalg.det(curvature) > 0
        if not known.any():
            return np.full(2, np.nan)
        variance = np.diagonal(np.linalg.inv(curvature[known]), axis1=1, axis2=2)
        middle = np.median(variance, axis=0)
        angle = np.rad2deg(np.sqrt(middle[:3].mean()))
        return np.array([angle, np.sqrt(middle[3:].mean()) * self.images.pixel_size])

    def state(self) -> dict[str, Array]:
        """What :meth:`restore` needs to go on."""
        own = {name: getattr(self, name) for name in ("rotations", "shifts", "pose_sigma")}
        log = np.array([[entry[name] for name in _ENTRIES] for entry in self.log])
        return self.maps.state() | own | {
            "log": log, "finished": np.array(self.finished), "further": np.array(self.further),
        }  # fmt: skip

    def restore(self, saved: dict[str, Array]) -> None:
        """Go on from a state."""
        for name in ("rotations", "shifts", "pose_sigma"):
            setattr(self, name, saved[name])
        self.log = [dict(zip(_ENTRIES, map(float, row), strict=True)) for row in saved["log"]]
        self.finished, self.further = bool(saved["finished"]), int(saved["further"])
        self.maps.restore(saved)

    def outcome(self) -> Consensus:
        """The poses and maps of now."""
        assert self.maps.curves is not None
        return Consensus(
            self.rotations, self.shifts, self.maps.half_maps, self.maps.volume, self.maps.curves,
            float(self.pose_sigma[0]), float(self.pose_sigma[1]), self.log,
        )  # fmt: skip
