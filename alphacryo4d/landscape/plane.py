"""The plane of the volumes: their embedding with energies, errors, and the surface between them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.landscape.energy import density_energy, energy_error, free_energy
from alphacryo4d.landscape.kernel_surface import kernel_surface, mean_surface
from alphacryo4d.landscape.options import EnergyOptions
from alphacryo4d.landscape.surface import Surface, triangulated_surface


@dataclass(frozen=True)
class Landscape:
    """An embedding with its energies, in the row order of the volumes.

    Attributes
    ----------
    embedding : (V, 2) array
    counts : (V,) array
        Particles per volume.
    images : (V,) array or None
        Images per volume, where they are fewer.
    folds : (V,) array
        Fold of each volume, a number for every fold of every batch.
    left_out : (V,) array
        Group of particles that its fold leaves out, the same number in all batches.
    energies, errors : (V,) arrays
        In kT: -ln of each volume's own share (eq. 6).
    density : (V,) array
        Energy of the population density around each volume, in kT.
    basis : (V,) array
        Energies that the surface is made of: of the classes or of the density, in kT.
    surface : Surface
        Energy between the volumes.
    options : EnergyOptions
        How the surface was made.
    """

    embedding: Array
    counts: Array
    images: Array | None
    folds: Array
    left_out: Array
    energies: Array
    errors: Array
    density: Array
    basis: Array
    surface: Surface
    options: EnergyOptions

    def remade(self, rows: Array, energies: Array) -> Surface:
        """Surface of the same kind through some of the volumes with other energies."""
        return surface_of(self.embedding[rows], energies, self.options)


def surface_of(embedding: Array, energies: Array, options: EnergyOptions) -> Surface:
    """Surface made of energies (V,) in kT at the embedding (V, 2)."""
    if options.interpolate != "kernel":
        return triangulated_surface(embedding, energies, kind=options.interpolate)
    if options.from_density:
        return kernel_surface(embedding, np.exp(-energies))
    return mean_surface(embedding, energies)


def landscape_of(
    embedding: Array,
    counts: Array,
    folds: Array,
    options: EnergyOptions,
    left_out: Array | None = None,
    images: Array | None = None,
) -> Landscape:
    """Energies, errors and the surface of an embedding; of one batch where nothing is left out."""
    left_out = folds if left_out is None else left_out
    points = np.asarray(embedding, np.float64)
    energies = free_energy(counts)
    density = density_energy(points, counts)
    # The kernel surface is itself the density of the classes' shares.
    through_density = options.from_density and options.interpolate != "kernel"
    basis = density if through_density else energies
    return Landscape(
        embedding=points,
        counts=np.asarray(counts, np.float64),
        images=images,
        folds=folds,
        left_out=left_out,
        energies=energies,
        errors=energy_error(points, counts, left_out, images=images),
        density=density,
        basis=basis,
        surface=surface_of(points, basis, options),
        options=options,
    )
