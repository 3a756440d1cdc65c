"""Small data with a known answer: particles of two states, projected by RELION itself."""

import subprocess
from pathlib import Path

import numpy as np
import pytest

from alphacryo4d.io.mrc import open_stack, write_stack, write_volume

BOX, PIXEL, COUNT = 32, 4.0, 240
OPTICS = """
# version 30001

data_optics

loop_
_rlnOpticsGroupName #1
_rlnOpticsGroup #2
_rlnVoltage #3
_rlnSphericalAberration #4
_rlnAmplitudeContrast #5
_rlnImagePixelSize #6
_rlnImageSize #7
_rlnImageDimensionality #8
opticsGroup1 1 300.000000 2.700000 0.100000 4.000000 32 2


# version 30001

data_particles

loop_
"""
COLUMNS = (
    "rlnImageName rlnMicrographName rlnOpticsGroup rlnAngleRot rlnAngleTilt rlnAnglePsi "
    "rlnOriginXAngst rlnOriginYAngst rlnDefocusU rlnDefocusV rlnDefocusAngle rlnRandomSubset"
)


def state_map(state: int) -> np.ndarray:
    """Blobs; one of them is elsewhere in the other state."""
    axis = np.arange(BOX) - BOX // 2
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"))
    centers = np.random.default_rng(5).normal(0, 4, (12, 3))
    centers[-1] = (9, 0, 0) if state else (-9, 0, 0)
    blobs = [np.exp(-((grid - c[:, None, None, None]) ** 2).sum(0) / 4.5) for c in centers]
    return np.sum(blobs, axis=0).astype(np.float32)


def particle_rows(count: int = COUNT, stack: str = "stack.mrcs") -> list[str]:
    rng = np.random.default_rng(1)
    rows = []
    for i in range(count):
        rot, psi = rng.uniform(-180, 180, 2)
        tilt = np.degrees(np.arccos(rng.uniform(-1, 1)))
        x, y = rng.uniform(-4, 4, 2)
        defocus = rng.uniform(8000, 25000)
        rows.append(
            f"{i + 1:06d}@{stack} mic{i % 7}.mrc 1 {rot:.4f} {tilt:.4f} {psi:.4f} {x:.4f} {y:.4f} "
            f"{defocus:.2f} {defocus - 200:.2f} 30.0 {i % 2 + 1}"
        )
    return rows


def write_particles(path: Path, rows: list[str]) -> Path:
    labels = "".join(f"_{name} #{i}\n" for i, name in enumerate(COLUMNS.split(), 1))
    path.write_text(OPTICS + labels + "\n".join(rows) + "\n\n")
    return path


def normalised(images: np.ndarray) -> np.ndarray:
    """Background of every image to mean 0 and deviation 1, as RELION demands."""
    axis = np.arange(images.shape[1]) - images.shape[1] // 2
    outside = np.hypot(*np.meshgrid(axis, axis)) > 0.45 * images.shape[1]
    background = images[:, outside]
    mean, deviation = background.mean(1), background.std(1)
    return (images - mean[:, None, None]) / deviation[:, None, None]


@pytest.fixture(scope="session")
def two_states(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with ``particles.star``; odd rows (from 0) are of state 1, even rows of state 0."""
    folder = tmp_path_factory.mktemp("two_states")
    table = write_particles(folder / "particles.star", particle_rows())
    stacks = []
    for state in (0, 1):
        write_volume(folder / f"state{state}.mrc", state_map(state), PIXEL)
        subprocess.run(
            ["relion_project", "--i", f"state{state}.mrc", "--o", f"clean{state}", "--ctf",
             "--ang", table.name, "--ignore_particle_name"],
            cwd=folder, check=True, capture_output=True,
        )  # fmt: skip
        stacks.append(open_stack(folder / f"clean{state}.mrcs").astype(np.float64))
    odd = np.arange(COUNT) % 2 == 1
    images = np.where(odd[:, None, None], stacks[1], stacks[0])
    images += np.random.default_rng(3).normal(0, 1.5 * images.std(), images.shape)
    with write_stack(folder / "stack.mrcs", PIXEL) as stack:
        stack.append(normalised(images))
    return folder


@pytest.fixture
def noise_table(tmp_path: Path) -> Path:
    """A table with images of noise, for what needs no RELION."""
    rows = particle_rows(40)
    images = np.random.default_rng(0).normal(0, 1, (40, BOX, BOX))
    with write_stack(tmp_path / "stack.mrcs", PIXEL) as stack:
        stack.append(normalised(images))
    return write_particles(tmp_path / "particles.star", rows)
