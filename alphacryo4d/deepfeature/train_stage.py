"""The step ``train``: volumes in, weights and history out."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

from alphacryo4d.core import files
from alphacryo4d.core.deadline import Deadline
from alphacryo4d.core.job import Job
from alphacryo4d.core.progress import show_progress
from alphacryo4d.deepfeature.checkpoint_stage import (
    load_state,
    remove_checkpoints,
    save_arrays,
    save_state,
)
from alphacryo4d.deepfeature.devices import choose_devices
from alphacryo4d.deepfeature.feed import split_volumes
from alphacryo4d.deepfeature.judgement import judge
from alphacryo4d.deepfeature.options import DeepFeatureOptions
from alphacryo4d.deepfeature.plots import plot_history
from alphacryo4d.deepfeature.state import HISTORY, Training, TrainingState
from alphacryo4d.deepfeature.training import train_autoencoder
from alphacryo4d.deepfeature.volumes_stage import Volumes
from alphacryo4d.deepfeature.work_stage import CHECKPOINTS

logger = logging.getLogger(__name__)


def _write_network(path: Path, box: int, options: DeepFeatureOptions) -> Path:
    lines = ["# What rebuilds the network of weights.npz", "[network]", f"box = {box}"]
    for name, section in (("", options.network), ("train", options.train)):
        lines += ["", f"[{name}]"] if name else []
        for field, value in dataclasses.asdict(section).items():
            if value is not None:
                text = str(value).lower() if isinstance(value, bool) else repr(value)
                lines.append(f"{field} = {text}")
    return files.write_text(path, "\n".join(lines) + "\n")


def _write_training(folder: Path, result: Training) -> list[Path]:
    rows = [",".join(HISTORY)]
    rows += [
        ",".join([f"{row[0]:.0f}", *(f"{value:.9g}" for value in row[1:])])
        for row in result.history
    ]
    return [
        files.write_text(folder / files.HISTORY_CSV, "\n".join(rows) + "\n"),
        plot_history(folder / files.LOSS_PNG, result.history, result.mean_error),
        save_arrays(folder / files.WEIGHTS_NPZ, dict(result.weights)),
    ]


def _say_who_is_held_out(count: int, wanted: int | None, seed: int) -> None:
    train, held_out = split_volumes(count, wanted, seed)
    logger.info("%d volumes to train on, %d held out", len(train), len(held_out))
    if wanted is not None and len(held_out) < wanted:
        logger.warning(
            "--validation-size %d is more than half of %d volumes: %d are held out",
            wanted,
            count,
            len(held_out),
        )


def train_volumes(
    volumes: Volumes,
    folder: Path,
    options: DeepFeatureOptions,
    *,
    seed: int,
    gpu: str | None,
    deadline: Deadline,
    job: Job,
) -> None:
    """Train on volumes, or go on from a checkpoint, and write what the training leaves.

    Parameters
    ----------
    volumes : Volumes
        What to train on.
    folder : Path
        Where to write.
    options : DeepFeatureOptions
        Network and training.
    seed : int
        Random seed.
    gpu : str, optional
        GPU ids such as ``0,1``.
    deadline : Deadline
        Looked at after every epoch.
    job : Job
        Record of the step ``train``.
    """
    _say_who_is_held_out(volumes.count, options.train.validation_size, seed)
    devices = choose_devices(gpu)
    checkpoints = folder / CHECKPOINTS
    start = load_state(checkpoints)
    if start is not None:
        logger.info("going on after epoch %d", start.epochs)

    def keep(state: TrainingState) -> None:
        save_state(checkpoints, state)
        deadline.check()

    with show_progress("training") as progress:
        result = train_autoencoder(
            volumes.read,
            volumes.count,
            volumes.box,
            network=options.network,
            options=options.train,
            seed=seed,
            devices=devices,
            start=start,
            keep=keep,
            progress=progress,
        )
    _write_all(volumes.box, folder, options, result, job)


def _write_all(
    box: int, folder: Path, options: DeepFeatureOptions, result: Training, job: Job
) -> None:
    judge(result)
    job.note(
        epochs=len(result.history),
        held_out_error=result.error,
        mean_volume_error=result.mean_error,
    )
    network = _write_network(folder / files.NETWORK_TOML, box, options)
    job.complete("train", [*_write_training(folder, result), network])
    checkpoints = folder / CHECKPOINTS
    remove_checkpoints(checkpoints)
    if checkpoints.is_dir() and not any(checkpoints.iterdir()):
        checkpoints.rmdir()
