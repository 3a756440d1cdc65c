"""Images of Gaussian blobs with an exact Fourier transform: known answers for the engine."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from alphacryo4d.maths.aberrations import electron_wavelength
from alphacryo4d.maths.rotations import euler_matrices
from alphacryo4d.ml3d.image_model import ImageModel
from alphacryo4d.ml3d.images import PreparedImages
from alphacryo4d.ml3d.prepare import Levelling, prepare_images

OPTICS = {"voltage": [300.0], "spherical_aberration": [2.7], "amplitude_contrast": [0.1]}


@dataclass
class Blobs:
    """Images (P, n, n) of some states, and what made them."""

    images: np.ndarray
    states: np.ndarray
    angles: np.ndarray
    shifts: np.ndarray
    defocus: np.ndarray
    volumes: np.ndarray
    pixel_size: float

    def prepared(self, **options: Any) -> PreparedImages:
        count = len(self.images)
        model = ImageModel(
            angles=self.angles,
            shifts=self.shifts,
            defocus=self.defocus,
            phase_shift=np.zeros(count),
            optics_group=np.zeros(count, int),
            optics=OPTICS,
            box=self.images.shape[1],
            pixel_size=self.pixel_size,
        )
        options = {"levelling": Levelling("none"), "threads": 2} | options
        return prepare_images(lambda rows: self.images[rows], model, **options)


def transform_of(centers: np.ndarray, points: np.ndarray, width: float) -> np.ndarray:
    """Fourier transform of unit Gaussians (A) at spatial frequencies (..., 3) in 1/A."""
    phase = np.exp(-2j * np.pi * points @ centers.T).sum(axis=-1)
    return phase * np.exp(-2 * np.pi**2 * width**2 * np.square(points).sum(axis=-1))


def make_blobs(
    states: list[np.ndarray],
    count: int,
    *,
    noise: float,
    box: int = 32,
    pixel_size: float = 4.0,
    width: float = 5.0,
    seed: int = 0,
) -> Blobs:
    """Images of states (each a (blobs, 3) array of centres in A) in random poses."""
    rng = np.random.default_rng(seed)
    state = rng.integers(0, len(states), count)
    tilt = np.degrees(np.arccos(rng.uniform(-1, 1, count)))
    angles = np.stack([rng.uniform(-180, 180, count), tilt, rng.uniform(-180, 180, count)], axis=1)
    shifts = rng.uniform(-6, 6, (count, 2))
    defocus = np.stack([rng.uniform(6e3, 2e4, count)] * 2 + [rng.uniform(0, 180, count)], axis=1)
    defocus[:, 1] -= 300
    k = np.fft.fftfreq(box, pixel_size)
    ky, kx = np.meshgrid(k, k, indexing="ij")
    square = kx**2 + ky**2
    rotations = euler_matrices(angles)
    wavelength = float(electron_wavelength(np.array(300.0)))
    images = np.empty((count, box, box), np.float32)
    for i in range(count):
        points = kx[..., None] * rotations[i, 0] + ky[..., None] * rotations[i, 1]
        spectrum = transform_of(states[state[i]], points, width)
        spectrum *= np.exp(2j * np.pi * (kx * shifts[i, 0] + ky * shifts[i, 1]))
        turned = 2 * (np.arctan2(ky, kx) - np.radians(defocus[i, 2]))
        focus = 0.5 * (defocus[i, 0] + defocus[i, 1]) + 150 * np.cos(turned)
        chi = np.pi * wavelength * focus * square
        chi -= 0.5 * np.pi * 2.7e7 * wavelength**3 * square**2
        spectrum *= np.sin(chi + np.arcsin(0.1))
        spectrum[box // 2] = spectrum[:, box // 2] = 0
        images[i] = np.fft.fftshift(np.fft.ifft2(spectrum).real)
    images += noise * rng.standard_normal(images.shape).astype(np.float32)
    return Blobs(
        images, state, angles, shifts, defocus, true_volumes(states, box, pixel_size, width),
        pixel_size,
    )  # fmt: skip


def true_volumes(states: list[np.ndarray], box: int, pixel_size: float, width: float) -> np.ndarray:
    """The volumes of the states, (K, n, n, n), origin at n // 2."""
    k = np.fft.fftfreq(box, pixel_size)
    z, y, x = np.meshgrid(k, k, k, indexing="ij")
    points = np.stack([x, y, z], axis=-1)
    spectra = np.array([transform_of(centers, points, width) for centers in states])
    spectra[:, box // 2] = spectra[:, :, box // 2] = spectra[:, :, :, box // 2] = 0
    cubes = np.fft.ifftn(spectra, axes=(1, 2, 3)).real
    return np.fft.fftshift(cubes, axes=(1, 2, 3)).astype(np.float32)


def random_states(count: int, seed: int = 0) -> list[np.ndarray]:
    """A common body of blobs with an arm that stands elsewhere in every state."""
    rng = np.random.default_rng(seed)
    body = rng.uniform(-20, 20, (14, 3))
    places = np.linspace(-1.2, 1.2, count)
    radii = np.array([22.0, 29.0, 36.0])
    arms = [
        np.stack([radii * np.cos(a), radii * np.sin(a), np.full(3, 6.0)], axis=1) for a in places
    ]
    return [np.concatenate([body, arm]) for arm in arms]
