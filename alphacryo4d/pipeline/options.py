"""Options of all stages together."""

from __future__ import annotations

from dataclasses import dataclass, field

from alphacryo4d.deepfeature.options import DeepFeatureOptions
from alphacryo4d.landscape.options import LandscapeOptions, StatesOptions
from alphacryo4d.ml3d.options import ClassifyOptions
from alphacryo4d.particle_landscape.options import CoordinateOptions, DensityOptions
from alphacryo4d.reclassify.options import ReclassifyOptions
from alphacryo4d.relion.options import RelionOptions
from alphacryo4d.resample.options import ResampleOptions
from alphacryo4d.voting.options import VoteOptions


@dataclass(frozen=True)
class ParticleLandscapeOptions:
    """The options of the particle landscape."""

    particles: CoordinateOptions = field(default_factory=CoordinateOptions)
    density: DensityOptions = field(default_factory=DensityOptions)


@dataclass(frozen=True)
class PipelineOptions:
    """The options of all stages; without those of the later ones the votes are the end."""

    resample: ResampleOptions
    classify: ClassifyOptions
    deepfeature: DeepFeatureOptions
    landscape: LandscapeOptions
    vote: VoteOptions
    relion: RelionOptions = field(default_factory=RelionOptions)
    reclassify: ReclassifyOptions | None = None
    particle_landscape: ParticleLandscapeOptions | None = None


DEMO = PipelineOptions(
    resample=ResampleOptions(),
    classify=ClassifyOptions(classes="4x4", iterations=15),
    deepfeature=DeepFeatureOptions(),
    landscape=LandscapeOptions(states=StatesOptions(states="8")),
    vote=VoteOptions(),
    reclassify=ReclassifyOptions(),
)
"""What `alphacryo4d demo` runs: 16 classes a fold are enough for its 8 states."""
