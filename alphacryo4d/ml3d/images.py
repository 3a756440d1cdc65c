"""Images to centred Fourier samples with their CTF: what the iterations work on.

A sample is one Fourier pixel (kx, ky) of the half plane kx >= 0, scaled so that white noise of
variance v has power v in every sample. Samples are sorted by radius: a resolution limit is a
prefix. Poses follow RELION (rot, tilt, psi in degrees; shifts in Angstrom that centre the image).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import scipy.fft

from alphacryo4d.core.errors import InputError, ResourceError
from alphacryo4d.core.progress import Progress, no_progress
from alphacryo4d.maths.rotations import euler_matrices
from alphacryo4d.maths.symmetry import symmetry_rotations
from alphacryo4d.maths.threads import in_ranges, thread_count
from alphacryo4d.ml3d.compiled.linear import take_samples

Array = np.ndarray[Any, Any]
_BLOCK = 1024


def half_plane(box: int, radius: int) -> tuple[Array, Array, Array]:
    """Positions of the samples within a radius, sorted by radius, and their shells.

    The last shell before Nyquist is whole (up to half a pixel beyond the radius), as final volumes
    need it; a resolution limit ends at its radius.

    Returns
    -------
    kx, ky : (S,) int32 arrays
        Fourier pixels with kx >= 0, one of each Friedel pair, the origin first.
    shell : (S,) int32 array
        Radius rounded to whole pixels.
    """
    radius = min(radius, box // 2 - 1)
    down, right = np.meshgrid(np.arange(-radius, radius + 1), np.arange(radius + 1), indexing="ij")
    kx, ky = right.ravel(), down.ravel()
    square = kx**2 + ky**2
    most = (radius + 0.5) ** 2 if radius == box // 2 - 1 else radius**2
    kept = (square <= most) & ~((kx == 0) & (ky < 0))
    kx, ky, square = kx[kept], ky[kept], square[kept]
    order = np.lexsort((kx, ky, square))
    shell = np.rint(np.sqrt(square[order])).astype(np.int32)
    return kx[order].astype(np.int32), ky[order].astype(np.int32), shell


def shell_of_resolution(resolution: float, box: int, pixel_size: float) -> int:
    """Last whole Fourier shell within a resolution (A); at most the one before Nyquist."""
    return max(2, min(int(box * pixel_size / resolution + 1e-9), box // 2 - 1))


def electron_wavelength(voltage: Array) -> Array:
    """Wavelength (A) of electrons of a voltage in kV, as RELION computes it."""
    volts = np.asarray(voltage, dtype=np.float64) * 1e3
    return 12.2643247 / np.sqrt(volts * (1.0 + volts * 0.978466e-6))


@dataclass(frozen=True)
class PreparedImages:
    """Centred Fourier samples of all particles, in row order of the table.

    Attributes
    ----------
    data : (P, S, 2) float32
        Real and imaginary part of the samples.
    ctf : (P, S) float32
    matrices : (P, 2, 3) float32
        First two rows of each rotation matrix.
    group : (P,) int32
        Noise group (optics group or micrograph), from 0.
    kx, ky, shell : (S,) int32
        Position and shell of the samples (pixels of the image's Fourier transform).
    order : (P,) int64
        Particles in an order in which neighbours look from similar directions.
    box : int
    pixel_size : float
        In Angstrom.
    symmetry : (n, 3, 3) float64
        Rotations of the point group, the identity first.
    """

    data: Array
    ctf: Array
    matrices: Array
    group: Array
    kx: Array
    ky: Array
    shell: Array
    order: Array
    box: int
    pixel_size: float
    symmetry: Array = field(default_factory=lambda: np.eye(3)[None])

    def __len__(self) -> int:
        return int(self.data.shape[0])

    @property
    def radius(self) -> int:
        """Last Fourier shell that is held (pixels)."""
        return int(np.sqrt(self.kx[-1] ** 2 + self.ky[-1] ** 2) + 1e-6)

    def samples_within(self, radius: int) -> int:
        """Number of samples within a radius; they come first."""
        if radius >= self.box // 2 - 1:
            return len(self.kx)
        square = self.kx.astype(np.int64) ** 2 + self.ky.astype(np.int64) ** 2
        return int(np.searchsorted(square, radius * radius, side="right"))

    def sorted_rows(self, rows: Array) -> Array:
        """The same rows in the order of viewing directions (neighbours share cache lines)."""
        wanted = np.zeros(len(self), dtype=bool)
        wanted[rows] = True
        return self.order[wanted[self.order]]


def viewing_order(directions: Array, band: float = 4.0) -> Array:
    """Order of particles in which neighbours look from similar directions.

    Parameters
    ----------
    directions : (P, 3) array
        Unit vectors of the viewing directions; opposite ones count as equal.
    band : float
        Height of the latitude bands that are walked to and fro (degrees).
    """
    d = directions * np.where(directions[:, 2:] < 0, -1.0, 1.0)
    bands = np.rint(np.degrees(np.arccos(np.clip(d[:, 2], -1, 1))) / band).astype(np.int64)
    longitude = np.arctan2(d[:, 1], d[:, 0]) * np.where(bands % 2 == 0, 1.0, -1.0)
    return np.lexsort((longitude, bands))


def _storage(shape: tuple[int, ...], scratch: Path | None, name: str) -> Array:
    if scratch is None:
        return np.empty(shape, dtype=np.float32)
    scratch.mkdir(parents=True, exist_ok=True)
    return np.lib.format.open_memmap(
        scratch / f"{name}.npy", mode="w+", dtype=np.float32, shape=shape
    )


def _arrays(
    count: int, samples: int, radius: int, memory: float | None, scratch: Path | None
) -> tuple[Array, Array]:
    """Room for the samples and their CTF: in memory, or in scratch files if that is too small."""
    needed = count * samples * 12 / 2**30
    if memory is None or needed <= memory:
        scratch = None
    elif scratch is None:
        raise ResourceError(
            f"the Fourier samples of {count} images to shell {radius} need {needed:.1f} GB, "
            f"more than {memory:.1f} GB; allow more --memory or a coarser resolution"
        )
    return _storage((count, samples, 2), scratch, "samples"), _storage(
        (count, samples), scratch, "ctf"
    )


def prepare_images(
    read_images: Callable[[Array], Array],
    *,
    angles: Array,
    shifts: Array,
    defocus: Array,
    phase_shift: Array,
    optics_group: Array,
    optics: Mapping[str, Any] | Any,
    box: int,
    pixel_size: float,
    limit_resolution: float | None = None,
    symmetry: str = "C1",
    noise_group: Array | None = None,
    threads: int | None = None,
    memory: float | None = None,
    scratch: Path | None = None,
    progress: Progress = no_progress,
) -> PreparedImages:
    """Read every image once and keep its Fourier samples within a resolution.

    Parameters
    ----------
    read_images : callable
        ``read_images(rows)`` gives the images of some rows, (n, box, box) float32.
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
        ``voltage`` (kV), ``spherical_aberration`` (mm), ``amplitude_contrast``: arrays (G,).
    box, pixel_size : int, float
        Pixels (even) and Angstrom.
    limit_resolution : float, optional
        Finest resolution that is kept (A); by default all shells, as final volumes need.
    symmetry : str
        Point group of the volumes, in RELION's orientation.
    noise_group : (P,) int array, optional
        Group, from 0, of the particles that share a noise spectrum and an intensity scale; by
        default the optics group.
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
        The box is odd, or an image holds NaN or infinite pixels (the row is named, from 1).
    ResourceError
        The samples do not fit in ``memory`` and there is no ``scratch``.
    """
    if box % 2:
        raise InputError(f"box size {box} is odd; crop or pad the images to an even size")
    radius = (
        box // 2 - 1
        if limit_resolution is None
        else shell_of_resolution(limit_resolution, box, pixel_size)
    )
    kx, ky, shell = half_plane(box, radius)
    count = len(angles)
    data, ctf = _arrays(count, len(kx), radius, memory, scratch)

    def of_group(name: str) -> Array:
        values = optics[name] if isinstance(optics, Mapping) else getattr(optics, name)
        return np.asarray(values, dtype=np.float64)[optics_group]

    wavelength = electron_wavelength(of_group("voltage"))
    cs, amplitude = of_group("spherical_aberration") * 1e7, of_group("amplitude_contrast")
    sizes = np.full(count, pixel_size)
    workers = thread_count(threads)
    for start in range(0, count, _BLOCK):
        part = slice(start, min(count, start + _BLOCK))
        images = np.ascontiguousarray(
            read_images(np.arange(part.start, part.stop)), dtype=np.float32
        )
        spectra = scipy.fft.rfft2(images, workers=workers)
        _refuse_bad_pixels(spectra, part.start)
        in_ranges(
            take_samples, len(spectra), 8, workers, spectra, kx, ky, box,
            shifts[part] / pixel_size, defocus[part], phase_shift[part], wavelength[part],
            cs[part], amplitude[part], sizes[part], data[part], ctf[part],
        )  # fmt: skip
        progress(part.stop, count)
    rotations = euler_matrices(angles)
    return PreparedImages(
        data=data,
        ctf=ctf,
        matrices=np.ascontiguousarray(rotations[:, :2], dtype=np.float32),
        group=np.asarray(optics_group if noise_group is None else noise_group, dtype=np.int32),
        kx=kx,
        ky=ky,
        shell=shell,
        order=viewing_order(rotations[:, 2]),
        box=box,
        pixel_size=float(pixel_size),
        symmetry=symmetry_rotations(symmetry),
    )


def _refuse_bad_pixels(spectra: Array, start: int) -> None:
    """Every bad pixel shows in the sum of its image, the first Fourier sample."""
    bad = np.flatnonzero(~np.isfinite(spectra[:, 0, 0]))
    if bad.size:
        raise InputError(
            f"image of row {start + bad[0] + 1} holds NaN or infinite pixels; "
            "remove it from the table (alphacryo4d check --full names all)"
        )
