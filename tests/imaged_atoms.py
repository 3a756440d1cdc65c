"""Images of Gaussian atoms by a plain formula in float64: what the image model must undo."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from alphacryo4d.io.mrc import write_stack

WIDTH = 2.5
"""Standard deviation of an atom (A)."""


def atoms(count: int = 40) -> np.ndarray:
    """Places (A), without any symmetry."""
    rng = np.random.default_rng(11)
    places = rng.normal(size=(count, 3)) * (7, 9, 12)
    return places + np.where(np.arange(count)[:, None] < count // 4, (9, -5, 4), 0)


def density_transform(points: np.ndarray) -> np.ndarray:
    """Fourier transform of the atoms at frequencies (..., 3) in 1/A."""
    phase = np.exp(-2j * np.pi * points @ atoms().T).sum(axis=-1)
    return phase * np.exp(-2 * (np.pi * WIDTH) ** 2 * np.square(points).sum(axis=-1))


def euler_matrix(rot: float, tilt: float, psi: float) -> np.ndarray:
    """RELION's ``Euler_angles2matrix``."""
    a, b, c = np.deg2rad([rot, tilt, psi])

    def about_z(angle: float) -> np.ndarray:
        cos, sin = np.cos(angle), np.sin(angle)
        return np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])

    cos, sin = np.cos(b), np.sin(b)
    about_y = np.array([[cos, 0, -sin], [0, 1, 0], [sin, 0, cos]])
    return about_z(c) @ about_y @ about_z(a)


@dataclass
class Optics:
    """One optics group, with everything that may be wrong with its images."""

    box: int = 36
    pixel_size: float = 3.0
    voltage: float = 300.0
    cs: float = 2.7
    contrast: float = 0.1
    phase_shift: float = 0.0
    tilt: tuple[float, float] = (0.0, 0.0)
    odd: tuple[float, ...] = ()
    even: tuple[float, ...] = ()
    magnification: tuple[float, ...] = (1.0, 0.0, 0.0, 1.0)
    premultiplied: bool = False
    flipped: bool = False

    @property
    def wavelength(self) -> float:
        return 12.2643247 / np.sqrt(1e3 * self.voltage * (1 + 1e3 * self.voltage * 0.978466e-6))


ODD = (
    lambda r, a: r * np.sin(a),
    lambda r, a: r * np.cos(a),
    lambda r, a: r**3 * np.sin(3 * a),
    lambda r, a: (3 * r**3 - 2 * r) * np.sin(a),
    lambda r, a: (3 * r**3 - 2 * r) * np.cos(a),
    lambda r, a: r**3 * np.cos(3 * a),
)
EVEN = (
    lambda r, a: np.ones_like(r),
    lambda r, a: r**2 * np.sin(2 * a),
    lambda r, a: 2 * r**2 - 1,
    lambda r, a: r**2 * np.cos(2 * a),
    lambda r, a: r**4 * np.sin(4 * a),
    lambda r, a: (4 * r**4 - 3 * r**2) * np.sin(2 * a),
    lambda r, a: 6 * r**4 - 6 * r**2 + 1,
    lambda r, a: (4 * r**4 - 3 * r**2) * np.cos(2 * a),
    lambda r, a: r**4 * np.cos(4 * a),
)


def transfer(optics: Optics, q: np.ndarray, defocus: np.ndarray, bfactor: float, scale: float):  # type: ignore[no-untyped-def]
    """CTF and odd phase at frequencies (2, ...) of the particle in 1/A."""
    radius, angle = np.hypot(*q), np.arctan2(q[1], q[0])
    focus = (defocus[0] + defocus[1]) / 2
    focus = focus + (defocus[0] - defocus[1]) / 2 * np.cos(2 * (angle - np.deg2rad(defocus[2])))
    wave = np.pi * optics.wavelength * focus * radius**2
    wave -= np.pi / 2 * optics.cs * 1e7 * optics.wavelength**3 * radius**4
    wave += np.deg2rad(optics.phase_shift) + np.arcsin(optics.contrast)
    wave -= sum(c * f(radius, angle) for c, f in zip(optics.even, EVEN, strict=False))
    ctf = scale * np.exp(-bfactor / 4 * radius**2) * np.sin(wave)
    odd = sum(c * f(radius, angle) for c, f in zip(optics.odd, ODD, strict=False))
    coma = 2e4 * np.pi * optics.cs * optics.wavelength**2 * radius**2
    return ctf, odd - coma * (optics.tilt[0] * q[0] + optics.tilt[1] * q[1])


