"""Checkpoints of the training as plain arrays, in two generations."""

from __future__ import annotations

import logging
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alphacryo4d.core.errors import InputError
from alphacryo4d.core.files import atomic_path
from alphacryo4d.core.reading import load_archive
from alphacryo4d.deepfeature.state import TrainingState

logger = logging.getLogger(__name__)

_NAMES = ("checkpoint1.npz", "checkpoint2.npz")


def save_arrays(path: Path, arrays: dict[str, NDArray[Any]]) -> Path:
    """Write arrays as one ``.npz`` whole or not at all, the same bytes for the same arrays."""
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            with archive.open(entry, "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, np.asarray(array), allow_pickle=False)
    return path


def load_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read the arrays of an ``.npz``; never unpickles.

    Raises
    ------
    InputError
        The file is missing, damaged or holds objects.
    """
    if path.suffix == ".h5":
        raise InputError(f"{path}: .h5 models are not read, they can run code; train again")
    return load_archive(path)


def save_state(folder: Path, state: TrainingState) -> None:
    """Write the state of the training beside the generation before."""
    arrays: dict[str, NDArray[Any]] = {
        "stopped": np.array(state.stopped),
        "history": np.array(state.history, float),
        "best_error": np.array(state.best_error),
    }
    arrays |= {f"weights:{name}": array for name, array in state.weights.items()}
    arrays |= {f"best:{name}": array for name, array in state.best_weights.items()}
    arrays |= {f"optimizer:{i:04d}": array for i, array in enumerate(state.optimizer)}
    save_arrays(folder / _NAMES[state.epochs % 2], arrays)


def _part(arrays: dict[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}


def _state_of(arrays: dict[str, NDArray[Any]]) -> TrainingState:
    if "stopped" not in arrays:
        raise InputError("of an earlier version; the training starts again")
    return TrainingState(
        history=[tuple(row) for row in arrays["history"].tolist()],
        stopped=bool(arrays["stopped"]),
        best_error=float(arrays["best_error"]),
        weights=_part(arrays, "weights:"),
        best_weights=_part(arrays, "best:"),
        optimizer=list(_part(arrays, "optimizer:").values()),
    )


def load_state(folder: Path) -> TrainingState | None:
    """Newest state that can be read, or None."""
    states = []
    for name in _NAMES:
        if not (folder / name).is_file():
            continue
        try:
            states.append(_state_of(load_arrays(folder / name)))
        except (InputError, KeyError, ValueError) as error:
            logger.warning("checkpoint left out: %s", error)
    return max(states, key=lambda state: state.epochs, default=None)


def remove_checkpoints(folder: Path) -> None:
    """Remove both generations."""
    for name in _NAMES:
        (folder / name).unlink(missing_ok=True)
