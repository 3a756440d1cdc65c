"""A round of `vote reclassify`: classify every fold, and judge by the particles it left out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from alphacryo4d.core import files
from alphacryo4d.core.arrays import NO_ROWS, Array
from alphacryo4d.core.files import LEFT_OUT
from alphacryo4d.core.job import Job
from alphacryo4d.core.progress import Passes, show_progress
from alphacryo4d.core.reading import load_archive
from alphacryo4d.maths.threads import thread_count
from alphacryo4d.reclassify.changing import (
    SplitGain,
    say_anew,
    say_fold,
)
from alphacryo4d.reclassify.clean_fit import fit_without_junk
from alphacryo4d.reclassify.fit_options import FitOptions
from alphacryo4d.reclassify.folds import of_all, seed_labels
from alphacryo4d.reclassify.held_out import judge_states
from alphacryo4d.reclassify.matching import coarse, match_folds
from alphacryo4d.reclassify.poses import MovingPoses
from alphacryo4d.reclassify.results_stage import FoldFit, Round, RoundInputs
from alphacryo4d.reclassify.splitting import try_splits
from alphacryo4d.reclassify.state_fit import FormerFit
from alphacryo4d.voting.losses import Losses
from alphacryo4d.voting.recorded_stage import prepare_recorded, read_mask
from alphacryo4d.voting.support import measure_support

if TYPE_CHECKING:
    from alphacryo4d.ml3d.images import PreparedImages


FOLDS = "folds"
"""Folder of the results of single folds, so that work can go on after an interruption."""
_VOLUMES = "cubes"
"""Mean and components of a fold, which the next round goes on from."""
POSE_STEPS = 2
"""Steps of the poses of particles that a fold has left out."""


def _step(number: int, batch: int, fold: int) -> str:
    """Name of the step of a fold (from 0) in a round."""
    return f"round{number}_b{batch}_f{fold + 1}"


class Rounds:
    """All rounds: images stay in memory between them, one batch at a time."""

    def __init__(self, job: Job, inputs: RoundInputs) -> None:
        self.job, self.inputs = job, inputs
        self._batch = 0
        self._images: PreparedImages | None = None
        recorded, particles = inputs.recorded, inputs.particles
        focus = recorded.classify.focus_mask
        self._solvent = None if recorded.mask is None else read_mask(recorded.mask, particles)
        self._focus = None if focus is None else read_mask(focus, particles)
        self._before: dict[tuple[int, int], FoldFit] = {}

    def batch_rows(self, batch: int) -> Array:
        """Particles of a batch, ascending."""
        return np.flatnonzero(self.inputs.groups[:, 0] == batch)

    def images(self, batch: int) -> PreparedImages:
        """Fourier samples of a batch, read once as long as it is the only one."""
        if self._images is None or self._batch != batch:
            self._images = None
            with show_progress("read images") as progress:
                self._images = prepare_recorded(
                    self.inputs.particles,
                    self.batch_rows(batch),
                    self.inputs.recorded,
                    self.inputs.fit.resolution,
                    outliers=self.inputs.outliers,
                    threads=self.inputs.flags.threads,
                    memory=self.inputs.options.memory,
                    scratch=self.job.folder / ".scratch",
                    progress=progress,
                )
            self._batch = batch
        return self._images

    def run_round(self, number: int, states: Array, count: int) -> Round:
        """Classify all folds of all batches from the states (P,) of the votes."""
        inputs = self.inputs
        shape = inputs.groups.shape[0], inputs.folds
        this_round = Round(
            np.full(shape, LEFT_OUT, np.int32),
            np.zeros(shape, np.float32),
            np.zeros(shape[0], np.int32),
            np.zeros(shape[0], np.int32),
            np.full(shape, np.nan, np.float32),
            np.zeros(shape[0]),
            copies=inputs.copies,
        )
        tests: list[tuple[Array, ...]] = []
        losses, gains = Losses.none(count), np.zeros((2, count))
        seen: list[Array] = []
        for (batch, fold), result in self._matched(number, states, count).items():
            tests.append(self._take(this_round, number, batch, fold, result))
            members = self.batch_rows(batch)
            seen.append(members[self._sides(members, fold)[1]])
            lost = result["lost"], result["lost_squares"]
            losses.add(lost, np.arange(count), len(seen[-1]), self._copies(seen[-1]))
            gains += result["split_gains"]
        this_round.support = measure_support(
            *(np.concatenate(parts) for parts in zip(*tests, strict=True)),
            losses=losses,
            images=self._copies(np.concatenate(seen)),
        )
        this_round.split = SplitGain.of(gains, shape[0], this_round.support.images)
        return this_round

    def _copies(self, rows: Array) -> Array | None:
        """Image of each of some particles, where there are copies."""
        return None if self.inputs.copies is None else self.inputs.copies[rows]

    def _matched(
        self, number: int, states: Array, count: int
    ) -> dict[tuple[int, int], dict[str, Array]]:
        """Results of all folds of all batches, in which a state has the same number everywhere."""
        folds, batches = self.inputs.folds, int(self.inputs.groups[:, 0].max())
        results: list[list[dict[str, Array]]] = []
        every = [(batch, fold) for batch in range(1, batches + 1) for fold in range(folds)]
        left = sum(not self.job.completed(_step(number, *place)) for place in every)
        with show_progress(f"round {number}") as progress:
            passes = Passes(progress, left)
            for batch in range(1, batches + 1):
                results.append([])
                for fold in range(folds):
                    self.inputs.flags.deadline.check()
                    results[-1].append(self._kept(number, batch, fold, states, count, passes))
            progress(1, 1)
        say_anew(number, {(b, f): results[b - 1][f]["moves"] for b, f in every})
        moved = self.inputs.options.split  # sides of the round before are each batch's own
        moved |= any(len(result["moves"]) for batch in results for result in batch)
        matched: dict[tuple[int, int], dict[str, Array]] = {}
        volumes = None
        for batch, fits in enumerate(results, start=1):
            members = self.batch_rows(batch)
            rows = [self._sides(members, fold)[0] for fold in range(folds)]
            alike = match_folds(fits, rows, states[members] - 1, volumes)
            matched |= {(batch, fold): result for fold, result in enumerate(alike)}
            if moved and volumes is None:
                # particles of other batches are others: the volumes say which state is which
                volumes = np.mean([result["volumes"] for result in alike], axis=0)
        return matched

    def _archive(self, number: int, batch: int, fold: int) -> Path:
        return self.job.folder / FOLDS / f"{_step(number, batch, fold)}.npz"

    def _kept(
        self, number: int, batch: int, fold: int, states: Array, count: int, passes: Passes
    ) -> dict[str, Array]:
        """Result of a fold; one that was finished before an interruption is read back."""
        name = _step(number, batch, fold)
        path = self._archive(number, batch, fold)
        result = load_archive(path) if self.job.completed(name) else {}
        if _VOLUMES not in result:  # nor has it them where an earlier version made it
            with passes.one():
                result = self._fold(batch, fold, states, count)
            with files.atomic_path(path) as temporary, temporary.open("wb") as stream:
                np.savez(stream, **result)  # type: ignore[arg-type]
            self.job.complete(name, [path])
        del result[_VOLUMES]  # of all folds they would not fit into memory
        return result

    def _fold(self, batch: int, fold: int, states: Array, count: int) -> dict[str, Array]:
        """Fit the states to the fold, and judge the particles that it leaves out."""
        inputs = self.inputs
        members = self.batch_rows(batch)
        rows, heldout = self._sides(members, fold)
        workers = thread_count(inputs.flags.threads)
        poses = MovingPoses(self._focused(self.images(batch), rows, workers), workers)
        fit, former = self._beginning(poses, batch, fold)
        known = np.flatnonzero(poses.images.informative[rows])
        state_fit, used = fit_without_junk(
            poses, rows[known], seed_labels(states[members[rows[known]]], count), fit,
            None if inputs.signal is None else inputs.signal[members[rows[known]]],
            solvent=self._solvent if self._focus is None else self._focus,
            before=former, check=inputs.flags.deadline.check,
        )  # fmt: skip
        junk, known = np.setdiff1d(np.arange(len(known)), used), known[used]
        copies = self._copies(members[heldout])
        steps = POSE_STEPS if fit.move else 0
        judged = judge_states(
            poses, heldout, state_fit.model, steps=steps, copies=copies,
            check=inputs.flags.deadline.check,
        )  # fmt: skip
        seen = judged.heldout
        sides, gains = np.zeros(len(rows), np.float32), np.zeros((2, count))
        if state_fit.latent is not None:
            sides[known], gains = try_splits(
                state_fit.model.points,
                state_fit.posteriors,
                state_fit.latent,
                seen.posteriors,
                judged.latent,
                copies,
            )
        return {
            "labels": of_all(state_fit.posteriors.argmax(axis=1), known, len(rows), 0),
            "confidence": of_all(state_fit.posteriors.max(axis=1), known, len(rows), -1),
            "heldout": seen.labels,
            "evidence": seen.evidence,
            "consensus": seen.consensus,
            "posteriors": seen.posteriors,
            "weights": state_fit.model.proportions,
            "lost": seen.losses[0],
            "lost_squares": seen.losses[1],
            "pose_sigma": np.array(seen.pose_sigma),
            "from_images": np.array(state_fit.model.groups is not None),
            "junk": junk,
            "rotations": poses.rotations.astype(np.float32),
            "shifts": poses.shifts.astype(np.float32),
            _VOLUMES: state_fit.model.cubes,
            "noise": state_fit.model.noise,
            "gain": judged.gain,
            "likelihood": judged.likelihood,
            "sides": sides,
            "split_gains": gains,
            "moves": np.array(state_fit.moves, np.float64).reshape(-1, 4),
            "volumes": coarse(state_fit.model.volumes()),
        }

    def _beginning(
        self, poses: MovingPoses, batch: int, fold: int
    ) -> tuple[FitOptions, FormerFit | None]:
        """Options of a fold's fit and what it goes on from; moves the poses to where they were."""
        fit = self.inputs.fit
        if (batch, fold) not in self._before:
            return fit, None
        before = self._before[batch, fold]
        poses.put(np.arange(len(poses.images)), before.rotations, before.shifts)
        kept = {"junk": NO_ROWS, **load_archive(before.archive)}  # earlier versions wrote none
        # no first pass: what the round before found is good enough to move on from at once
        fit = replace(fit, initial_resolution=fit.resolution, from_images=before.from_images)
        return fit, FormerFit(kept[_VOLUMES], kept["noise"], kept["junk"])

    def _focused(self, images: PreparedImages, rows: Array, workers: int) -> PreparedImages:
        """The images without what the fold's consensus holds outside the focus mask."""
        if self._focus is None:
            return images
        from alphacryo4d.ml3d.focus import without_surroundings

        fit = self.inputs.fit
        return without_surroundings(
            images, rows, fit.resolution, diameter=fit.mask_diameter, solvent=self._solvent,
            focus=self._focus, workers=workers,
        )[0]  # fmt: skip

    def _sides(self, members: Array, fold: int) -> tuple[Array, Array]:
        """Particles of a fold and those that it leaves out, as places in the batch."""
        left = self.inputs.groups[members, 1] == fold + 1
        return np.flatnonzero(~left), np.flatnonzero(left)

    def _take(
        self, this_round: Round, number: int, batch: int, fold: int, result: dict[str, Array]
    ) -> tuple[Array, ...]:
        """Put the result of a fold into its round; returns what the likelihood test needs."""
        members = self.batch_rows(batch)
        rows, heldout = self._sides(members, fold)
        this_round.labels[members[rows], fold] = result["labels"]
        this_round.confidence[members[rows], fold] = result["confidence"]
        this_round.heldout[members[heldout]] = result["heldout"]
        this_round.weighted[members[heldout]] = result["posteriors"].argmax(axis=1)
        this_round.sides[members[rows], fold] = result["sides"]
        this_round.likelihood[members[heldout]] = result["likelihood"]
        of_images = bool(result["from_images"])
        this_round.fits[batch, fold] = FoldFit(
            result["rotations"], result["shifts"], of_images, self._archive(number, batch, fold)
        )
        this_round.log += say_fold(f"batch {batch} fold {fold + 1}", result, heldout)
        weights = np.broadcast_to(result["weights"], result["posteriors"].shape)
        return result["evidence"], result["consensus"], result["posteriors"], weights

    def go_on_from(self, this_round: Round) -> None:
        """Start every fold from the poses and the volumes that it found."""
        self._before = this_round.fits