def write_imaged(
    folder: Path,
    groups: list[Optics],
    count: int,
    *,
    noise: float = 0.0,
    bfactor: float = 0.0,
    scale: float = 1.0,
    defocus_range: tuple[float, float] = (8000, 18000),
) -> Path:
    """Write ``particles.star`` with images of all groups in turn, B factors and scales up to those.

    Without an aberration of any group its column is left out.
    """
    rng = np.random.default_rng(4)
    stacks: list[list[np.ndarray]] = [[] for _ in groups]
    lines = []
    for i in range(count):
        optics = groups[i % len(groups)]
        rot, psi = rng.uniform(-180, 180, 2)
        tilt = np.degrees(np.arccos(rng.uniform(-1, 1)))
        shift = rng.uniform(-4, 4, 2)
        u = rng.uniform(*defocus_range)
        defocus = np.array([u, u * rng.uniform(0.9, 1), rng.uniform(0, 180)])
        b, s = bfactor * rng.uniform(), scale ** rng.uniform(-1, 1)
        image = one_image(optics, (rot, tilt, psi), shift, defocus, b, s)
        image += noise * rng.normal(size=image.shape)
        stacks[i % len(groups)].append(image)
        values = [rot, tilt, psi, *shift, *defocus, b, s]
        numbers = " ".join(f"{value:.6f}" for value in values)
        lines.append(
            f"{len(stacks[i % len(groups)]):06d}@{i % len(groups)}.mrcs {i % len(groups) + 1} "
            f"{numbers} {i % 2 + 1}"
        )
    for number, (images, optics) in enumerate(zip(stacks, groups, strict=True)):
        with write_stack(folder / f"{number}.mrcs", optics.pixel_size) as stack:
            stack.append(np.array(images, np.float32))
    path = folder / "particles.star"
    path.write_text(_head(groups) + "\n".join(lines) + "\n\n")
    return path


def one_image(
    optics: Optics,
    angles: tuple[float, float, float],
    shift: np.ndarray,
    defocus: np.ndarray,
    bfactor: float,
    scale: float,
) -> np.ndarray:
    box = optics.box
    f = np.stack(np.meshgrid(np.fft.fftfreq(box), np.fft.rfftfreq(box), indexing="ij"))[::-1]
    f = f / optics.pixel_size
    q = np.einsum("ab,bij->aij", np.reshape(optics.magnification, (2, 2)), f)
    ctf, odd = transfer(optics, q, defocus, bfactor, scale)
    points = np.einsum("aij,ab->ijb", q, euler_matrix(*angles)[:2])
    spectrum = density_transform(points) * ctf * np.exp(1j * odd)
    if optics.premultiplied:
        spectrum *= ctf
    elif optics.flipped:
        spectrum *= np.sign(ctf)
    # the origin at box // 2, and off it by minus the shift that centres the image
    place = box // 2 * optics.pixel_size - shift
    spectrum *= np.exp(-2j * np.pi * (f[0] * place[0] + f[1] * place[1]))
    if box % 2 == 0:
        spectrum[box // 2] = 0
        spectrum[:, box // 2] = 0
    return np.fft.irfft2(spectrum, s=(box, box)) / optics.pixel_size**2


def _head(groups: list[Optics]) -> str:
    columns: dict[str, list[str]] = {
        "rlnOpticsGroupName": [f"opticsGroup{n}" for n in range(1, len(groups) + 1)],
        "rlnOpticsGroup": [str(n) for n in range(1, len(groups) + 1)],
        "rlnVoltage": [f"{g.voltage:.6f}" for g in groups],
        "rlnSphericalAberration": [f"{g.cs:.6f}" for g in groups],
        "rlnAmplitudeContrast": [f"{g.contrast:.6f}" for g in groups],
        "rlnImagePixelSize": [f"{g.pixel_size:.6f}" for g in groups],
        "rlnImageSize": [str(g.box) for g in groups],
        "rlnImageDimensionality": ["2"] * len(groups),
    }

    def add(name: str, values: list[str], plain: str) -> None:
        if any(value != plain for value in values):
            columns[name] = values

    add("rlnPhaseShift", [f"{g.phase_shift:g}" for g in groups], "0")
    for axis in (0, 1):
        add(f"rlnBeamTilt{'XY'[axis]}", [f"{g.tilt[axis]:g}" for g in groups], "0")
    for name, held in (("Odd", [g.odd for g in groups]), ("Even", [g.even for g in groups])):
        add(f"rln{name}Zernike", ["[" + ",".join(map(str, v)) + "]" for v in held], "[]")
    if any(g.magnification != (1.0, 0.0, 0.0, 1.0) for g in groups):
        for place, name in enumerate(("00", "01", "10", "11")):
            columns[f"rlnMagMat{name}"] = [f"{g.magnification[place]:.6f}" for g in groups]
    add("rlnCtfDataAreCtfPremultiplied", [str(int(g.premultiplied)) for g in groups], "0")
    add("rlnCtfDataArePhaseFlipped", [str(int(g.flipped)) for g in groups], "0")
    names = [
        "ImageName",
        "OpticsGroup",
        "AngleRot",
        "AngleTilt",
        "AnglePsi",
        "OriginXAngst",
        "OriginYAngst",
    ]
    names += [
        "DefocusU",
        "DefocusV",
        "DefocusAngle",
        "CtfBfactor",
        "CtfScalefactor",
        "RandomSubset",
    ]
    labels = [f"_{name} #{i}" for i, name in enumerate(columns, 1)]
    rows = [" ".join(values) for values in zip(*columns.values(), strict=True)]
    text = "\n".join(["", "data_optics", "", "loop_", *labels, *rows, "", "", "data_particles"])
    return text + "\n\nloop_\n" + "".join(f"_rln{name} #{i}\n" for i, name in enumerate(names, 1))
