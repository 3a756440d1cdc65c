"""What decides the result of the resample stage, and its steps."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from alphacryo4d.core.job import Step, Work
from alphacryo4d.ml3d.options import ClassifyOptions
from alphacryo4d.particles.particle_set import ParticleSet
from alphacryo4d.particles.views import settled
from alphacryo4d.relion.options import RelionOptions
from alphacryo4d.resample.fold_stage import CHECKPOINT
from alphacryo4d.resample.options import ResampleOptions

_FOLD_STEPS = "batch*/u*"
_STEPS = (
    Step("split", ("resample.batch_size", "resample.folds", "seed"), ("*.star", "*.cs")),
    Step(
        _FOLD_STEPS,
        ("resample.engine", "resample.minimum_class_size", "classify.*", "relion.*", "seed"),
        after=("split",),
    ),
    Step("gather", ("resample.box",), (), after=(_FOLD_STEPS,)),
)
_REMNANTS = (f"{_FOLD_STEPS}/{CHECKPOINT}", "scratch")


@dataclass(frozen=True)
class ResamplePlan:
    """Everything that decides the result of the stage."""

    resample: ResampleOptions
    classify: ClassifyOptions
    relion: RelionOptions
    seed: int

    @property
    def folds(self) -> int:
        """Number of folds, M + 1."""
        return self.resample.folds + 1

    def settled(self, particles: ParticleSet, folder: Path | None = None) -> ResamplePlan:
        """The plan with what the images decide (:func:`alphacryo4d.particles.views.settled`)."""
        engine = self.resample.engine
        return replace(
            self, classify=settled(self.classify, particles, engine=engine, folder=folder)
        )

    def recorded(self) -> dict[str, Any]:
        """Options for ``job.json``; those of RELION only where they change anything."""
        recorded: dict[str, Any] = {"resample": self.resample, "classify": self.classify}
        default = RelionOptions()
        of_maps = {
            name: getattr(self.relion, name)
            for name in ("symmetry", "mask")
            if getattr(self.relion, name) != getattr(default, name)
        }
        if self.resample.engine == "relion":
            recorded["relion"] = self.relion
        elif of_maps:
            recorded["relion"] = of_maps
        return recorded

    def of_folds(self) -> dict[str, Any]:
        """Options that the classification of a fold depends on."""
        kept = ("engine", "minimum_class_size")
        return self.recorded() | {"resample": {name: getattr(self.resample, name) for name in kept}}

    def work(self, table: Path, particles: ParticleSet) -> Work:
        """The stage as a graph of steps: split, every fold, gather."""
        inputs = (table, *particles.stacks, *self.masks)
        return Work("resample", self.recorded(), inputs, self.seed, _STEPS, _REMNANTS)

    @property
    def masks(self) -> list[Path]:
        """Masks that the result depends on."""
        return [path for path in (self.relion.mask, self.classify.focus_mask) if path is not None]
