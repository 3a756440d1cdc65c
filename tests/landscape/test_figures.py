"""What figures say: barriers that are not resolved, colour bars that end before the values."""

import numpy as np
import pytest
from matplotlib.layout_engine import ConstrainedLayoutEngine

from alphacryo4d.core.colours import NO_STATE, STATE_COLOURS, colour_of
from alphacryo4d.landscape.barriers import Barrier, Interval
from alphacryo4d.landscape.curves_stage import draw_path, labels_apart, numbers_text
from alphacryo4d.landscape.heights import Heights, barriers_said
from alphacryo4d.landscape.plots import beyond, draw_embedding, energy_ticks, scatter_column
from alphacryo4d.landscape.states import States
from alphacryo4d.landscape.string_method import EnergyPath
from alphacryo4d.reclassify.plots import draw_states


@pytest.mark.parametrize(
    ("values", "ends"),
    [([1, 2, 3], "neither"), ([1, 4], "max"), ([0, 3], "min"), ([0, 9, np.nan], "both")],
)
def test_a_colour_bar_says_where_values_leave_it(values, ends):
    assert beyond(np.array(values, float), 1.0, 3.0) == ends


def barrier(height):
    return Barrier(0.0, 1.0, 2.0, height, height, np.zeros(2))


def test_a_barrier_whose_interval_holds_zero_is_not_resolved():
    sure, unsure, untested = Interval(3, 0.4, 6.2), Interval(1, 0, 4.5), Interval(2, np.nan, np.nan)
    assert [one.resolved for one in (sure, unsure, untested)] == [True, False, False]
    both = [Heights(sure, sure), Heights(unsure, sure), Heights(untested, untested)]
    assert [one.resolved for one in both] == [True, False, False]
    lowest = Heights(Interval(3.2, 0.0, 3.6), sure)
    text = barriers_said(both[:2], lowest)
    assert "2 barriers, 1 resolved" in text
    assert "3.00 kT (0.4 to 6.2)" in text
    assert "not resolved, below 4.5 kT" in text
    assert text.endswith("climbs less than 3.6 kT (not resolved)")
    assert "without intervals" in barriers_said(both[2:], both[2])


def test_a_barrier_is_resolved_from_both_sides_and_written_in_one_way():
    sure, unsure = Interval(1.23, 0.1, 1.9), Interval(0.77, 0.0, 1.42)
    assert [Heights(*both).label for both in ((sure, sure), (sure, unsure), (unsure, sure))] == [
        "1.2",
        "< 1.9",
        "< 1.4",
    ]
    assert Heights(unsure, sure).text == "less than 1.4 kT (not resolved)"
    assert "1 barrier, 0 resolved" in barriers_said([Heights(unsure, sure)], Heights(sure, sure))


def test_the_figure_draws_resolved_and_unresolved_barriers_apart(tmp_path, monkeypatch):
    x = np.linspace(0, 4, 41)
    images, energies = np.stack([x, 0 * x], 1), 1 - np.cos(np.pi * x)
    path = EnergyPath(images, energies, 1, 0.0, 0.0, True, 0)
    shown = []
    monkeypatch.setattr(
        "alphacryo4d.landscape.curves_stage.save_figure", lambda figure, paths: shown.append(figure)
    )
    pairs = [
        (barrier(2), Heights(sure, sure)) for sure in (Interval(2, 0.5, 3), Interval(2, 0, 5.5))
    ]
    draw_path([], path, barriers=pairs)
    axes = shown[0].axes[0]
    labels = axes.get_legend_handles_labels()[1]
    assert "Barrier (95% interval)" in labels
    assert "Barrier not resolved (interval holds 0)" in labels
    assert [text.get_text() for text in axes.texts] == ["2.0", "< 5.5"]


