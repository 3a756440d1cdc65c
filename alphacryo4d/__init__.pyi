"""What type checkers see of the public names; ``__init__.py`` loads them when they are used."""

from alphacryo4d.assessment.score import score_classes as score_classes
from alphacryo4d.core.errors import AlphaCryo4DError as AlphaCryo4DError
from alphacryo4d.core.errors import InputError as InputError
from alphacryo4d.io.mrc import read_volume as read_volume
from alphacryo4d.io.mrc import write_volume as write_volume
from alphacryo4d.landscape.distances import squared_distances as squared_distances
from alphacryo4d.landscape.embedding import embed as embed
from alphacryo4d.landscape.energy import free_energy as free_energy
from alphacryo4d.landscape.options import EmbedOptions as EmbedOptions
from alphacryo4d.landscape.options import PathOptions as PathOptions
from alphacryo4d.landscape.options import StatesOptions as StatesOptions
from alphacryo4d.landscape.string_method import minimum_energy_path as minimum_energy_path
from alphacryo4d.landscape.surface import triangulated_surface as triangulated_surface
from alphacryo4d.maths.fsc import correlate_halves as correlate_halves
from alphacryo4d.maths.fsc import resolution_at as resolution_at
from alphacryo4d.maths.fsc import shell_correlation as fsc
from alphacryo4d.ml3d.classify import classify as classify
from alphacryo4d.ml3d.components import fit_components as fit_components
from alphacryo4d.ml3d.options import ClassifyOptions as ClassifyOptions
from alphacryo4d.ml3d.reconstruct import reconstruct as reconstruct
from alphacryo4d.particles.particle_set import ParticleSet as ParticleSet
from alphacryo4d.particles.particle_set import read_particles as read_particles
from alphacryo4d.particles.samples import prepare_rows as prepare_images
from alphacryo4d.pipeline.project import Landscape as Landscape
from alphacryo4d.pipeline.project import Project as Project
from alphacryo4d.pipeline.project import StateSet as StateSet
from alphacryo4d.reclassify.options import ReclassifyOptions as ReclassifyOptions
from alphacryo4d.resample.options import ResampleOptions as ResampleOptions
from alphacryo4d.voting.options import VoteOptions as VoteOptions
from alphacryo4d.voting.options import votes_needed as votes_needed
from alphacryo4d.voting.votes import count_votes as count_votes

__version__: str
__all__ = [
    "__version__",
    "Project",
    "StateSet",
    "Landscape",
    "ParticleSet",
    "read_particles",
    "prepare_images",
    "read_volume",
    "write_volume",
    "classify",
    "fit_components",
    "reconstruct",
    "squared_distances",
    "embed",
    "free_energy",
    "triangulated_surface",
    "minimum_energy_path",
    "count_votes",
    "votes_needed",
    "fsc",
    "correlate_halves",
    "resolution_at",
    "score_classes",
    "ResampleOptions",
    "ClassifyOptions",
    "EmbedOptions",
    "PathOptions",
    "StatesOptions",
    "VoteOptions",
    "ReclassifyOptions",
    "AlphaCryo4DError",
    "InputError",
]
