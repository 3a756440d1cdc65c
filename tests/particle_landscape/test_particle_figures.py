"""Figures of single particles: states by whole numbers, one component as a histogram."""

import numpy as np
import pytest

from alphacryo4d.core.colours import colour_of
from alphacryo4d.particle_landscape.plots import draw_particles


@pytest.fixture
def shown(monkeypatch):
    """Figures that would be written."""
    figures = []
    monkeypatch.setattr(
        "alphacryo4d.particle_landscape.plots.save_figure", lambda one, paths: figures.append(one)
    )
    return figures


def columns(rng, count=400, states=3):
    names = ("z1", "z2", "defocus_angstrom", "rot_degrees", "tilt_degrees")
    told = {name: rng.standard_normal(count) for name in names}
    return told | {"state": rng.integers(0, states + 1, count)}


@pytest.mark.parametrize("states", [3, 20, 30])
def test_states_have_whole_numbers_and_0_is_voted_out(shown, states):
    draw_particles([], columns(np.random.default_rng(0), states=states))
    bar = shown[0].axes[4]
    ticks, labels = bar.get_yticks(), [text.get_text() for text in bar.get_yticklabels()]
    assert labels == ["voted out", *(str(int(tick)) for tick in ticks[1:])]
    assert set(np.diff(ticks)) == {1 if states <= 20 else 2}
    colours = list(shown[0].axes[0].collections[0].cmap.colors)
    assert colours == [colour_of(k) for k in range(states + 1)]
    assert len(set(colours)) == min(states, 20) + 1


def test_the_panel_of_states_says_what_they_are_of(shown):
    told = columns(np.random.default_rng(2))
    for _ in range(2):
        draw_particles([], told, states_of="vote-2")
        assert shown[-1].axes[0].get_title() == "State of vote-2"
        told = {name: values for name, values in told.items() if name != "z2"}


def test_one_component_is_a_histogram_with_its_density(shown):
    told = columns(np.random.default_rng(1))
    del told["z2"]
    draw_particles([], told, np.full(400, 0.04))
    axes = shown[0].axes
    assert sum(patch.get_height() for patch in axes[0].patches) == 400
    x, density = axes[0].lines[0].get_data()
    width = np.ptp(told["z1"]) / 60
    assert np.isclose(density.sum() * (x[1] - x[0]) / width, 400, rtol=0.02)
    assert [one.get_ylabel() for one in axes[1:4]] == [
        "Defocus (\u00c5)", "Rot (degrees)", "Tilt (degrees)",
    ]  # fmt: skip
