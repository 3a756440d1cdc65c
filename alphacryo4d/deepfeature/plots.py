"""Figure of the training: error over epochs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alphacryo4d.core.files import atomic_path


def plot_history(path: Path, history: NDArray[np.float64], mean_error: float) -> Path:
    """Draw training and held-out error, the best epoch and the changes of the rate.

    Parameters
    ----------
    path : Path
        Image to write, ``.png`` or ``.pdf``.
    history : (epochs, 5) array
        Epoch, learning rate, loss, error and held-out error.
    mean_error : float
        Held-out error of predicting the mean volume.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    epochs, rates, _, error, held_out = history.T
    figure = Figure(figsize=(6, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot(epochs, error, marker=".", color="C0", label="training volumes")
    axes.plot(epochs, held_out, marker=".", color="C1", label="held-out volumes")
    axes.axhline(mean_error, color="0.5", linestyle="--", label="mean volume, held out")
    best = int(np.argmin(held_out))
    axes.plot(epochs[best], held_out[best], "o", mfc="none", ms=10, color="C1", label="kept")
    for epoch in epochs[1:][rates[1:] < rates[:-1]]:
        axes.axvline(epoch - 0.5, color="0.8", linewidth=0.8, zorder=0)
    axes.set_yscale("log")
    axes.set_xlabel("epoch (grey lines: learning rate lowered)")
    axes.set_ylabel("mean squared error")
    axes.legend(frameon=False)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=150, metadata={"Software": None})
    return path
