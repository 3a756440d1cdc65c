"""`landscape particles` on a table with every row twice: what it says is that of single rows."""

import json

import numpy as np
import pytest
import simulated

from alphacryo4d.particle_landscape.options import CoordinateOptions, DensityOptions
from alphacryo4d.particle_landscape.stage import run_particles

QUICK = CoordinateOptions(
    components=3, iterations=1, final_resolution=15.0, initial_resolution=20.0, mask_diameter=100.0
)
FEW = DensityOptions(gaussians=3, images=11, path_volumes=0)


def columns_of(path):
    return np.genfromtxt(path, delimiter=",", names=True)


@pytest.fixture(scope="module")
def landscapes(tmp_path_factory):
    """Particle landscapes of a table, and of it with every row twice."""
    single, double = (tmp_path_factory.mktemp(name) for name in ("single", "double"))
    rng = np.random.default_rng(4)
    truth = rng.choice([1, 2], 500, p=[0.6, 0.4])
    table, _ = simulated.simulate(single, truth, 0.2, rng)
    head, rows = (lines := table.read_text().rstrip("\n").split("\n"))[:-500], lines[-500:]
    twice = double / "particles.star"
    twice.write_text("\n".join([*head, *np.repeat(rows, 2)]) + "\n\n")
    groups = simulated.write_project(single, table, truth, rng)
    simulated.write_project(double, twice, np.repeat(truth, 2), rng)
    np.save(double / "resample" / "groups.npy", np.repeat(groups, 2, axis=0).astype(np.int32))
    for folder in (single, double):
        run_particles(folder, folder / "made", options=QUICK, density=FEW)
    return single / "made", double / "made"


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("components.csv", "heldout_gain_error"),
        ("populations.csv", "population_error"),
        ("gaussians.csv", "error_of_difference"),
        ("density_states.csv", "energy_error_kt"),
    ],
)
def test_errors_do_not_shrink(landscapes, name, column):
    one, two = (columns_of(folder / name)[column] for folder in landscapes)
    np.testing.assert_allclose(two, one, rtol=0.15, atol=0.002)


def test_energies_stay(landscapes):
    one, two = (columns_of(folder / "density_states.csv") for folder in landscapes)
    np.testing.assert_allclose(two["energy_kt"], one["energy_kt"], atol=0.05)
    np.testing.assert_allclose(two["population"], one["population"], atol=0.02)
    kept = [json.loads((f / "job.json").read_text())["results"]["components"] for f in landscapes]
    assert kept[0] == kept[1] > 0
