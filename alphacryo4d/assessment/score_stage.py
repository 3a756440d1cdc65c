"""Scoring as files: a table with classes and the truth in, figures out."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from alphacryo4d.assessment.conformers_stage import load_conformers
from alphacryo4d.assessment.imaging import Array
from alphacryo4d.assessment.limit import ImagingTable, classify_by_reference, reference_scores
from alphacryo4d.assessment.options import ReferenceOptions
from alphacryo4d.assessment.score import (
    Score,
    keep_most_certain,
    perfect_votes,
    score_classes,
    volume_labels,
)
from alphacryo4d.core.errors import InputError
from alphacryo4d.core.files import load_array, save_array
from alphacryo4d.core.progress import Progress, no_progress
from alphacryo4d.maths.rotations import euler_matrices, rotation_vectors
from alphacryo4d.particles.open import open_table
from alphacryo4d.particles.particle_set import read_particles

logger = logging.getLogger(__name__)

CLASS, IMAGE = "rlnClassNumber", "rlnImageName"


def read_labels(path: Path, particles: int, order: Path | None = None) -> Array:
    """Class (P,) of every particle of a table, in the order of the truth.

    Parameters
    ----------
    path : Path
        Table with ``rlnClassNumber``.
    particles : int
        Particles that the truth knows.
    order : Path, optional
        Table whose rows the truth follows, where ``path`` has them in another order or leaves
        some out; images are matched by name.
    """
    table = open_table(path)
    table.require([CLASS])
    if order is None:
        labels = np.asarray(table.read([CLASS])[CLASS], np.int64)
        if len(labels) != particles:
            raise InputError(
                f"{path}: has {len(labels)} rows, the truth {particles}; give the table that the "
                "truth belongs to with --order"
            )
        return labels
    columns = table.read([CLASS, IMAGE])
    known = [str(name) for name in open_table(order).read([IMAGE])[IMAGE]]
    if len(known) != particles:
        raise InputError(f"{order}: has {len(known)} rows, the truth {particles}")
    place = {name: row for row, name in enumerate(known)}
    labels = np.zeros(particles, np.int64)
    for row, (name, label) in enumerate(zip(columns[IMAGE], columns[CLASS], strict=True), 1):
        if str(name) not in place:
            raise InputError(f"{path}: row {row}: image {name} is not in {order}")
        labels[place[str(name)]] = int(label)
    return labels


def read_truth(path: Path) -> Array:
    """States (P,) from 1."""
    truth = load_array(path, dtype=np.integer, ndim=1).astype(np.int64)
    if not len(truth) or truth.min() < 1:
        raise InputError(f"{path}: states must be numbered from 1")
    return truth


def make_reference(
    conformers: Sequence[str],
    table: Path,
    options: ReferenceOptions,
    *,
    threads: int = 1,
    progress: Progress = no_progress,
) -> Array:
    """Label and certainty (P, 2) of the reference classifier for the particles of a table."""
    particles = read_particles(table)
    groups = np.unique(particles.optics_group)
    if len(groups) > 1:
        raise InputError(f"{table}: the reference classifier knows one optics group, not several")
    if np.any(particles.phase_shift):
        raise InputError(f"{table}: the reference classifier knows no phase plate")
    optics, group = particles.optics, int(groups[0])
    imaging = ImagingTable(
        angles=particles.angles,
        shifts=particles.shifts,
        defocus=particles.defocus,
        box=particles.box,
        pixel_size=particles.pixel_size,
        voltage=float(optics.voltage[group]),
        spherical_aberration=float(optics.spherical_aberration[group]),
        amplitude_contrast=float(optics.amplitude_contrast[group]),
    )
    molecules = load_conformers(conformers, box=imaging.box, pixel_size=imaging.pixel_size)
    cross, power, energy, samples = reference_scores(
        molecules,
        particles.images,
        imaging,
        resolution=options.reference_resolution,
        atom_sigma=options.atom_sigma,
        threads=threads,
        progress=progress,
    )
    result = classify_by_reference(cross, power, energy, samples=samples)
    return np.stack([result.labels, result.certainty], axis=1).astype(np.float32)


def pose_errors(table: Path, truth: Path) -> dict[str, float]:
    """Errors of the poses of a table, on each axis.

    Parameters
    ----------
    table : Path
        With poses.
    truth : Path
        ``true_poses.npy`` of the simulation, (P, 5): rot, tilt, psi in degrees, shifts in Angstrom.

    Returns
    -------
    dict
        ``degrees`` and ``angstrom``: root mean square of the components of the rotation vectors,
        and of the shifts.
    """
    particles = read_particles(table, need_images=False)
    true = load_array(truth, dtype=np.floating, ndim=2)
    if true.shape != (len(particles), 5):
        raise InputError(
            f"{truth}: has shape {true.shape}, but ({len(particles)}, 5) is needed for {table}"
        )
    given, right = euler_matrices(particles.angles), euler_matrices(true[:, :3])
    apart = rotation_vectors(given.transpose(0, 2, 1) @ right)
    return {
        "degrees": float(np.sqrt(np.square(apart).mean())),
        "angstrom": float(np.sqrt(np.square(particles.shifts - true[:, 3:]).mean())),
    }


def run_score(
    table: Path,
    truth_path: Path,
    *,
    order: Path | None = None,
    assignments: Path | None = None,
    reference: Sequence[str] = (),
    save_reference: Path | None = None,
    true_poses: Path | None = None,
    options: ReferenceOptions | None = None,
    threads: int = 1,
    progress: Progress = no_progress,
) -> tuple[Score, dict[str, Any]]:
    """Score the classes of a table.

    Parameters
    ----------
    table : Path
        Particles with ``rlnClassNumber``; 0: voted out.
    truth_path : Path
        State of every particle.
    order : Path, optional
        Table that the truth follows, see :func:`read_labels`.
    assignments : Path, optional
        ``resample/assignments.npy``: adds the purity of the volumes, and what votes would give
        if every volume had its true label.
    reference : sequence of str
        Conformers (files, folder, or a molecule's name), or one ``.npy`` file of an earlier run.
    save_reference : Path, optional
        Where to keep labels and certainties of the reference.
    true_poses : Path, optional
        ``true_poses.npy`` of the simulation: adds the errors of the table's poses.
    options : ReferenceOptions, optional
        For the reference classifier.
    threads : int
        Threads.
    progress : Progress
        Callback.

    Returns
    -------
    Score, dict
        The score, and all figures as a dictionary that JSON can hold.
    """
    truth = read_truth(truth_path)
    labels = read_labels(table, len(truth), order)
    score = score_classes(labels, truth)
    report: dict[str, Any] = score.summary()
    report["per_state"] = [
        {
            "state": int(score.states[k]),
            "class": int(score.classes[k]),
            "particles": int(score.particles[k]),
            "precision": float(score.precision[k]),
            "recall": float(score.recall[k]),
            "found": bool(score.found[k]),
        }
        for k in range(len(score.states))
    ]
    if true_poses is not None:
        report["pose_errors"] = pose_errors(table, true_poses)
    if assignments is not None:
        report["volumes"] = _score_volumes(assignments, truth)
    if reference:
        known = _reference(
            reference, order or table, len(truth), options or ReferenceOptions(), threads, progress
        )
        if save_reference is not None:
            save_array(save_reference, known)
        report["reference"] = _compare(known, truth, score)
    return score, report


def _score_volumes(path: Path, truth: Array) -> dict[str, Any]:
    assignments = load_array(path, dtype=np.integer, ndim=2)
    if len(assignments) != len(truth):
        raise InputError(f"{path}: has {len(assignments)} rows, the truth {len(truth)}")
    _, purity = volume_labels(assignments, truth)
    perfect = score_classes(perfect_votes(assignments, truth), truth)
    return {"precision": purity, "votes_with_true_labels": perfect.summary()}


def _reference(
    given: Sequence[str],
    table: Path,
    particles: int,
    options: ReferenceOptions,
    threads: int,
    progress: Progress,
) -> Array:
    if len(given) == 1 and given[0].endswith(".npy"):
        path = Path(given[0])
        known = load_array(path, dtype=np.floating, ndim=2)
        if known.shape != (particles, 2):
            raise InputError(
                f"{path}: has shape {known.shape}, but ({particles}, 2) is needed: label and "
                "certainty of every particle, as --save-reference writes them"
            )
        return known
    return make_reference(given, table, options, threads=threads, progress=progress)


def _compare(known: Array, truth: Array, score: Score) -> dict[str, Any]:
    labels = known[:, 0].astype(np.int64)
    kept = score_classes(keep_most_certain(labels, known[:, 1], score.kept), truth)
    return {
        "accuracy": float((labels == truth).mean()),
        "all_kept": score_classes(labels, truth).summary(),
        "same_share_kept": kept.summary(),
        "precision_ratio": score.mean_precision / max(kept.mean_precision, 1e-12),
        "recall_ratio": score.mean_recall / max(kept.mean_recall, 1e-12),
    }


def format_report(report: dict[str, Any]) -> str:
    """The figures as a table for people."""
    lines = ["state  class  particles  precision  recall"]
    for row in report["per_state"]:
        name = row["class"] if row["found"] else "-"
        lines.append(
            f"{row['state']:5d}  {name!s:>5}  {row['particles']:9d}  "
            f"{row['precision']:9.3f}  {row['recall']:6.3f}"
        )
    lines.append(f"\nmean precision {report['precision']:.3f}, mean recall {report['recall']:.3f}")
    lines.append(f"states found {report['states_found']} of {report['states']}")
    lines.append(f"share of particles kept {report['kept']:.3f}")
    if "pose_errors" in report:
        errors = report["pose_errors"]
        lines.append(
            f"errors of the poses {errors['degrees']:.3f} degrees, {errors['angstrom']:.3f} A on "
            "each axis"
        )
    if "volumes" in report:
        ideal = report["volumes"]["votes_with_true_labels"]
        lines.append(f"precision of the resampled volumes {report['volumes']['precision']:.3f}")
        lines.append(
            f"votes if every volume had its true label: precision {ideal['precision']:.3f}, "
            f"recall {ideal['recall']:.3f}, states {ideal['states_found']}, "
            f"kept {ideal['kept']:.3f}"
        )
    if "reference" in report:
        same = report["reference"]["same_share_kept"]
        lines.append(
            f"reference classifier at the same share kept: precision {same['precision']:.3f}, "
            f"recall {same['recall']:.3f}; accuracy with all kept "
            f"{report['reference']['accuracy']:.3f}"
        )
        lines.append(f"ratio of precision to the reference {_ratio(report):.3f}")
    return "\n".join(lines)


def _ratio(report: dict[str, Any]) -> float:
    return float(report["reference"]["precision_ratio"])
