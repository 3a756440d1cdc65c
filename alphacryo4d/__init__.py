"""AlphaCryo4D: conformational landscapes and voted states from cryo-EM particles.

What a notebook needs, loaded when it is first used:

>>> import alphacryo4d
>>> alphacryo4d.free_energy([300, 100]).round(2).tolist()
[0.29, 1.39]

:class:`Project` reads the folder that ``alphacryo4d run`` wrote; the other names are the method on
arrays. All lengths are in Angstrom, angles in degrees, energies in kT; volumes are (z, y, x).
"""

from importlib import import_module as _import_module

__version__ = "0.1.0"

_WHERE = {
    "Project": ("pipeline.project", "Project"),
    "StateSet": ("pipeline.project", "StateSet"),
    "Landscape": ("pipeline.project", "Landscape"),
    "ParticleSet": ("particles.particle_set", "ParticleSet"),
    "read_particles": ("particles.particle_set", "read_particles"),
    "prepare_images": ("particles.samples", "prepare_rows"),
    "read_volume": ("io.mrc", "read_volume"),
    "write_volume": ("io.mrc", "write_volume"),
    "classify": ("ml3d.classify", "classify"),
    "fit_components": ("ml3d.components", "fit_components"),
    "reconstruct": ("ml3d.reconstruct", "reconstruct"),
    "squared_distances": ("landscape.distances", "squared_distances"),
    "embed": ("landscape.embedding", "embed"),
    "free_energy": ("landscape.energy", "free_energy"),
    "triangulated_surface": ("landscape.surface", "triangulated_surface"),
    "minimum_energy_path": ("landscape.string_method", "minimum_energy_path"),
    "count_votes": ("voting.votes", "count_votes"),
    "votes_needed": ("voting.options", "votes_needed"),
    "fsc": ("maths.fsc", "shell_correlation"),
    "correlate_halves": ("maths.fsc", "correlate_halves"),
    "resolution_at": ("maths.fsc", "resolution_at"),
    "score_classes": ("assessment.score", "score_classes"),
    "ResampleOptions": ("resample.options", "ResampleOptions"),
    "ClassifyOptions": ("ml3d.options", "ClassifyOptions"),
    "EmbedOptions": ("landscape.options", "EmbedOptions"),
    "PathOptions": ("landscape.options", "PathOptions"),
    "StatesOptions": ("landscape.options", "StatesOptions"),
    "VoteOptions": ("voting.options", "VoteOptions"),
    "ReclassifyOptions": ("reclassify.options", "ReclassifyOptions"),
    "AlphaCryo4DError": ("core.errors", "AlphaCryo4DError"),
    "InputError": ("core.errors", "InputError"),
}
"""Public name: the module that holds it, and its name there (``__init__.pyi`` says the same)."""

__all__ = ["__version__", *_WHERE]


def __getattr__(name: str) -> object:
    """Load a public name when it is first used (PEP 562)."""
    if name not in _WHERE:
        raise AttributeError(f"module 'alphacryo4d' has no attribute {name!r}")
    module, attribute = _WHERE[name]
    _import_module("alphacryo4d.core.kernel_cache").choose_kernel_cache()
    value: object = getattr(_import_module(f"alphacryo4d.{module}"), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Public names, loaded or not."""
    return sorted({*globals(), *__all__})
