"""The step ``extract``: feature maps of volumes by a trained network."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from alphacryo4d.core import files
from alphacryo4d.core.errors import InputError
from alphacryo4d.core.job import Job
from alphacryo4d.core.progress import show_progress
from alphacryo4d.deepfeature.checkpoint_stage import load_arrays
from alphacryo4d.deepfeature.devices import start_keras
from alphacryo4d.deepfeature.examples_stage import read_network, write_reconstructions
from alphacryo4d.deepfeature.features import extract_features
from alphacryo4d.deepfeature.feed import ReadVolumes
from alphacryo4d.deepfeature.volumes_stage import Volumes

logger = logging.getLogger(__name__)


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
    start_keras()
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


def extract_volumes(volumes: Volumes, folder: Path, model: Path, batch_size: int, job: Job) -> None:
    """Write the features of volumes and some reconstructions, by the training in ``model``."""
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