def test_states_at_the_same_place_of_the_path_share_a_label(monkeypatch):
    x = np.linspace(0, 4, 41)
    path = EnergyPath(np.stack([x, 0 * x], 1), 0 * x, 1, 0.0, 0.0, True, 0)
    centers = np.array([[-3, 1], [-1, 1], [-2, 0], [2, 0.5], [5, 1], [5, 2]], float)
    none = np.zeros(len(centers))
    shown = []
    monkeypatch.setattr(
        "alphacryo4d.landscape.curves_stage.save_figure", lambda figure, paths: shown.append(figure)
    )
    draw_path([], path, states=States(centers, none, none, none, np.zeros(1, np.int32)))
    assert [text.get_text() for text in shown[0].axes[0].texts] == ["1-3", "4", "5, 6"]
    assert numbers_text(np.array([7, 1, 2, 4, 3])) == "1-4, 7"


def test_labels_along_a_path_do_not_overlap():
    places = np.array([0.0, 0.3, 0.31, 0.335, 0.36, 0.9])
    groups = [near.tolist() for near in labels_apart(places)]
    assert groups == [[0], [1, 2, 3], [4], [5]]
    many = np.sort(np.random.default_rng(0).uniform(0, 1, 40))
    groups = labels_apart(many)
    assert np.concatenate(groups).tolist() == list(range(40))
    middles = [many[near[len(near) // 2]] for near in groups]
    sizes = [len(numbers_text(near + 1)) for near in groups]
    for k in range(len(groups) - 1):
        assert middles[k + 1] - middles[k] > 0.014 * (sizes[k] + sizes[k + 1]) / 2


def test_states_of_a_reclassification_do_not_hide_each_other(monkeypatch):
    shown = []
    monkeypatch.setattr(
        "alphacryo4d.reclassify.plots.save_figure", lambda figure, paths: shown.append(figure)
    )
    x, y = (axis.ravel() for axis in np.meshgrid(np.arange(5.0), np.arange(5.0)))
    centres, radii = np.array([[2.0, 2.0], [2.5, 2.0]]), np.array([0.5, 2.0])
    draw_states([], np.column_stack([x, y, x]), centres, radii, np.array([1.0, 2.0]))
    circles = shown[0].axes[0].patches
    assert [one.radius for one in circles] == [2.0, 2.0, 0.5, 0.5]  # small ones in front
    assert {one.get_facecolor()[3] for one in circles} == {0.0, 0.6}


def test_a_state_has_one_colour_in_every_figure():
    """Also where volumes are in no state, and where states are missing."""
    shown = []

    class Axes:
        def scatter(self, *points, color, label, **more):
            shown.append((label, color))

        def legend(self, **more):
            pass

    values = np.array([0, 2, 7, 8])
    scatter_column(Axes(), np.zeros((4, 2)), values, "category", key=True)
    assert shown == [(str(k), colour_of(k)) for k in (0, 2, 7, 8)]
    assert colour_of(0) == NO_STATE
    assert colour_of(8) == STATE_COLOURS[7] == colour_of(28)


@pytest.mark.parametrize(("low", "high"), [(3.5, 4.5), (4.0, 6.0), (2.5, 11.0), (0.0, 0.5)])
def test_a_colour_bar_of_energies_has_even_ticks_inside(low, high):
    ticks = energy_ticks(low, high)
    assert 3 <= len(ticks) <= 7
    assert ticks.min() >= low
    assert ticks.max() <= high
    np.testing.assert_allclose(np.diff(ticks), ticks[1] - ticks[0])


def test_a_legend_covers_neither_labels_nor_points(monkeypatch):
    """Eight states over a narrow embedding, whose label of RC2 is long."""
    shown = []
    monkeypatch.setattr(
        "alphacryo4d.landscape.plots.save_figure", lambda figure, paths: shown.append(figure)
    )
    states = np.repeat(np.arange(1, 9), 3)
    places = np.stack([states, 0.01 * states], 1).astype(float)
    folds = np.array(["u12345", "u12346", "u23456"])[np.arange(24) % 3]
    columns = [("State", states, "category"), ("Fold", folds, "category"), ("E", states, "number")]
    draw_embedding([], places, columns)
    figure = shown[0]
    ConstrainedLayoutEngine(compress=True).execute(figure)
    for axes in figure.axes[:2]:
        legend = axes.get_legend().get_window_extent()
        names = [other.yaxis.label for other in figure.axes[:3]]
        others = [axes.bbox, *(name.get_window_extent() for name in names)]
        assert not any(legend.overlaps(other) for other in others)
