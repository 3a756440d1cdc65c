"""Deep features with the prototype's files: data_dl.npy, check, result/feature.npy."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import numpy as np

from alphacryo4d.core import files
from alphacryo4d.core.errors import InputError, UsageError
from alphacryo4d.core.run_flags import RunFlags
from alphacryo4d.deepfeature.features_stage import write_features
from alphacryo4d.deepfeature.options import DeepFeatureOptions, NetworkOptions, TrainOptions
from alphacryo4d.deepfeature.stage import run_deepfeature
from alphacryo4d.deepfeature.volumes_stage import Volumes

logger = logging.getLogger(__name__)


def model_paths(path: Path) -> tuple[Path, Path]:
    """Weights and description of a model: ``check.h5`` stands for ``check.npz``, ``check.toml``.

    Raises
    ------
    InputError
        A ``.h5`` file of that name exists; such files can run code and are not read.
    """
    if path.suffix == ".h5" and path.exists():
        raise InputError(
            f"{path}: .h5 models are neither read nor replaced; move it away and train again"
        )
    stem = path.with_suffix("") if path.suffix in (".h5", ".npz") else path
    return Path(f"{stem}.npz"), Path(f"{stem}.toml")


def _copy(source: Path, target: Path) -> None:
    with files.atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)


def train_model(
    data: Path,
    *,
    options: TrainOptions,
    checkpoint: Path,
    final_model: Path,
    gpu: str | None = None,
    seed: int = 0,
    process: Path = Path("train_process.npz"),
) -> list[Path]:
    """Train on ``data_dl.npy`` and write the best model under both names (``run_resnet.py``).

    An unfinished training with the same options goes on; other options start anew.

    Parameters
    ----------
    data : Path
        Volumes (V, N, N, N).
    options : TrainOptions
        How to train.
    checkpoint, final_model : Path
        Where the model goes; the training itself is in ``check_training`` beside the first.
    gpu : str, optional
        GPU ids.
    seed : int
        Random seed.
    process : Path
        ``.npz`` with the loss of every epoch.
    """
    targets = [model_paths(checkpoint), model_paths(final_model)]
    folder = targets[0][0].with_name(f"{targets[0][0].stem}_training")
    settings = {
        "options": DeepFeatureOptions(NetworkOptions(), options),
        "seed": seed,
        "gpu": gpu,
        "extract": False,
    }
    try:
        run_deepfeature(data, folder, **settings)  # type: ignore[arg-type]
    except UsageError as other:
        if "holds the results of other work" not in str(other):
            raise
        logger.info("the training before this one was other work; it is replaced")
        run_deepfeature(data, folder, flags=RunFlags(overwrite=True), **settings)  # type: ignore[arg-type]
    for weights, description in targets:
        _copy(folder / files.WEIGHTS_NPZ, weights)
        _copy(folder / files.NETWORK_TOML, description)
    history = np.genfromtxt(folder / files.HISTORY_CSV, delimiter=",", names=True, ndmin=1)
    with files.atomic_path(process) as temporary:
        np.savez(temporary, epochs=np.arange(len(history)), loss=history["loss"])
    return [path for pair in targets for path in pair]


def predict_features(data: Path, *, model: Path, batch_size: int, output: Path) -> Path:
    """Write ``result/feature.npy``, (V, N/4, N/4, N/4, 1) float32 (``run_predict.py``)."""
    weights, description = model_paths(model)
    for path in (weights, description):
        if not path.is_file():
            raise InputError(f"{path}: no such file; run run_resnet.py first")
    volumes = Volumes(data)
    volumes.check()
    return write_features(
        volumes.read,
        volumes.count,
        volumes.box,
        model=weights,
        description=description,
        output=output,
        batch_size=batch_size,
    )
