"""Scoring as files: a table with classes and the truth in, figures out."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from alphacryo4d.assessment.options import ReferenceOptions
from alphacryo4d.assessment.pose_errors import format_pose_errors, pose_errors
from alphacryo4d.assessment.reference_stage import reference_of, reference_pose_errors
from alphacryo4d.assessment.score import (
    Score,
    keep_most_certain,
    perfect_votes,
    score_classes,
    volume_labels,
)
from alphacryo4d.core.arrays import Array
from alphacryo4d.core.errors import InputError
from alphacryo4d.core.files import load_array, save_array
from alphacryo4d.core.progress import Progress, no_progress
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
    labels = np.zeros(particles, np.int64)
    labels[matched_rows(path, order, particles)] = table.read([CLASS])[CLASS]
    return labels


def matched_rows(path: Path, order: Path, particles: int) -> Array:
    """Row (n,), in the table ``order``, of every image of the table ``path``."""
    known = [str(name) for name in open_table(order).read([IMAGE])[IMAGE]]
    if len(known) != particles:
        raise InputError(f"{order}: has {len(known)} rows, the truth {particles}")
    place = {name: row for row, name in enumerate(known)}
    names = [str(name) for name in open_table(path).read([IMAGE])[IMAGE]]
    for row, name in enumerate(names, 1):
        if name not in place:
            raise InputError(f"{path}: row {row}: image {name} is not in {order}")
    return np.array([place[name] for name in names], np.int64)


def read_truth(path: Path) -> Array:
    """States (P,) from 1; 0 of junk."""
    truth = load_array(path, dtype=np.integer, ndim=1).astype(np.int64)
    if not len(truth) or truth.min() < 0 or truth.max() < 1:
        raise InputError(f"{path}: states must be numbered from 1 (0: junk)")
    return truth


def read_pose_errors(
    table: Path, true: Path, truth: Array, order: Path | None = None
) -> dict[str, Any]:
    """Errors of the poses of a table, see :func:`alphacryo4d.assessment.pose_errors.pose_errors`.

    Parameters
    ----------
    table : Path
        With poses.
    true : Path
        ``true_poses.npy`` of the simulation, (P, 5): rot, tilt, psi in degrees, shifts in Angstrom.
    truth : (P,) int array
        State of every particle.
    order : Path, optional
        Table that the truth follows, see :func:`read_labels`.
    """
    particles = read_particles(table, need_images=False)
    if order is None:
        poses, rows = read_true_poses(true, table, len(particles)), np.arange(len(particles))
    else:
        poses, rows = (
            read_true_poses(true, order, len(truth)),
            matched_rows(table, order, len(truth)),
        )
    known = truth[rows] > 0
    right, estimated = poses[rows][known], (particles.angles[known], particles.shifts[known])
    return pose_errors(*estimated, right[:, :3], right[:, 3:], truth[rows][known])


def read_true_poses(true: Path, table: Path, particles: int) -> Array:
    """``true_poses.npy`` of a simulation, (P, 5)."""
    poses = load_array(true, dtype=np.floating, ndim=2)
    if poses.shape != (particles, 5):
        raise InputError(
            f"{true}: has shape {poses.shape}, but ({particles}, 5) is needed for {table}"
        )
    return poses


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
    table, truth_path : Path
        Particles with ``rlnClassNumber`` (0: voted out), and the state of every particle.
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
    progress : Progress

    Returns
    -------
    Score, dict
        The score, and all figures as a dictionary that JSON can hold.
    """
    truth = read_truth(truth_path)
    labels = read_labels(table, len(truth), order)
    score = score_classes(labels, truth)
    report: dict[str, Any] = score.summary()
    report["per_state"] = _per_state(score)
    if true_poses is not None:
        report["pose_errors"] = read_pose_errors(table, true_poses, truth, order)
    if assignments is not None:
        report["volumes"] = _score_volumes(assignments, truth)
    if reference:
        ordered = order or table
        known = reference_of(
            reference, ordered, len(truth), options or ReferenceOptions(), threads, progress
        )
        if save_reference is not None:
            save_array(save_reference, known)
        report["reference"] = _compare(known, truth, score)
        if true_poses is not None and known.shape[1] > 2:
            true = read_true_poses(true_poses, ordered, len(truth))
            report["reference"]["pose_errors"] = reference_pose_errors(known, true, truth)
    return score, report


def _per_state(score: Score) -> list[dict[str, Any]]:
    return [
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


def _score_volumes(path: Path, truth: Array) -> dict[str, Any]:
    assignments = load_array(path, dtype=np.integer, ndim=2)
    if len(assignments) != len(truth):
        raise InputError(f"{path}: has {len(assignments)} rows, the truth {len(truth)}")
    _, purity = volume_labels(assignments, truth)
    perfect = score_classes(perfect_votes(assignments, truth), truth)
    return {"precision": purity, "votes_with_true_labels": perfect.summary()}


def _compare(known: Array, truth: Array, score: Score) -> dict[str, Any]:
    known, truth = known[truth > 0], truth[truth > 0]
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
    if "junk_kept" in report:
        lines.append(f"share of the junk kept {report['junk_kept']:.3f}")
    if "pose_errors" in report:
        lines += format_pose_errors(report["pose_errors"])
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
        if "pose_errors" in report["reference"]:
            frame = report["reference"]["pose_errors"]["frame"]
            lines.append(
                f"errors of the poses that it finds {frame['degrees']:.3f} degrees, "
                f"{frame['angstrom']:.3f} A on each axis"
            )
    return "\n".join(lines)


def _ratio(report: dict[str, Any]) -> float:
    return float(report["reference"]["precision_ratio"])
