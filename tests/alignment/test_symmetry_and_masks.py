"""Native consensus refinement of a molecule with a point group, and within a mask."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from alphacryo4d.alignment import consensus as alignment
from alphacryo4d.alignment.consensus import Refinement
from alphacryo4d.assessment.conformers import Atoms
from alphacryo4d.assessment.options import SimulateOptions
from alphacryo4d.assessment.stage import write_simulation
from alphacryo4d.io.mrc import read_volume, write_volume
from alphacryo4d.maths.rotations import euler_matrices
from alphacryo4d.maths.symmetry import symmetry_rotations
from alphacryo4d.particles.particle_set import ParticleSet, read_particles
from alphacryo4d.particles.refined import write_refined_poses
from alphacryo4d.relion.options import ConsensusOptions, RelionOptions
from alphacryo4d.resample.consensus_stage import run_consensus

COUNT, BOX, PIXEL = 300, 32, 4.0


def simulated(folder: Path) -> ParticleSet:
    """Images of a dimer about the z axis, whose halves have no symmetry of their own."""
    rng = np.random.default_rng(7)
    arms = (((17, 0, 0), 130, 7.0), ((26, 14, 20), 70, 4.0), ((10, -22, -14), 70, 4.0))
    half = np.vstack([rng.normal(scale=width, size=(n, 3)) + at for at, n, width in arms])
    atoms = np.vstack([half, half * (-1, -1, 1)])
    options = SimulateOptions(
        particles_per_state=COUNT, box=BOX, pixel_size=PIXEL, snr=0.02, rotation_error=0,
        shift_error=0,
    )  # fmt: skip
    write_simulation([Atoms(atoms, np.full(len(atoms), 6.0))], folder, options=options, seed=5)
    return read_particles(folder / "particles.star")


def mask_of_one_half(side: int = 1) -> np.ndarray:
    """Soft sphere about the half at positive or, for -1, negative x."""
    z, y, x = np.mgrid[:BOX, :BOX, :BOX] - BOX // 2
    radius = np.sqrt((x - 5 * side) ** 2 + y**2 + z**2)
    return np.asarray(0.5 + 0.5 * np.cos(np.pi * np.clip((radius - 8) / 3, 0, 1)), np.float32)


def from_truth(given: ParticleSet, right: ParticleSet) -> np.ndarray:
    """Angles (degrees) from the true poses, of the equal ones of C2 the nearest."""
    equal = euler_matrices(given.angles)[:, None] @ symmetry_rotations("C2")
    apart = equal @ euler_matrices(right.angles)[:, None].transpose(0, 1, 3, 2)
    angles = np.rad2deg(Rotation.from_matrix(apart.reshape(-1, 3, 3)).magnitude())
    return np.asarray(angles.reshape(-1, 2).min(axis=1))


@dataclass
class Refined:
    """Angles from the true poses, the map, and what the half-sets are aligned to."""

    angles: np.ndarray
    volume: np.ndarray
    targets: np.ndarray

    @property
    def own_symmetry(self) -> float:
        """Correlation with itself, turned by 180 degrees about the z axis."""
        turned = np.roll(self.volume[:, ::-1, ::-1], (1, 1), axis=(1, 2))
        return float(np.corrcoef(self.volume.ravel(), turned.ravel())[0, 1])


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Refined]:
    """Refinements of one table of rough poses, half of them of the other half of the dimer."""
    folder = tmp_path_factory.mktemp("dimer")
    right = simulated(folder)
    matrices = euler_matrices(right.angles)
    rng = np.random.default_rng(0)
    error = Rotation.from_rotvec(rng.normal(0, 5, (COUNT, 3)), degrees=True).as_matrix()
    rough = error @ matrices @ symmetry_rotations("C2")[rng.integers(0, 2, COUNT)]
    turns = Rotation.from_matrix(rough @ matrices.transpose(0, 2, 1)).as_rotvec(degrees=True)
    table = write_refined_poses(right, turns, np.zeros((COUNT, 2)), folder / "rough.star")
    write_volume(folder / "mask.mrc", mask_of_one_half(), PIXEL)
    works: list[Refinement] = []

    class Kept(Refinement):
        def __init__(self, *given: object) -> None:
            super().__init__(*given)  # type: ignore[arg-type]
            works.append(self)

    found = {"before": Refined(from_truth(read_particles(table), right), *[np.zeros(0)] * 2)}
    plain = ConsensusOptions(engine="native", iterations=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(alignment, "Refinement", Kept)
        for name, symmetry, asked in (
            ("C1", "C1", plain),
            ("C2", "C2", plain),
            ("masked", "C1", replace(plain, mask=folder / "mask.mrc")),
        ):
            made = run_consensus(
                table, folder / name, consensus=asked, relion=RelionOptions(symmetry=symmetry)
            )
            angles, volume = from_truth(read_particles(made[0]), right), read_volume(made[1])[0]
            found[name] = Refined(angles, volume, works[-1].maps.volumes)
    return found


def test_poses_of_a_dimer_become_better_up_to_its_symmetry(runs: dict[str, Refined]) -> None:
    before, plain, dimer = (runs[name] for name in ("before", "C1", "C2"))
    assert np.median(dimer.angles) < 0.4 * np.median(before.angles)
    assert dimer.angles.mean() < 0.95 * plain.angles.mean()


def test_the_map_has_the_symmetry_that_was_asked_for(runs: dict[str, Refined]) -> None:
    assert runs["C2"].own_symmetry > 0.999
    assert runs["C1"].own_symmetry < 0.99


def test_images_are_aligned_to_what_the_mask_holds(runs: dict[str, Refined]) -> None:
    outside, inside = mask_of_one_half() == 0, mask_of_one_half() == 1
    masked, plain = runs["masked"].targets, runs["C1"].targets
    assert not masked[:, outside].any()
    assert masked[:, inside].std() > 0.5 * plain[:, inside].std()
    other = outside & (mask_of_one_half(-1) == 1)
    assert plain[:, other].std() > 0.5 * plain[:, inside].std()
    assert np.median(runs["masked"].angles) < 0.6 * np.median(runs["before"].angles)
