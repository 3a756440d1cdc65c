"""The page as a file: what stands in it, what it does without, and that nothing gets out of it."""

import base64
import json
import logging
import re
import shutil
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_project import write_project

from alphacryo4d.core.errors import InputError
from alphacryo4d.io.mrc import write_volume
from alphacryo4d.maths.contrast import level_of
from alphacryo4d.particles.open import open_table
from alphacryo4d.report.landscape_sets import renumbered
from alphacryo4d.report.maps import along_path, resized
from alphacryo4d.report.particles_view import views_of
from alphacryo4d.report.payload import Payload, safe_json
from alphacryo4d.report.project_files import _order, label_of
from alphacryo4d.report.scene_stage import write_scene
from alphacryo4d.report.stage import project_data, write_report_page
from alphacryo4d.report.states import merge_tree, pose_errors
from alphacryo4d.report.verdict import sentence, signs


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return write_project(tmp_path_factory.mktemp("small"))


def read_page(path):
    """Data and arrays of a page."""
    text = path.read_text()
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])
    arrays = {}
    pattern = r'data-name="([^"]+)" data-kind="(\w+)" data-shape="([\d,]+)">([^<]*)<'
    for name, kind, shape, packed in re.findall(pattern, text):
        raw = np.frombuffer(zlib.decompress(base64.b64decode(packed)), kind)
        arrays[name] = raw.reshape([int(n) for n in shape.split(",")])
    return data, arrays, text


def test_the_page_holds_what_the_files_say(project):
    data, arrays, _ = read_page(write_report_page(project))
    report = json.loads((project / "vote" / "report.json").read_text())
    (votes,) = data["sets"]
    assert votes["key"] == "vote"
    assert [s["particles"] for s in votes["states"]] == [
        s["particles"] for s in report["per_state"]
    ]
    assert "3 states, each supported by held-out particles" in votes["sentence"]
    assert "0.40 \u00b1 0.04 nats" in votes["sentence"]
    assert "600 of 600 particles kept" in votes["sentence"]
    embedding = np.load(project / "landscape" / "embedding.npy")
    assert np.array_equal(arrays[data["landscapes"]["landscape"]["points"]], embedding)
    states = arrays[data["particles"]["sets"]["vote"]["states"]]
    assert np.array_equal(np.bincount(states)[1:], [s["particles"] for s in votes["states"]])
    heights = [b["resolved"] for b in data["landscapes"]["landscape"]["path"]["barriers"]]
    assert heights == [True, False]
    assert arrays[votes["maps"]["volumes"]].shape == (3, 16, 16, 16)


def test_the_colours_of_the_landscape_are_those_of_its_figure(project, tmp_path):
    """Where no volume is, the surface rises without end; the colours do not follow it."""
    copy = tmp_path / "project"
    shutil.copytree(project, copy)
    table = copy / "landscape" / "landscape.csv"
    head, *rows = table.read_text().splitlines()
    far = [",".join([*row.split(",")[:2], "40"]) if "-2.0," in row else row for row in rows]
    assert far != rows
    table.write_text("\n".join([head, *far]) + "\n")
    low, high = landscape_of(copy)["grid"]["range"]
    assert 0.5 <= low < high <= 3.5


def test_nothing_is_fetched_from_anywhere(project):
    text = write_report_page(project).read_text()
    assert "connect-src 'none'" in text
    assert not re.findall(r"<(?:link|img|iframe)[ >]|<script[^>]+src=|@import|url\(", text[:20000])


def test_words_of_a_file_cannot_become_markup(tmp_path):
    project = write_project(tmp_path, name="</script><img/src=x/onerror=alert(1)>", particles=60)
    data, _, text = read_page(write_report_page(project))
    assert "<img/src" not in text
    names = [row["name"] for row in data["particles"]["sets"]["vote"]["micrographs"]["odd"]]
    assert any(name.startswith("</script><img/src=x") for name in names)
    assert "</" not in safe_json({"a": "</script>&\u2028"})


