"""The steps of the deepfeature stage, and what each depends on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alphacryo4d.core import files
from alphacryo4d.core.job import Step, Work
from alphacryo4d.deepfeature.options import DeepFeatureOptions

CHECKPOINTS = "checkpoints"
_STEPS = (Step("train"), Step("extract", (), (), after=("train",)))


def work_of(
    stage: str, options: dict[str, Any], inputs: tuple[Path, ...], seed: int | None
) -> Work:
    """Graph of the stage or of one of its commands."""
    return Work(stage, options, inputs, seed, _STEPS, (CHECKPOINTS,))


def deepfeature_work(resample_folder: Path, options: DeepFeatureOptions, seed: int = 0) -> Work:
    """Graph of the whole stage."""
    inputs = (resample_folder / files.VOLUMES_NPY, resample_folder / files.VOLUMES_STAR)
    return work_of(files.DEEPFEATURE, sections(options), inputs, seed)


def sections(options: DeepFeatureOptions) -> dict[str, Any]:
    """Options as ``job.json`` holds them."""
    return {"network": options.network, "train": options.train}
