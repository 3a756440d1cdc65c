"""Former names: hidden on the command line, read from old records."""

import dataclasses
import json

import click
from click.testing import CliRunner

from alphacryo4d.core.job import read_job
from alphacryo4d.core.options import build_settings, settings_options
from alphacryo4d.core.renamed import FORMER, with_present_names
from alphacryo4d.ml3d.options import ClassifyOptions
from alphacryo4d.reclassify.options import ReclassifyOptions
from alphacryo4d.voting.recorded_stage import read_recorded


def parsed(settings, *words):
    """Options that the command line makes of words."""
    seen = []

    @click.command()
    @settings_options(settings)
    def command(**values):
        seen.append(build_settings(settings, values))

    result = CliRunner().invoke(command, list(words))
    assert result.exit_code == 0, result.output
    return seen[0], CliRunner().invoke(command, ["--help"]).output


def test_former_names_still_work_and_are_not_shown():
    old, shown = parsed(
        ClassifyOptions, "--limit-resolution", "20", "--sharpen-to", "9", "--seeds", "components",
        "--settle-iterations", "3", "--finer-iterations", "2", "--minimum-share", "0.2",
    )  # fmt: skip
    new, _ = parsed(
        ClassifyOptions, "--initial-resolution", "20", "--final-resolution", "9",
        "--initialisation", "pca", "--iterations-after-pca", "3",
        "--final-component-iterations", "2", "--minimum-occupancy", "0.2",
    )  # fmt: skip
    assert old == new == ClassifyOptions(
        initial_resolution=20, final_resolution=9, iterations_after_pca=3,
        final_component_iterations=2, minimum_occupancy=0.2,
    )  # fmt: skip
    assert "--final-resolution" in shown
    assert not any(
        name in shown for name in ("--sharpen-to", "--limit-resolution", "--seeds", "components]")
    )


def test_former_switches_still_work():
    old, shown = parsed(
        ReclassifyOptions, "--no-reseed", "--stable", "0.3", "--finest-resolution", "7",
        "--first-resolution", "11", "--angle-error", "1", "--shift-error", "0.5",
    )  # fmt: skip
    assert (old.split_merge, old.converged, old.pose_sigma) == (False, 0.3, (1.0, 0.5))
    assert (old.final_resolution, old.initial_resolution) == (7.0, 11.0)
    assert "reseed" not in shown
    assert "--split-merge / --no-split-merge" in " ".join(shown.split())


def test_records_of_before_are_read_by_present_names(tmp_path):
    old = {"classify": {"sharpen_to": 9.0, "seeds": "components", "classes": "4"}, "box": "auto"}
    (tmp_path / "job.json").write_text(json.dumps({"options": old}))
    assert read_job(tmp_path)["options"] == {
        "classify": {
            "final_resolution": 9.0,
            "initialisation": "pca",
            "classes": "4",
            "normalise": "none",
            "keep_outliers": True,
        },
        "box": "auto",
    }


def test_what_was_made_before_images_were_levelled_is_read_as_it_was_made(tmp_path):
    """Its classes have the grey scale of the files; what says how it was made keeps that."""
    for classify, wanted in (({}, "none"), ({"normalise": "ramp"}, "ramp")):
        record = {"options": {"classify": {"classes": "4"} | classify}}
        (tmp_path / "job.json").write_text(json.dumps(record))
        assert read_recorded(tmp_path).classify.normalise == wanted


def test_present_names_are_fields():
    for part, settings in (("classify", ClassifyOptions), ("reclassify", ReclassifyOptions)):
        fields = {field.name for field in dataclasses.fields(settings)}
        assert set(FORMER[part].values()) <= fields
        assert not set(FORMER[part]) & fields


def test_former_defaults_are_told_wherever_a_stage_keeps_them():
    classify = {"sharpen_to": 9.0, "seeds": "components"}
    present = {"normalise": "none", "keep_outliers": True}
    present |= {"final_resolution": 9.0, "initialisation": "pca"}
    assert with_present_names({"classify": classify}) == {"classify": present}
    kept = {"resample": {"engine": "native", "classify": classify}, "vote": {"threshold": 2}}
    told = {"resample": {"engine": "native", "classify": present}, "vote": {"threshold": 2}}
    assert with_present_names(kept) == told
    assert with_present_names(told) == told
