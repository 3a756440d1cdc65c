"""The deepfeature stage: volumes in, feature maps and a trained network out."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from alphacryo4d.core import files
from alphacryo4d.core.errors import UsageError
from alphacryo4d.core.job import Job, start_work
from alphacryo4d.core.run_flags import RunFlags
from alphacryo4d.deepfeature.devices import limited_cores
from alphacryo4d.deepfeature.features_stage import extract_volumes
from alphacryo4d.deepfeature.native_noise import has_gpu, without_noise
from alphacryo4d.deepfeature.options import DeepFeatureOptions
from alphacryo4d.deepfeature.train_stage import train_volumes
from alphacryo4d.deepfeature.volumes_stage import Volumes
from alphacryo4d.deepfeature.work_stage import sections, work_of


def _run(
    source: Path,
    output: Path,
    work: Callable[[Volumes, Job], None],
    *,
    flags: RunFlags,
    more_inputs: tuple[Path, ...] = (),
    stage: str,
    options: dict[str, Any],
    seed: int | None = None,
) -> list[Path]:
    volumes = Volumes(source)
    wanted = work_of(stage, options, (*volumes.inputs, *more_inputs), seed)
    with start_work(output, wanted, flags=flags) as job:
        if not job.finished:
            volumes.check()
            quiet = without_noise() if has_gpu() else nullcontext()
            with limited_cores(flags.threads), quiet:
                work(volumes, job)
        return job.outputs


def run_deepfeature(
    resample_folder: Path,
    output: Path,
    *,
    options: DeepFeatureOptions,
    seed: int = 0,
    gpu: str | None = None,
    flags: RunFlags = RunFlags(),
    extract: bool = True,
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
    gpu : str, optional
        GPU ids such as ``0,1``.
    flags : RunFlags, optional
    extract : bool
        Extract the features too.
    """

    def work(volumes: Volumes, job: Job) -> None:
        if not job.completed("train"):
            train_volumes(
                volumes, job.folder, options, seed=seed, gpu=gpu, deadline=flags.deadline, job=job
            )
        if extract and not job.completed("extract"):
            extract_volumes(volumes, job.folder, job.folder, options.train.batch_size, job)

    stage = files.DEEPFEATURE if extract else f"{files.DEEPFEATURE} train"
    return _run(
        resample_folder,
        output,
        work,
        stage=stage,
        options=sections(options),
        seed=seed,
        flags=flags,
    )


def run_extract(
    resample_folder: Path,
    output: Path,
    *,
    model: Path,
    batch_size: int = 8,
    flags: RunFlags = RunFlags(),
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
    flags : RunFlags, optional
    """
    if model.resolve() == output.resolve():
        raise UsageError(f"{output}: holds the training; take another --o for its features")
    return _run(
        resample_folder,
        output,
        lambda volumes, job: extract_volumes(volumes, job.folder, model, batch_size, job),
        stage=f"{files.DEEPFEATURE} extract",
        options={"batch_size": batch_size},
        more_inputs=(model / files.WEIGHTS_NPZ, model / files.NETWORK_TOML),
        flags=flags,
    )