@pytest.mark.parametrize(
    "gone", ["deepfeature", "landscape", "vote", "resample/volumes.npy", "landscape/path.csv"]
)
def test_the_page_does_without_what_a_project_lacks(project, tmp_path, gone):
    copy = tmp_path / "project"
    shutil.copytree(project, copy)
    target = copy / gone
    shutil.rmtree(target) if target.is_dir() else target.unlink()
    data, _, _ = read_page(write_report_page(copy))
    key = gone.split("/")[0]
    assert (data["training"] is None) == (key == "deepfeature")
    assert ("landscape" not in data["landscapes"]) == (gone == "landscape")
    assert bool(data["sets"]) == (gone != "vote")


def test_the_particle_landscape_is_shown_where_there_is_one(project, tmp_path):
    copy = tmp_path / "project"
    shutil.copytree(project, copy)
    assert read_page(write_report_page(copy))[0]["particle_space"] is None
    folder = copy / "particle_landscape"
    folder.mkdir()
    record = {"results": {"components": 2, "gain_per_particle": 3.5, "density_states": 1}}
    (folder / "job.json").write_text(json.dumps(record))
    (folder / "components.csv").write_text("components,kept\n0,1\n1,1\n2,1\n")
    (folder / "energies.png").write_bytes(b"picture")
    told = read_page(write_report_page(copy))[0]["particle_space"]
    assert "2 components: a held-out particle is 3.50 nats" in told["sentence"]
    assert told["sentence"].endswith("The density has 1 state.")
    assert told["components"] == {"components": [0, 1, 2], "kept": [1, 1, 1]}
    assert told["density_states"] == {}
    assert [one["file"] for one in told["figures"]] == ["particle_landscape/energies.png"]
    assert told["figures"][0]["image"] == "data:image/png;base64,cGljdHVyZQ=="
    (folder / "job.json").write_text(json.dumps({"results": {"components": 0}}))
    told = read_page(write_report_page(copy))[0]["particle_space"]
    assert told["sentence"].startswith("No structure")


def test_an_old_report_without_later_figures_makes_a_page(project, tmp_path):
    copy = tmp_path / "project"
    shutil.copytree(project, copy)
    path = copy / "vote" / "report.json"
    report = json.loads(path.read_text())
    for name in ("merging_loss", "merging_loss_error", "support", "batches", "heldout_agreement"):
        del report[name]
    for entry in report["per_state"]:
        for name in ("support_gain", "support_error", "supported", "merges_with"):
            del entry[name]
    path.write_text(json.dumps(report))
    data, _, _ = read_page(write_report_page(copy))
    assert data["sets"][0]["tree"] is None
    assert "not tested on held-out particles" in data["sets"][0]["sentence"]


def test_a_table_without_a_report_is_counted(project, tmp_path):
    copy = tmp_path / "project"
    shutil.copytree(project, copy)
    (copy / "vote" / "report.json").rename(tmp_path / "report.json")
    told = json.loads((tmp_path / "report.json").read_text())
    data, _ = project_data(copy)
    for row, before in zip(data["sets"][0]["states"], told["per_state"], strict=True):
        assert row["particles"] == before["particles"]
        assert row["energy_kt"] == pytest.approx(before["energy_kt"], abs=1e-5)


