"""Groups of particles: noise spectra and intensities of their own."""

from dataclasses import replace

import numpy as np
import pytest
from blobs import make_blobs, random_states

from alphacryo4d.ml3d.expectation import View
from alphacryo4d.ml3d.grid import Grid
from alphacryo4d.ml3d.groups import apply_group_scales, apply_particle_scales
from alphacryo4d.ml3d.mean import data_power


@pytest.fixture(scope="module")
def grouped():
    blobs = make_blobs(random_states(1), 400, noise=0.05)
    group = np.arange(400) % 4
    blobs.images *= np.array([0.7, 0.9, 1.1, 1.3], np.float32)[group][:, None, None]
    return blobs.prepared(noise_group=group)


def test_intensity_scales_are_recovered(grouped):
    images = replace(grouped, ctf=grouped.ctf.copy())
    scales = apply_group_scales(images, 9, threads=2)
    assert np.allclose(scales, [0.7, 0.9, 1.1, 1.3], atol=0.04)
    assert np.allclose(images.ctf, grouped.ctf * scales[grouped.group][:, None], rtol=1e-4)


def test_one_group_keeps_its_intensity():
    images = make_blobs(random_states(1), 50, noise=0.1).prepared()
    assert apply_group_scales(images, 9).tolist() == [1.0]


def test_a_small_group_leans_on_the_noise_of_all(grouped):
    group = np.zeros(400, np.int32)
    group[0] = 1
    images = replace(grouped, group=group)
    power = data_power(View(images, np.arange(400), Grid(9)))
    alone = data_power(View(replace(grouped, group=group * 0), np.arange(1), Grid(9)))[0]
    assert np.allclose(power[1], (alone + 10 * power_of_all(images)) / 11, rtol=1e-3)


def power_of_all(images):
    return data_power(View(replace(images, group=images.group * 0), np.arange(400), Grid(9)))[0]


def test_intensities_of_single_particles_are_recovered_where_they_vary():
    rng = np.random.default_rng(4)
    blobs = make_blobs(random_states(1), 300, noise=0.05)
    wanted = np.exp(rng.normal(0, 0.3, 300)).clip(0.4, 2.5)
    blobs.images *= wanted[:, None, None].astype(np.float32)
    images = blobs.prepared()
    before = images.ctf.copy()
    scales = apply_particle_scales(images, 9)
    error = np.log(scales / np.median(scales)) - np.log(wanted / np.median(wanted))
    assert np.abs(error).mean() < 0.08 < 0.2 < np.abs(np.log(wanted)).mean()
    assert np.allclose(images.ctf, before * scales[:, None], rtol=1e-4)


@pytest.mark.parametrize("noise", [0.05, 5.0, 1e4])
def test_intensities_that_do_not_vary_are_left_alone(noise):
    """However much noise there is: images that hold nothing else as well."""
    images = make_blobs(random_states(2), 300, noise=noise).prepared()
    assert (apply_particle_scales(images, 9) == 1).all()


def test_images_without_information_have_no_intensity():
    images = make_blobs(random_states(1), 50, noise=0.1).prepared()
    images = replace(images, outlier=np.ones(50, bool))
    assert (apply_particle_scales(images, 9) == 1).all()
