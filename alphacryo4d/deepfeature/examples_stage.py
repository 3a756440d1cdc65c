"""Some volumes as the trained network gives them back, to be looked at."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np

from alphacryo4d.core import files
from alphacryo4d.core.errors import InputError
from alphacryo4d.deepfeature.checkpoint_stage import load_arrays
from alphacryo4d.deepfeature.devices import start_keras
from alphacryo4d.deepfeature.features import reconstruct_volumes
from alphacryo4d.deepfeature.options import NetworkOptions
from alphacryo4d.deepfeature.volumes_stage import Volumes

EXAMPLES = 3


def example_rows(count: int) -> list[int]:
    """Rows of the volumes that are looked at: first, middle and last."""
    return sorted(set(np.linspace(0, count - 1, min(EXAMPLES, count)).astype(int).tolist()))


def read_network(path: Path) -> tuple[int, NetworkOptions]:
    """Box size and options of a trained network from its ``network.toml``."""
    if not path.is_file():
        raise InputError(f"{path}: no such file; train first")
    try:
        values = dict(tomllib.loads(path.read_text(encoding="utf-8"))["network"])
        return int(values.pop("box")), NetworkOptions(**values)
    except (ArithmeticError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise InputError(f"{path}: does not describe a network ({error})") from error


def write_reconstructions(volumes: Volumes, folder: Path, model: Path) -> Path:
    """Write ``reconstructions.npy``, float32 (3, n, n, n): the network's output of some volumes.

    Parameters
    ----------
    volumes : Volumes
    folder : Path
        Where to write.
    model : Path
        Folder of the training.
    """
    box, network = read_network(model / files.NETWORK_TOML)
    source = model / files.WEIGHTS_NPZ
    start_keras()
    some = volumes.read(np.array(example_rows(volumes.count)))
    if some.shape[1] != box:
        raise InputError(f"{source}: trained on boxes of {box} voxels")
    made = reconstruct_volumes(some, load_arrays(source), network=network, source=str(source))
    return files.save_array(folder / files.RECONSTRUCTIONS_NPY, made)