def test_no_project_is_refused(tmp_path):
    with pytest.raises(InputError, match="no project folder"):
        write_report_page(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        write_report_page(tmp_path / "gone")
    (tmp_path / "particles.star").touch()
    with pytest.raises(InputError, match="a file, no project folder"):
        write_report_page(tmp_path / "particles.star")
    with pytest.raises(InputError, match="no states in this folder"):
        write_scene(tmp_path)


def test_a_broken_report_is_named(project, tmp_path):
    copy = tmp_path / "project"
    shutil.copytree(project, copy)
    (copy / "vote" / "report.json").write_text("{")
    with pytest.raises(InputError, match=r"vote/report.json: not valid JSON"):
        write_report_page(copy)


def test_warnings_come_first_and_lost_inputs_are_named(project, tmp_path):
    copy = tmp_path / "project"
    shutil.copytree(project, copy)
    record = json.loads((copy / "resample" / "job.json").read_text())
    record["inputs"][0]["path"] = str(tmp_path / "lost.star")
    (copy / "resample" / "job.json").write_text(json.dumps(record))
    data, _ = project_data(copy)
    signs = data["sets"][0]["signs"]
    levels = [("warn", "off", "good").index(sign["level"]) for sign in signs]
    assert levels == sorted(levels)
    inputs = next(sign for sign in signs if sign["title"] == "Inputs still there")
    assert inputs["level"] == "warn"
    assert "lost.star" in inputs["text"]


def test_stages_whose_results_are_shown_are_in_the_provenance(project, tmp_path):
    copy = tmp_path / "project"
    shutil.copytree(project, copy)
    for name in ("landscape-stability", "particle_landscape"):
        (copy / name).mkdir()
        (copy / name / "job.json").write_text(json.dumps({"status": "done", "stage": name}))
    stages = [one["folder"] for one in project_data(copy)[0]["provenance"]["stages"]]
    assert stages == [
        "resample", "deepfeature", "landscape", "vote", "landscape-stability", "particle_landscape",
    ]  # fmt: skip


def test_a_state_that_is_not_needed_is_named():
    rows = [{"state": 1, "particles": 9, "supported": True, "support_gain": 1.0,
             "support_error": 0.1, "merges_with": 2},
            {"state": 2, "particles": 9, "supported": False}]  # fmt: skip
    text = sentence({"states": rows, "particles": 20, "voted": 18})
    assert text.startswith("2 states, 1 of them supported by held-out particles; not needed: 2")


def test_states_of_single_particles_are_tested_by_their_reclassification():
    shown = {"states": [{"state": 1, "particles": 9}], "single_particles": True}
    text = {one["title"]: one["text"] for one in signs(shown, None, None, [])}["States supported"]
    assert text == "not tested: a reclassification of these states is"


def test_merging_the_nearest_states_comes_first():
    losses = [[None, 0.1, 2.0], [0.1, None, 2.2], [2.0, 2.2, None]]
    tree = merge_tree({"merging_loss": losses})
    assert tree[0][:3] == [0, 1, 0.1]
    assert tree[1][2] == pytest.approx(2.1)


def test_a_smaller_box_keeps_the_density_in_its_place():
    axis = np.arange(32) - 16
    r = axis[:, None, None] ** 2 + (axis[:, None] - 4) ** 2 + axis**2
    ball = np.exp(-r / 40)
    small = resized(ball, 16)
    assert np.unravel_index(small.argmax(), small.shape) == (8, 10, 8)
    assert small.max() == pytest.approx(1.0, abs=0.02)


def test_the_first_level_lies_between_solvent_and_molecule():
    rng = np.random.default_rng(0)
    volume = rng.normal(scale=0.05, size=(16, 16, 16))
    volume[5:11, 5:11, 5:11] += 1
    assert 0.2 < level_of(volume) < 0.9


def test_maps_along_the_path_go_from_its_first_volumes_to_its_last():
    points = np.column_stack([np.linspace(0, 10, 21), np.zeros(21)])
    volumes = np.linspace(0, 1, 21)[:, None, None, None] * np.ones((21, 4, 4, 4))
    path = np.array([[0.0, 0], [5, 0], [10, 0]])
    maps, averaged = along_path(lambda row: volumes[row], points, np.ones(21), path, box=4)
    means = maps.mean(axis=(1, 2, 3))
    assert means[0] < 0.25
    assert means[1] == pytest.approx(0.5, abs=0.01)
    assert means[2] > 0.75
    assert (averaged >= 1).all()


def test_arrays_keep_their_bytes():
    payload = Payload()
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    payload.add("x", values)
    packed = re.search(r">([^<]*)<", payload.elements())[1]
    raw = np.frombuffer(zlib.decompress(base64.b64decode(packed)), "<f4")
    assert np.array_equal(raw.reshape(2, 3), values)


def with_local_resolution(project, folder):
    """Maps of the local resolution in a folder, as `vote reconstruct --local-resolution` leaves."""
    folder.mkdir(exist_ok=True)
    entries = []
    for k in range(3):
        values = np.full((16, 16, 16), 6.0 + k, np.float32)
        values[:8] += 3
        write_volume(folder / f"class{k + 1:03d}_locres.mrc", values, 3.0)
        entries.append({"state": k + 1, "local_resolution": {"median_angstrom": 6.0 + k}})
    (folder / "reconstruction.json").write_text(json.dumps({"states": entries}))


def test_local_resolution_made_beside_the_votes_is_shown(project, tmp_path):
    copy = tmp_path / "project"
    shutil.copytree(project, copy)
    with_local_resolution(copy, copy / "vote-local")
    data, payload = project_data(copy)
    (votes,) = data["sets"]
    medians = [s["local_resolution"]["median_angstrom"] for s in votes["states"]]
    assert medians == [6, 7, 8]
    assert votes["states"][0]["resolution"] == 8.1
    local = votes["maps"]["local"]
    slices, (low, high) = payload.arrays[local["slices"]], local["range"]
    assert slices.shape == (3, 3, 16, 16)
    shown = low + slices / 255 * (high - low)
    for k in range(3):
        across_y = shown[k, 1]
        assert across_y[8:] == pytest.approx(np.full((8, 16), 6.0 + k), abs=0.1)
        assert across_y[:8] == pytest.approx(np.full((8, 16), min(9.0 + k, high)), abs=0.1)
    assert not any("--local-resolution" in one["command"] for one in votes["commands"])


def test_inputs_recorded_relative_to_their_stage_are_found(project, tmp_path, monkeypatch):
    copy = tmp_path / "project"
    shutil.copytree(project, copy)
    monkeypatch.chdir(tmp_path)
    record = json.loads((copy / "landscape" / "job.json").read_text())
    record["inputs"] = [{"path": "../resample/volumes.star"}]
    (copy / "landscape" / "job.json").write_text(json.dumps(record))
    assert project_data(copy)[0]["provenance"]["missing_inputs"] == []
    (copy / "resample" / "volumes.star").unlink()
    (missing,) = project_data(copy)[0]["provenance"]["missing_inputs"]
    assert missing.endswith("resample/volumes.star")


def test_peak_memory_is_shown_where_it_was_recorded(project, tmp_path):
    copy = tmp_path / "project"
    shutil.copytree(project, copy)
    record = json.loads((copy / "resample" / "job.json").read_text())
    (copy / "resample" / "job.json").write_text(json.dumps(record | {"peak_memory_gb": 3.25}))
    stages = {s["folder"]: s for s in project_data(copy)[0]["provenance"]["stages"]}
    assert stages["resample"]["peak_memory_gb"] == 3.25
    assert stages["landscape"]["peak_memory_gb"] is None


def test_a_reclassification_numbers_the_states_of_the_landscape_anew():
    states = [{"state": k, "x": float(k), "y": 0.0, "radius": 1.0} for k in (1, 2, 3)]
    told = renumbered(states, np.array([0, 1, 2, 3, 3]), [3, 1])
    assert [(s["state"], s["x"]) for s in told["states"]] == [(2, 1.0), (1, 3.0)]
    assert told["values"].tolist() == [0, 2, 0, 1, 1]


def test_selections_follow_the_reclassification_in_order():
    keys = ("vote", "reclassify", "vote-2", "reclassify-2", "vote-10", "vote-null")
    assert [label_of(key) for key in keys] == [
        "Votes", "Reclassification", "Selection 2", "Reclassification 2", "Selection 10",
        "vote-null",
    ]  # fmt: skip
    assert sorted(keys[:1:-1], key=_order) == list(keys[2:])


def test_the_error_of_the_poses_is_what_every_fold_said_last():
    log = [
        "batch 1 fold 1: errors of the poses 3.00 degrees, 2.00 A on each axis; and more",
        "round 1: the states are stable",
        "batch 1 fold 1: poses fitted to the images, pose sigma 0.80 degrees, 0.40 A on each axis",
        "batch 1 fold 2: poses apart from the images, pose sigma 1.20 degrees, 0.60 A on each axis",
    ]
    assert pose_errors(log) == pytest.approx([1.0, 0.5])
    assert pose_errors(["round 1: the states are stable"]) is None
    rows = [{"state": k, "particles": 9} for k in (1, 2)]
    text = sentence({"states": rows, "particles": 20, "voted": 18, "pose_errors": [1.0, 0.5]})
    assert "poses off by about 1.0\u00b0 and 0.5 \u00c5" in text


@pytest.mark.parametrize("name", ["top_rc1", "height_kt"])
def test_the_page_goes_without_a_table_whose_columns_were_damaged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    """A bit that flipped in the name of a column, or in one of its numbers."""
    project = write_project(tmp_path, particles=80, states=2)
    landscape = project / "landscape"
    (landscape / "path.csv").write_text("length,energy_kt\n0,1\n1,2\n")
    barriers = "barrier,top_rc1,top_rc2,height_kt,low_kt,high_kt\n1-2 forward,0,0,1.5,1.0,2.0\n"
    (landscape / "barriers.csv").write_text(barriers)
    assert landscape_of(project)["path"]["barriers"][0]["height"] == 1.5
    for damaged in (barriers.replace(name, "t_p"), barriers.replace("0,0,1.5", "p,p,p")):
        (landscape / "barriers.csv").write_text(damaged)
        with caplog.at_level(logging.WARNING, logger="alphacryo4d"):
            assert landscape_of(project)["path"]["barriers"] == []
        assert "barriers.csv: no numbers in a column" in caplog.text


def test_the_held_out_fold_of_a_reclassification_is_shown_as_in_its_report(project, tmp_path):
    """It votes out what the fold disagrees with: those particles count as disagreeing."""
    copy = tmp_path / "project"
    shutil.copytree(project, copy)
    again = copy / "reclassify"
    shutil.copytree(copy / "vote", again)
    table = open_table(again / "particles.star").read(["rlnClassNumber"])["rlnClassNumber"]
    heldout = np.where(np.arange(len(table)) % 5 == 0, table % 3, table - 1)
    np.save(again / "heldout.npy", heldout.astype(np.int32))
    lines = (again / "particles.star").read_text().splitlines(keepends=True)
    rows = [i for i, line in enumerate(lines) if "stack.mrcs" in line]
    column = next(line for line in lines if "_rlnClassNumber" in line).split("#")[1]
    for i, row in enumerate(rows):
        if i % 5 == 0:
            words = lines[row].split()
            words[int(column) - 1] = "0"
            lines[row] = " ".join(words) + "\n"
    (again / "particles.star").write_text("".join(lines))
    report = json.loads((again / "report.json").read_text())
    report |= {"voted_before_heldout": len(table), "votes_needed": 2}
    (again / "report.json").write_text(json.dumps(report))
    told = project_data(copy)[0]["particles"]["sets"]["reclassify"]
    assert told["counts"][0] == told["agreed_counts"][1:, 0].sum() == 120
    assert told["disagreeing_out"]
    assert told["agreed_counts"][1:].sum() == len(table)


def test_a_barrier_of_the_page_is_resolved_from_both_sides(project, tmp_path):
    copy = tmp_path / "project"
    shutil.copytree(project, copy)
    head = "barrier,top_rc1,top_rc2,height_kt,low_kt,high_kt"
    rows = [
        "1 forward,2,0,0.53,0,1.44",
        "2 forward,6,0,1.5,0.2,2.8",
        "1 backward,2,0,1.23,0.1,1.9",
        "2 backward,6,0,1.6,0.3,2.9",
        "lowest path forward,6,0,1.1,0,1.7",
    ]
    (copy / "landscape" / "barriers.csv").write_text("\n".join([head, *rows]) + "\n")
    data, _ = project_data(copy)
    barriers = landscape_of(copy)["path"]["barriers"]
    assert [(b["name"], b["resolved"], b["label"]) for b in barriers] == [
        ("1", False, "< 1.4"),
        ("2", True, "1.5"),
    ]
    (sign,) = (one for one in data["sets"][0]["signs"] if one["title"] == "Barriers resolved")
    assert sign["text"].startswith("1 of 2 barriers")


def landscape_of(project: Path) -> dict[str, Any]:
    """What the page shows of the landscape."""
    return project_data(project)[0]["landscapes"]["landscape"]


@pytest.mark.parametrize(("particles", "bins"), [(40, (4, 8)), (800, (6, 12)), (9000, (18, 36))])
def test_views_have_bins_of_enough_particles(particles, bins):
    states = np.repeat([0, 1, 2], [3, particles, particles])
    turns = np.random.default_rng(0).uniform(-360, 360, (2, len(states)))
    views = views_of(states, *turns, 2)
    assert views.shape == (3, *bins)
    assert views.sum(axis=(1, 2)).tolist() == [3, particles, particles]
