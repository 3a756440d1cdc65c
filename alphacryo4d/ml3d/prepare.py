"""Images to centred Fourier samples with their CTF.

An image is levelled, brought to the output's grid and centred, and what was done to its phases and
amplitudes is undone (:mod:`alphacryo4d.ml3d.image_model`).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.fft

from alphacryo4d.core.arrays import Array, as_slice
from alphacryo4d.core.errors import InputError
from alphacryo4d.core.progress import Progress, no_progress
from alphacryo4d.maths.symmetry import symmetry_rotations
from alphacryo4d.maths.threads import in_ranges, thread_count
from alphacryo4d.ml3d.background import SCALED, Typical, circle, level, typical_of
from alphacryo4d.ml3d.compiled.samples import take_samples
from alphacryo4d.ml3d.image_model import ImageModel
from alphacryo4d.ml3d.images import (
    PreparedImages,
    half_plane,
    shell_of_resolution,
    viewing_order,
)
from alphacryo4d.ml3d.room import room_for_samples
from alphacryo4d.ml3d.sampling import direct_samples, fitted, white_again, within_nyquist

_BLOCK, _PIXELS = 1024, 2**24
"""Images that are read together, at most, and their pixels (64 MB); two such blocks are held."""


@dataclass(frozen=True)
class Levelling:
    """How images are brought to one level when they are read.

    Attributes
    ----------
    normalise : str
        One of ``alphacryo4d.ml3d.background.NORMALISATIONS``.
    diameter : float or None
        Of the particle (A): the background lies outside.
    typical : Typical or None
        Deviations of most images, by which outliers are known; without it of the images
        themselves, which are then read twice.
    common : (P,) array or None
        Deviation of the background that the images of a micrograph have in common, for
        ``micrograph``.
    """

    normalise: str = "deviation"
    diameter: float | None = None
    typical: Typical | None = None
    common: Array | None = None


class _Reader:
    """Reads blocks of images and fills in their samples."""

    def __init__(
        self,
        read_images: Callable[[Array], Array],
        model: ImageModel,
        levelling: Levelling,
        kx: Array,
        ky: Array,
        workers: int,
    ) -> None:
        self.read_images, self.model, self.workers = read_images, model, workers
        self.kx, self.ky = kx, ky
        self.normalise, self.diameter = levelling.normalise, levelling.diameter
        self.common = levelling.common
        self.typical = levelling.typical or self.measured()
        self.typical.require_moderate(self.normalise)

    def parts(self, rows: Array) -> list[Array]:
        """Rows by the grid of their images."""
        samplings = self.model.samplings
        grids = {(s.box, s.pixel_size, s.triangle.tobytes()): g for g, s in enumerate(samplings)}
        number = [grids[s.box, s.pixel_size, s.triangle.tobytes()] for s in samplings]
        mine = np.asarray(number)[self.model.optics_group[rows]]
        return [rows[mine == grid] for grid in np.unique(mine)]

    def blocks(self, count: int) -> Iterator[tuple[Array, Array]]:
        """All rows with their images, in blocks of one grid; the next is read meanwhile."""
        largest = max(sampling.box for sampling in self.model.samplings)
        block = min(_BLOCK, max(1, _PIXELS // largest**2))
        every = [
            rows
            for start in range(0, count, block)
            for rows in self.parts(np.arange(start, min(count, start + block)))
        ]
        if self.workers == 1 or len(every) < 2:
            yield from ((rows, self.read_images(rows)) for rows in every)
            return
        with ThreadPoolExecutor(1) as ahead:
            coming = ahead.submit(self.read_images, every[0])
            for rows, later in itertools.zip_longest(every, every[1:]):
                pixels = coming.result()
                if later is not None:
                    coming = ahead.submit(self.read_images, later)
                yield rows, pixels

    def levelled(self, rows: Array, pixels: Array, normalise: str) -> tuple[Array, Array]:
        """Images of one grid, levelled, and what :func:`level` found."""
        images = np.ascontiguousarray(pixels, dtype=np.float32)
        sampling = self.model.samplings[self.model.optics_group[rows[0]]]
        wide = None if self.diameter is None else self.diameter / sampling.pixel_size
        levels = level(images, circle(images.shape[1], wide), normalise, self.workers)
        bad = np.flatnonzero(~np.isfinite(levels).all(axis=1))
        if bad.size:
            raise InputError(
                f"image of row {rows[bad[0]] + 1} holds NaN or infinite pixels; "
                "remove it from the table (alphacryo4d check --full names all)"
            )
        return images, levels

    def measured(self) -> Typical:
        """Deviations of most of the images."""
        count = len(self.model)
        levels = np.zeros((count, 3))
        for rows, pixels in self.blocks(count):
            levels[rows] = self.levelled(rows, pixels, "none")[1]
        groups = len(self.model.samplings)
        return typical_of(levels, self.model.optics_group, groups)

    def fill(self, rows: Array, pixels: Array, data: Array, ctf: Array, outlier: Array) -> None:
        """Fill in the samples and the CTF of some rows of one grid, from their images."""
        model, group = self.model, self.model.optics_group[rows]
        sampling = model.samplings[group[0]]
        images, levels = self.levelled(rows, pixels, self.normalise)
        strange = self.typical.outliers(levels, group)
        if self.normalise == "none":
            strange = ~(levels[:, 1] > 0)
        outlier[rows] = strange
        deviation = levels[:, 1]
        if self.common is not None:
            deviation = self.common[rows]
            images /= deviation[:, None, None].astype(np.float32)
        self._tame(images, levels[:, 2], deviation, group, strange)
        if self.normalise not in SCALED:  # grey values stand for the density itself
            width = model.box * model.pixel_size**2
            images *= np.float32(sampling.edge * sampling.pixel_size**2 / width)
        seeds = rows if model.seeds is None else model.seeds[rows]
        images = fitted(images, sampling.edge, seeds)
        place = as_slice(rows)
        samples, waves = data[place], ctf[place]
        shifts = model.shifts[rows] @ sampling.triangle * (sampling.edge / sampling.pixel_size)
        if sampling.plain:
            spectra = scipy.fft.rfft2(images, workers=self.workers)
            in_ranges(
                take_samples, len(rows), 8, self.workers, spectra, self.kx, self.ky,
                sampling.edge, shifts, samples,
            )  # fmt: skip
        else:
            turn = np.exp(-2j * np.pi * (shifts / sampling.edge) @ np.stack([self.kx, self.ky]))
            found_samples = direct_samples(images, sampling, self.kx, self.ky) * turn
            samples[..., 0], samples[..., 1] = found_samples.real, found_samples.imag
        self._transfer(rows, samples, waves)
        waves[strange] = 0
        if not isinstance(place, slice):
            data[place], ctf[place] = samples, waves

    def _tame(
        self, images: Array, total: Array, deviation: Array, group: Array, strange: Array
    ) -> None:
        """Bring outliers to the power of the others, so that they do not change the noise."""
        if not strange.any():
            return
        scaled = self.normalise in SCALED
        total = total / np.maximum(deviation, 1e-300) if scaled else total
        usual = self.typical.contrast[group] if scaled else self.typical.deviation[group]
        factor: Array = np.where(
            np.isfinite(usual) & (total > 0), usual / np.maximum(total, 1e-300), 0
        )
        images[strange] *= factor[strange, None, None].astype(np.float32)

    def _transfer(self, rows: Array, data: Array, ctf: Array) -> None:
        """Fill in the CTF, and undo what was done to the phases and amplitudes of the samples."""
        model, kx, ky = self.model, self.kx, self.ky
        group = model.optics_group[rows]
        groups, which = np.unique(group, return_inverse=True)
        even = model.phases(kx, ky, groups, odd=False)

        def work(begin: int, end: int) -> None:
            part = slice(begin, end)
            phases = even[which[part]] if even.shape[1] else None
            ctf[part] = model.waves(rows[part], kx, ky, phases) * model.envelope(rows[part], kx, ky)

        in_ranges(work, len(rows), 32, self.workers)
        odd = model.phases(kx, ky, groups, odd=True)
        if odd.shape[1]:
            spectra = data.view(np.complex64)[..., 0]
            for unit, phases in enumerate(odd):
                spectra[which == unit] *= np.exp(-1j * phases).astype(np.complex64)
        held = model.aberrations
        if held is not None and held.premultiplied[group].any():
            for row in np.flatnonzero(held.premultiplied[group]):
                height = np.broadcast_to(np.abs(model.envelope(rows[[row]], kx, ky))[0], len(kx))
                factor, ctf[row] = white_again(ctf[row], height)
                data[row] *= factor[:, None]
        if held is not None and held.phase_flipped[group].any():
            flipped = held.phase_flipped[group]
            ctf[flipped] = np.abs(ctf[flipped])
        ctf[:, ~within_nyquist(model.samplings[group[0]], kx, ky)] = 0


def prepare_images(
    read_images: Callable[[Array], Array],
    model: ImageModel,
    *,
    limit_resolution: float | None = None,
    symmetry: str = "C1",
    noise_group: Array | None = None,
    levelling: Levelling | None = None,
    threads: int | None = None,
    memory: float | None = None,
    scratch: Path | None = None,
    progress: Progress = no_progress,
) -> PreparedImages:
    """Read every image once and keep its Fourier samples within a resolution.

    Parameters
    ----------
    read_images : callable
        ``read_images(rows)`` gives the images of rows of one box, (n, box, box) float32.
    model : ImageModel
    limit_resolution : float, optional
        Finest resolution that is kept (A); by default all shells, as final volumes need.
    symmetry : str
        Point group of the volumes, in RELION's orientation.
    noise_group : (P,) int array, optional
        Group, from 0, of the particles that share a noise spectrum and an intensity scale; by
        default the optics group.
    levelling : Levelling, optional
    threads : int, optional
        Threads of the Fourier transforms and kernels; by default all.
    memory : float, optional
        Memory that the samples may take (GB); above it they go to ``scratch``.
    scratch : Path, optional
        Folder for a scratch file, used when the samples would not fit in ``memory``.
    progress : Progress
        Told the number of images read.

    Raises
    ------
    InputError
        An image holds NaN or infinite pixels (the row is named, from 1), or grids differ too much.
    ResourceError
        The samples do not fit in ``memory`` and there is no ``scratch``.
    """
    box, count, workers = model.box, len(model), thread_count(threads)
    whole = (box - 1) // 2
    if limit_resolution is not None:
        whole = shell_of_resolution(limit_resolution, box, model.pixel_size)
    kx, ky, shell = half_plane(box, whole)
    data, ctf = room_for_samples(count, len(kx), whole, memory, scratch)
    reader = _Reader(read_images, model, levelling or Levelling(), kx, ky, workers)
    outlier = np.zeros(count, bool)
    done = 0
    for rows, pixels in reader.blocks(count):
        reader.fill(rows, pixels, data, ctf, outlier)
        done += len(rows)
        progress(done, count)
    rotations = model.rotations()
    group = model.optics_group if noise_group is None else noise_group
    return PreparedImages(
        data=data,
        ctf=ctf,
        matrices=np.ascontiguousarray(rotations[:, :2], dtype=np.float32),
        group=np.asarray(group, dtype=np.int32),
        kx=kx,
        ky=ky,
        shell=shell,
        order=viewing_order(rotations[:, 2]),
        box=box,
        pixel_size=float(model.pixel_size),
        symmetry=symmetry_rotations(symmetry),
        outlier=outlier,
    )
