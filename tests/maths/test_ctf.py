import numpy as np
import pytest

from alphacryo4d.maths.aberrations import electron_wavelength
from alphacryo4d.maths.ctf import contrast_transfer


def test_wavelength_at_300_kv():
    assert float(electron_wavelength(np.array(300.0))) == pytest.approx(0.019687, abs=1e-6)


def test_transfer_is_the_amplitude_contrast_at_the_origin():
    value = contrast_transfer(
        np.zeros(1),
        np.zeros(1),
        np.array([[1e4, 1e4, 0.0]]),
        voltage=300,
        spherical_aberration=2.7,
        amplitude_contrast=0.1,
    )
    assert value == pytest.approx(0.1)


def test_defocus_along_its_axis_is_u_and_across_it_v():
    k = 0.05
    for azimuth, defocus in ((30.0, 12_000.0), (120.0, 9_000.0)):
        ky, kx = k * np.sin(np.deg2rad(azimuth)), k * np.cos(np.deg2rad(azimuth))
        value = contrast_transfer(
            np.array([kx]),
            np.array([ky]),
            np.array([[12_000.0, 9_000.0, 30.0]]),
            voltage=300,
            spherical_aberration=2.7,
            amplitude_contrast=0.07,
        )
        wavelength = 0.01968749
        phase = np.pi * wavelength * defocus * k**2
        phase -= np.pi / 2 * 2.7e7 * wavelength**3 * k**4
        assert value[0, 0] == pytest.approx(np.sin(phase + np.arcsin(0.07)), abs=1e-4)


def test_a_sine_of_many_turns_is_as_exact_in_single_precision():
    k = np.linspace(0, 0.5, 1001)
    optics = {"voltage": 300.0, "spherical_aberration": 2.7, "amplitude_contrast": 0.1}
    defocus = np.array([[5e4, 4.9e4, 20.0], [np.inf, 1e4, 0.0]])
    single = contrast_transfer(k, 0.3 * k, defocus, **optics, dtype=np.float32)
    double = contrast_transfer(k, 0.3 * k, defocus, **optics)
    assert single.dtype == np.float32
    assert np.abs(single - double).max() < 1e-6
    assert not double[1].any()
