"""The deepfeature stage: volumes in, feature maps and a trained network out."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from alphacryo4d.core import files
from alphacryo4d.core.errors import InputError, UsageError
from alphacryo4d.core.job import Deadline, Job, start_work
from alphacryo4d.core.progress import show_progress
from alphacryo4d.deepfeature.checkpoint_stage import (
    load_arrays,
    load_state,
    remove_checkpoints,
    save_arrays,
    save_state,
)
from alphacryo4d.deepfeature.devices import (
    choose_devices,
    limited_cores,
    make_strategy,
    start_tensorflow,
)
from alphacryo4d.deepfeature.examples_stage import read_network, write_reconstructions
from alphacryo4d.deepfeature.judgement import judge
from alphacryo4d.deepfeature.options import DeepFeatureOptions
from alphacryo4d.deepfeature.plots import plot_history
from alphacryo4d.deepfeature.training import (
    HISTORY,
    ReadVolumes,
    Training,
    extract_features,
    split_volumes,
    train_autoencoder,
)
from alphacryo4d.deepfeature.volumes_stage import Volumes
from alphacryo4d.deepfeature.work_stage import CHECKPOINTS, sections, work_of

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


def _train(
    volumes: Volumes,
    folder: Path,
    options: DeepFeatureOptions,
    *,
    seed: int,
    gpu: str | None,
    deadline: Deadline,
    job: Job,
) -> None:
    wanted = options.train.validation_size
    train, held_out = split_volumes(volumes.count, wanted, seed)
    logger.info("%d volumes to train on, %d held out", len(train), len(held_out))
    if wanted is not None and len(held_out) < wanted:
        logger.warning(
            "--validation-size %d is more than half of %d volumes: %d are held out",
            wanted,
            volumes.count,
            len(held_out),
        )
    strategy = make_strategy(choose_devices(gpu), min(options.train.batch_size, len(train)))
    checkpoints = folder / CHECKPOINTS
    start = load_state(checkpoints)
    if start is not None:
        logger.info("going on after epoch %d", start.epochs)

    def keep(state: Any) -> None:
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
            strategy=strategy,
            start=start,
            keep=keep,
            progress=progress,
        )
    judge(result)
    job.note(
        epochs=len(result.history),
        held_out_error=result.error,
        mean_volume_error=result.mean_error,
    )
    network = _write_network(folder / files.NETWORK_TOML, volumes.box, options)
    job.complete("train", [*_write_training(folder, result), network])
    remove_checkpoints(checkpoints)
    if checkpoints.is_dir() and not any(checkpoints.iterdir()):
        checkpoints.rmdir()


def write_features(
    read: ReadVolumes,
    count: int,
    box: int,
    *,
    model: Path,
    description: Path,
    output: Path,
    batch_size: int = 8,
) -> Path:
    """Feature maps of all volumes by a trained network.

    Parameters
    ----------
    read : callable
        Normalised volumes of some rows.
    count, box : int
        Number of volumes and their box size in voxels.
    model, description : Path
        ``weights.npz`` and ``network.toml`` of the training.
    output : Path
        ``.npy`` file to write, float32 (V, n/4, n/4, n/4, c).
    batch_size : int
        Volumes at a time.
    """
    trained_box, network = read_network(description)
    if trained_box != box:
        raise InputError(
            f"{description}: trained on boxes of {trained_box} voxels, the volumes have {box}; "
            "train with these volumes"
        )
    weights = load_arrays(model)
    start_tensorflow()
    shape = (count, *(box // 4,) * 3, network.narrow_filters)
    with (
        show_progress("features") as progress,
        files.create_array(output, shape, np.float32) as features,
    ):
        for rows, part in extract_features(
            read,
            count,
            box,
            weights,
            network=network,
            batch_size=batch_size,
            source=str(model),
            progress=progress,
        ):
            features[rows] = part
    return output


def _extract(volumes: Volumes, folder: Path, model: Path, batch_size: int, job: Job) -> None:
    output = write_features(
        volumes.read,
        volumes.count,
        volumes.box,
        model=model / files.WEIGHTS_NPZ,
        description=model / files.NETWORK_TOML,
        output=folder / files.FEATURES_NPY,
        batch_size=batch_size,
    )
    features = files.load_array(output, memory_map=True)
    if not np.isfinite(features).all():
        raise InputError(f"{output}: feature maps are not finite; train with a lower rate")
    if volumes.count > 1 and np.ptp(features, axis=0).max() == 0:
        logger.warning("WARNING: the feature maps of all volumes are the same")
    job.complete("extract", [output, write_reconstructions(volumes, folder, model)])


def _run(
    source: Path,
    output: Path,
    work: Callable[[Volumes, Job], None],
    *,
    threads: int | None = None,
    more_inputs: tuple[Path, ...] = (),
    stage: str,
    options: dict[str, Any],
    seed: int | None = None,
    **flags: bool,
) -> list[Path]:
    volumes = Volumes(source)
    wanted = work_of(stage, options, (*volumes.inputs, *more_inputs), seed)
    with start_work(output, wanted, **flags) as job:
        if not job.finished:
            volumes.check()
            with limited_cores(threads):
                work(volumes, job)
        return job.outputs


def run_deepfeature(
    resample_folder: Path,
    output: Path,
    *,
    options: DeepFeatureOptions,
    seed: int = 0,
    threads: int | None = None,
    gpu: str | None = None,
    overwrite: bool = False,
    resume: bool = False,
    extract: bool = True,
    max_time: float | None = None,
) -> list[Path]:
    """Train the autoencoder on the volumes of the resample stage and extract their features.

    Parameters
    ----------
    resample_folder : Path
        Folder with ``volumes.npy``, or an array of volumes.
    output : Path
        Folder for features, history, weights and ``network.toml``.
    options : DeepFeatureOptions
        Network and training.
    seed : int
        Random seed.
    threads : int, optional
        Cores to use; does not change the result.
    gpu : str, optional
        GPU ids such as ``0,1``.
    overwrite, resume : bool
        ``--overwrite`` and ``--continue``.
    extract : bool
        Extract the features too.
    max_time : float, optional
        Stop cleanly after this many hours.
    """
    deadline = Deadline(max_time)

    def work(volumes: Volumes, job: Job) -> None:
        if not job.completed("train"):
            _train(volumes, job.folder, options, seed=seed, gpu=gpu, deadline=deadline, job=job)
        if extract and not job.completed("extract"):
            _extract(volumes, job.folder, job.folder, options.train.batch_size, job)

    stage = files.DEEPFEATURE if extract else f"{files.DEEPFEATURE} train"
    return _run(
        resample_folder,
        output,
        work,
        stage=stage,
        options=sections(options),
        seed=seed,
        overwrite=overwrite,
        resume=resume,
        threads=threads,
    )


def run_extract(
    resample_folder: Path,
    output: Path,
    *,
    model: Path,
    batch_size: int = 8,
    threads: int | None = None,
    overwrite: bool = False,
    resume: bool = False,
) -> list[Path]:
    """Extract the features of volumes with a network that was trained before.

    Parameters
    ----------
    resample_folder : Path
        Folder with ``volumes.npy``, or an array of volumes.
    output : Path
        Folder for ``features.npy``; not the folder of the training.
    model : Path
        Folder of the training, with ``weights.npz`` and ``network.toml``.
    batch_size : int
        Volumes at a time.
    threads, overwrite, resume
        As in :func:`run_deepfeature`.
    """
    if model.resolve() == output.resolve():
        raise UsageError(f"{output}: holds the training; take another --o for its features")
    return _run(
        resample_folder,
        output,
        lambda volumes, job: _extract(volumes, job.folder, model, batch_size, job),
        stage=f"{files.DEEPFEATURE} extract",
        options={"batch_size": batch_size},
        more_inputs=(model / files.WEIGHTS_NPZ, model / files.NETWORK_TOML),
        overwrite=overwrite,
        resume=resume,
        threads=threads,
    )
