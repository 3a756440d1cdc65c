"""Whether a trained network has learned anything."""

from __future__ import annotations

import logging

from alphacryo4d.deepfeature.state import Training

logger = logging.getLogger(__name__)

_LARGEST_RATIO = 0.999


def judge(result: Training) -> None:
    """Say how the network compares with predicting the mean volume."""
    logger.info(
        "held-out error %.4g, of predicting the mean volume %.4g (ratio %.2f)",
        result.error,
        result.mean_error,
        result.error / max(result.mean_error, 1e-30),
    )
    if result.error >= _LARGEST_RATIO * result.mean_error:
        logger.warning(
            "WARNING: the network is no better than predicting the mean volume: its features say "
            "little about conformations; take more volumes or epochs, or --regularization 0"
        )
