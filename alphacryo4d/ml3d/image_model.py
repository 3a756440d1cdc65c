"""What an image of a particle went through, the whole model in one place.

At the frequency q of the particle an image is ``exp(i odd(q)) c(q) F(q) + noise``, with the
contrast transfer c of defocus, Cs, amplitude contrast, phase shift, even aberrations, B factor and
scale; it is sampled at ``M^-1 q`` where the magnification M is anisotropic (Zivanov et al. 2018,
eLife 7, e42166; Zivanov, Nakane & Scheres 2020, IUCrJ 7, 253).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.maths.aberrations import zernike_sum
from alphacryo4d.maths.ctf import contrast_transfer
from alphacryo4d.maths.rotations import euler_matrices
from alphacryo4d.ml3d.sampling import Sampling, sampling_of


@dataclass(frozen=True)
class ImageModel:
    """What every image went through, and where its samples are to lie.

    Attributes
    ----------
    angles : (P, 3) array
        rot, tilt, psi in degrees.
    shifts : (P, 2) array
        x and y in Angstrom, RELION's sign (the shift that centres the image).
    defocus : (P, 3) array
        U and V in Angstrom, angle in degrees.
    phase_shift : (P,) array
        In degrees.
    optics_group : (P,) int array
        Index into the arrays of ``optics``, from 0.
    optics : object or mapping
        ``voltage`` (kV), ``spherical_aberration`` (mm), ``amplitude_contrast``: arrays (G,). An
        object also has ``box``, ``pixel_size`` (A) and ``aberrations``
        (:class:`alphacryo4d.particles.aberrations.Aberrations`).
    box, pixel_size : int, float
        Of the output (pixels, even; Angstrom).
    bfactor, scale : (P,) array, optional
        Of the CTF (A^2, factor); 0 and 1 by default.
    seeds : (P,) int array, optional
        Number of every image that the noise in new pixels depends on; its place by default.
    """

    angles: Array
    shifts: Array
    defocus: Array
    phase_shift: Array
    optics_group: Array
    optics: Mapping[str, Any] | Any
    box: int
    pixel_size: float
    bfactor: Array | None = None
    scale: Array | None = None
    seeds: Array | None = None

    def __len__(self) -> int:
        return len(self.angles)

    def of_group(self, name: str) -> Array:
        """Value of every optics group, (G,) float64."""
        optics = self.optics
        values = optics[name] if isinstance(optics, Mapping) else getattr(optics, name)
        return np.asarray(values, dtype=np.float64)

    @property
    def step(self) -> float:
        """Frequency of one pixel of the samples (1/A)."""
        return 1 / (self.box * self.pixel_size)

    @property
    def aberrations(self) -> Any:
        """Aberrations of the groups, or None."""
        return None if isinstance(self.optics, Mapping) else self.optics.aberrations

    @cached_property
    def samplings(self) -> list[Sampling]:
        """Sampling of every optics group; of groups that no particle is in, too."""
        count = len(self.of_group("voltage"))
        if isinstance(self.optics, Mapping):
            boxes, sizes = [self.box] * count, [self.pixel_size] * count
        else:
            known = [(int(b) or self.box) for b in self.optics.box]
            boxes, sizes = known, np.nan_to_num(self.optics.pixel_size, nan=self.pixel_size)
        matrices = [None] * count if self.aberrations is None else self.aberrations.magnification
        return [
            sampling_of(
                box, float(size) or self.pixel_size, matrix,
                output_box=self.box, output_pixel_size=self.pixel_size,
            )
            for box, size, matrix in zip(boxes, sizes, matrices, strict=True)
        ]  # fmt: skip

    def rotations(self) -> Array:
        """Rotation matrices of the poses in the frame of the samples, (P, 3, 3)."""
        matrices = euler_matrices(self.angles)
        turns = np.stack([sampling.turn for sampling in self.samplings])
        if not (turns == np.eye(2)).all():
            turned = turns[self.optics_group].transpose(0, 2, 1) @ matrices[:, :2]
            matrices = np.concatenate([turned, matrices[:, 2:]], axis=1)
        return matrices

    def phases(self, kx: Array, ky: Array, groups: Array, *, odd: bool) -> Array:
        """Odd or even aberration of the samples for some groups, (n, S); (n, 0) if there is none.

        In radians.
        """
        held = self.aberrations
        lists = [] if held is None else held.odd if odd else held.even
        if not any(any(lists[group]) for group in groups if lists):
            return np.empty((len(groups), 0))
        result = np.empty((len(groups), len(kx)))
        for row, group in zip(result, groups, strict=True):
            x, y = self.samplings[group].turn @ np.stack([kx, ky]) * self.step
            row[:] = zernike_sum(lists[group], x, y, odd=odd)
        return result

    def waves(self, rows: Array, kx: Array, ky: Array, even: Array | None) -> Array:
        """Sines of the contrast transfer of some rows, (n, S) float32; ``even`` in radians."""
        group = self.optics_group[rows]
        defocus = np.array(self.defocus[rows], np.float64)
        defocus[:, 2] -= np.array([sampling.angle for sampling in self.samplings])[group]
        return contrast_transfer(
            kx * self.step, ky * self.step, defocus,
            voltage=self.of_group("voltage")[group],
            spherical_aberration=self.of_group("spherical_aberration")[group],
            amplitude_contrast=self.of_group("amplitude_contrast")[group],
            phase_shift=self.phase_shift[rows], even=even, dtype=np.float32,
        )  # fmt: skip

    def envelope(self, rows: Array, kx: Array, ky: Array) -> Array:
        """Scale and fall by the B factor of some rows, (n, S), or (n, 1) where nothing falls."""
        envelope = np.ones((len(rows), 1), np.float32)
        if self.scale is not None:
            envelope *= self.scale[rows, None]
        if self.bfactor is None or not self.bfactor[rows].any():
            return envelope
        square = (kx * self.step) ** 2 + (ky * self.step) ** 2
        fall = np.clip(-0.25 * self.bfactor[rows, None] * square, -60, 60)
        return np.asarray(envelope * np.exp(fall, dtype=np.float32))
