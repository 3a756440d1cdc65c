"""check: a background that depends on the viewing direction, where views would become states."""

import json
from pathlib import Path

import numpy as np
import pytest
from small_tables import run_command

from alphacryo4d.particles.view_scales import one_scale, told_by_view
from alphacryo4d.tools.check_views import view_faults
from alphacryo4d.voting.recorded_stage import read_recorded

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


@pytest.mark.parametrize("several", [2, 5, 20])
def test_noise_of_micrographs_does_not_hide_the_views(several: int) -> None:
    """Images of one micrograph are compared, as many as are looked at."""
    rng = np.random.default_rng(4)
    unit = np.arange(2000) // several
    noise = np.exp(rng.normal(0, 0.3, 2000))[unit] * deviations(0.1)[:2000]
    height = rng.uniform(-1, 1, 2000)
    scales = np.exp(0.15 * np.square(height))  # 4.5%
    assert not warned(noise * scales, height, ONE[:2000])
    assert warned(noise * scales, height, unit)
    size, found = told_by_view(noise * scales, views(height), unit)
    assert size == pytest.approx(np.log(scales).std(), rel=0.2)
    assert np.corrcoef(found, np.log(scales))[0, 1] > 0.8


@pytest.mark.parametrize("several", [1, 2, 5, 20])
def test_noise_of_micrographs_is_not_taken_for_views(several: int) -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        unit = np.arange(1000) // several
        noise = np.exp(rng.normal(0, 0.3, 1000))[unit] * np.exp(rng.normal(0, 0.1, 1000))
        noise[rng.integers(0, 1000, 5)] *= 50  # ice
        assert not warned(noise, rng.uniform(-1, 1, 1000), one_scale(unit, ONE[:1000]))
    tilted = unit % 2  # thick ice, seen from one side
    height = np.where(tilted == 1, np.cos(0.7), 0.1) + rng.normal(0, 0.05, 1000)
    assert several == 1 or not warned(noise * (1 + 0.3 * tilted), height.clip(-1, 1), unit)


@pytest.mark.parametrize(("box", "pixel_size", "told"), [(32, "6.5", True), (48, "5.6", False)])
def test_one_conformation_in_a_box_that_is_tight(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    box: int,
    pixel_size: str,
    told: bool,
) -> None:
    """Without a choice it is mended; a choice is kept, and warned of where it does not mend it."""
    monkeypatch.chdir(tmp_path)
    size = ("--box", str(box), "--pixel-size", pixel_size, "--particles-per-state", "600")
    assert run_command(capsys, "simulate", "--i", "rigid", *size, "--o", "data").returncode == 0
    table = ("--i", "data/particles.star", "--classes", "8", "--dry-run")
    seen, mended = "depends on the viewing direction", "to the deviation of their micrograph, so"
    done = run_command(capsys, "check", *table[:2])
    assert (seen in done.stderr) == told
    for words in (("resample", *table), ("run", *table, "--no-realign")):
        said = run_command(capsys, *words, "--o", "folds").stderr
        assert (said.count(seen), said.count(mended)) == ((1, 1) if told else (0, 0))
        chosen = run_command(capsys, *words, "--o", "folds", "--normalise", "deviation").stderr
        assert (chosen.count(seen), chosen.count(mended)) == ((1, 0) if told else (0, 0))
        if words[0] == "run":  # optics that are given, and seen beforehand
            said = run_command(capsys, *words, "--o", "folds", "--voltage", "300").stderr
            assert (said.count(seen), said.count(mended)) == ((1, 1) if told else (0, 0))
        if words[0] == "resample":  # RELION takes the files as they are
            classify = ("resample", "classify", *table, "--o", "one", "--engine", "relion")
            asked = run_command(capsys, *classify).stderr
            assert (asked.count(seen), asked.count(mended)) == ((1, 0) if told else (0, 0))
        for other in ("none", "micrograph"):
            assert (
                seen not in run_command(capsys, *words, "--o", "folds", "--normalise", other).stderr
            )


@pytest.mark.parametrize("command", ["classify", "components", ""])
def test_what_the_images_decided_is_on_record_and_not_decided_again(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    size = ("--box", "32", "--pixel-size", "6.5", "--particles-per-state", "600")
    run_command(capsys, "simulate", "--i", "rigid", *size, "--o", "data")
    words = ["resample", *([command] if command else []), "--i", "data/particles.star", "--o", "p"]
    words += ["--final-resolution", "0", "--initial-resolution", "20"]
    words += ["--components", "2"] if command == "components" else ["--classes", "2", "--iter", "2"]
    assert run_command(capsys, *words).returncode == 0
    options = json.loads(Path("p/job.json").read_text())["options"]
    assert options.get("classify", options)["normalise"] == "micrograph"
    before = Path("p/job.json").read_bytes()
    again = run_command(capsys, *words).stderr
    assert "already done, nothing to do" in again
    assert Path("p/job.json").read_bytes() == before
    if not command:
        assert read_recorded(Path("p")).classify.normalise == "micrograph"
        changed = run_command(capsys, *words, "--normalise", "deviation").stderr
        assert "normalise micrograph -> deviation" in changed
        kept = run_command(capsys, *words).stderr
        assert "already done, nothing to do" in kept
        assert "--normalise micrograph makes it anew" in kept
        run_command(capsys, *words, "--overwrite")
        assert read_recorded(Path("p")).classify.normalise == "micrograph"


@pytest.mark.slow
@pytest.mark.parametrize(("normalise", "supported"), [("auto", False), ("deviation", True)])
def test_views_of_one_conformation_are_no_states(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    normalise: str,
    supported: bool,
) -> None:
    monkeypatch.chdir(tmp_path)
    size = ("--box", "32", "--pixel-size", "6.5", "--particles-per-state", "1200")
    steps = (
        ("simulate", "--i", "rigid", *size, "--o", "data"),
        ("resample", "--i", "data/particles.star", "--o", "p/resample", "--classes", "6",
         "--final-resolution", "0", "--normalise", normalise),
        ("landscape", "--i", "p/resample", "--o", "p/landscape", "--states", "3"),
        ("vote", "--i", "p/resample", "--landscape", "p/landscape", "--o", "p/vote",
         "--no-reconstruct"),
    )  # fmt: skip
    for words in steps:
        assert run_command(capsys, *words).returncode == 0
    states = json.loads(Path("p/vote/report.json").read_text())["per_state"]
    assert any(state["supported"] for state in states) == supported
