"""Components that images hardly show must not carry all coordinates away."""

import numpy as np
import pytest

from alphacryo4d.assessment.options import SimulateOptions
from alphacryo4d.assessment.stage import run_simulate
from alphacryo4d.particles.particle_set import read_particles
from alphacryo4d.particles.samples import prepare_rows
from alphacryo4d.reclassify.fit_options import FitOptions
from alphacryo4d.reclassify.poses import MovingPoses
from alphacryo4d.reclassify.state_fit import fit_states

STATES, EACH = 8, 120
GROUPS = 6


@pytest.fixture(scope="module")
def particles(tmp_path_factory):
    """A hinge of small steps at a high SNR, and labels of six states that are right."""
    folder = tmp_path_factory.mktemp("hinge")
    options = SimulateOptions(
        particles_per_state=EACH, box=32, pixel_size=5.25, snr=0.05, rotation_error=0.5,
        shift_error=0.2,
    )  # fmt: skip
    run_simulate(["small-hinge"], folder, options=options, seed=3)
    count = STATES * EACH
    images = prepare_rows(read_particles(folder / "particles.star"), np.arange(count), 11.6)
    labels = (np.load(folder / "truth.npy") - 1) * GROUPS // STATES
    return images, labels


def test_states_stay_about_the_mean_however_long_free_poses_are_fitted(particles):
    images, labels = particles
    options = FitOptions(
        11.6, initial_resolution=11.6, iterations=6, from_images=True, split_merge=False
    )
    start = np.eye(GROUPS, dtype=np.float32)[labels]
    fit = fit_states(MovingPoses(images), np.arange(len(labels)), start, options)
    points, shares = fit.model.points, fit.model.proportions
    assert np.linalg.norm(shares @ points) < 0.5
    apart = np.linalg.norm(points[:, None] - points[None], axis=2)
    assert apart[np.triu_indices(GROUPS, 1)].min() > 1
    assert (fit.posteriors.argmax(axis=1) == labels).mean() > 0.8
