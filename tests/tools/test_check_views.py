"""check: a background that depends on the viewing direction, where views would become states."""

from pathlib import Path

import numpy as np
import pytest
from small_tables import run_command

from alphacryo4d.tools.check_views import view_faults

ONE = np.zeros(20_000, int)


def deviations(spread: float) -> np.ndarray:
    return np.exp(spread * np.random.default_rng(2).normal(size=len(ONE)))


def views(height: np.ndarray) -> np.ndarray:
    """Angles of views at some heights above the equator, -1 to 1."""
    turn = np.random.default_rng(1).uniform(0, 360, (len(height), 2))
    return np.column_stack([turn[:, 0], np.rad2deg(np.arccos(height)), turn[:, 1]])


def warned(deviation: np.ndarray, height: np.ndarray, group: np.ndarray = ONE) -> bool:
    faults = view_faults(Path("p.star"), deviation, views(height), group)
    return [fault.kind for fault in faults] == ["background-by-view"]


def test_scales_that_follow_the_view_are_told() -> None:
    height = np.random.default_rng(0).uniform(-1, 1, len(ONE))
    noise = deviations(0.15)
    assert warned(noise * np.exp(0.1 * np.square(height)), height)
    assert not warned(noise * np.exp(0.1 * height), height)  # opposite views are mirror images
    assert not warned(noise * np.exp(0.01 * np.square(height)), height)


def test_preferred_views_and_groups_of_other_scale_are_none() -> None:
    preferred = np.random.default_rng(0).normal(0, 0.1, len(ONE)).clip(-1, 1)
    assert not warned(deviations(0.15), preferred)
    assert not warned(deviations(0.15)[:300], preferred[:300], ONE[:300])
    tilted = np.arange(len(ONE)) % 2
    height = np.where(tilted == 1, np.cos(0.7), preferred)
    assert not warned(deviations(0.15) * (1 + tilted), height, tilted)


@pytest.mark.parametrize(("box", "pixel_size", "told"), [(32, "6.5", True), (48, "5.6", False)])
def test_one_conformation_in_a_box_that_is_tight(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    box: int,
    pixel_size: str,
    told: bool,
) -> None:
    monkeypatch.chdir(tmp_path)
    size = ("--box", str(box), "--pixel-size", pixel_size, "--particles-per-state", "600")
    assert run_command(capsys, "simulate", "--i", "rigid", *size, "--o", "data").returncode == 0
    done = run_command(capsys, "check", "--i", "data/particles.star")
    assert ("depends on the viewing direction" in done.stderr) == told
    dry = ("resample", "--i", "data/particles.star", "--o", "folds", "--dry-run")
    assert ("depends on the viewing direction" in run_command(capsys, *dry).stderr) == told
    unscaled = run_command(capsys, *dry, "--normalise", "none")
    assert "depends on the viewing direction" not in unscaled.stderr
