"""A page with two landscapes: each set is shown on the one that its states are of."""

import json
import re
import shutil

import numpy as np
import pytest
from browser_page import Opened
from small_project import write_project

from alphacryo4d.cli import main
from alphacryo4d.core import files
from alphacryo4d.core.job import recorded_inputs
from alphacryo4d.io.star import read_table, write_tables
from alphacryo4d.landscape.zoom_stage import run_zoom
from alphacryo4d.particles.open import open_table
from alphacryo4d.reclassify.figures_stage import figure_inputs
from alphacryo4d.report.project_files import state_sets
from alphacryo4d.report.scene_stage import order_along_path
from alphacryo4d.report.stage import project_data, write_report_page
from alphacryo4d.selection.columns_stage import ProjectColumns
from alphacryo4d.selection.sets_stage import states_table
from alphacryo4d.voting.options import VoteOptions
from alphacryo4d.voting.stage import run_vote

OTHER = "vote-other"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """States 1 to 3 of the first landscape are 3 to 1 of the second, which has no barriers."""
    project = write_project(tmp_path_factory.mktemp("two"))
    second = project / "landscape2"
    route = np.column_stack([np.linspace(0, 8, 60), np.zeros(60)])
    np.save(project / files.LANDSCAPE / files.PATH_NPY, route)
    shutil.copytree(project / files.LANDSCAPE, second)
    labels = np.load(second / files.VOLUME_STATES_NPY)
    files.save_array(second / files.VOLUME_STATES_NPY, 4 - labels)
    states = read_table(second / files.STATES_STAR, "states")
    states["ac4dState"] = 4 - states["ac4dState"]
    write_tables(second / files.STATES_STAR, {"states": states.iloc[::-1]})
    head = (second / "barriers.csv").read_text().splitlines()[0]
    (second / "barriers.csv").write_text(head + "\n")
    options = VoteOptions(test=False, reconstruct=False)
    run_vote(project / files.RESAMPLE, second, project / OTHER, options=options)
    return project


def test_a_set_has_the_landscape_that_its_votes_are_of(project):
    data, payload = project_data(project)
    votes, other = data["sets"]
    assert (votes["landscape"], other["landscape"]) == ("landscape", "landscape2")
    first, second = (data["landscapes"][one["landscape"]] for one in (votes, other))
    assert len(first["path"]["barriers"]) == 2
    assert second["path"]["barriers"] == []
    assert [state["x"] for state in second["states"]] == [8.0, 4.0, 0.0]
    values = (one["columns"][0]["values"] for one in (first, second))
    np.testing.assert_array_equal(np.add(*values), 4)
    assert first["slices"] == second["slices"]
    assert {"landscape/points", "landscape2/points"} <= set(payload.arrays)


def test_a_project_that_was_copied_takes_its_own_landscape(project, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(project, copy)
    (other,) = (one for one in state_sets(copy) if one.key == OTHER)
    assert other.landscape.resolve() == (copy / "landscape2").resolve()


def test_the_held_out_fold_is_asked_on_the_same_landscape(project):
    told = project_data(project)[0]["particles"]["sets"]
    report = json.loads((project / OTHER / "report.json").read_text())
    counts = told[OTHER]["agreed_counts"][1:]
    expected = [row["heldout_agreement"] for row in report["per_state"]]
    np.testing.assert_allclose(counts[:, 1] / counts.sum(axis=1), expected, atol=1e-6)
    table = open_table(project.parent / "particles.star")
    heldout = ProjectColumns(table, project, OTHER).column("heldout")
    assert heldout.sum() == counts[:, 1].sum()


def test_the_scene_follows_the_path_of_its_own_landscape(project):
    sets = state_sets(project)
    assert [order_along_path(one, sets, [1, 2, 3]) for one in sets] == [[1, 2, 3], [3, 2, 1]]


def test_other_commands_take_the_landscape_of_the_states(project, tmp_path):
    """Figures of a reclassification that began with them, and a zoom into one."""
    second = project / "landscape2"
    (second / "landscape.csv").write_text("rc1,rc2,energy_kt\n0,0,1\n")
    places = [second / "landscape.csv", second / files.STATES_STAR]
    assert [path.resolve() for path in figure_inputs(project / OTHER)] == places
    run_zoom(project, tmp_path / "zoom", state=1, selection=OTHER)
    used = recorded_inputs(tmp_path / "zoom")
    assert second / files.EMBEDDING_NPY in [path.resolve() for path in used]


def with_density(project, place):
    """A copy of the project with votes of states of single particles."""
    project = shutil.copytree(project.parent, place / "copy") / project.name
    shutil.copytree(project / OTHER, project / "vote-density")
    record = json.loads((project / OTHER / "job.json").read_text())
    record["inputs"] = [one for one in record["inputs"] if "landscape" not in one["path"]]
    (project / "vote-density" / "job.json").write_text(json.dumps(record))
    return project


def test_states_of_single_particles_have_no_circles_among_the_volumes(project, tmp_path):
    project = with_density(project, tmp_path)
    assert states_table(project / "vote-density") is None
    told = project_data(project)[0]["landscapes"]["landscape"]["sets"]["vote-density"]
    assert told["states"] == []
    assert not told["values"].any()
    (density,) = (one for one in state_sets(project) if one.key == "vote-density")
    assert order_along_path(density, state_sets(project), [3, 1, 2]) == [1, 2, 3]
    (shown,) = (one for one in project_data(project)[0]["sets"] if one["key"] == "vote-density")
    assert shown["single_particles"]
    names = [path.name for path in figure_inputs(project / "vote-density")]
    assert files.STATES_STAR not in names


@pytest.mark.parametrize("labelled", [True, False])
def test_nor_has_their_reclassification(project, tmp_path, labelled):
    project = with_density(project, tmp_path)
    again = shutil.copytree(project / "vote-density", project / "reclassify-density")
    report = json.loads((again / "report.json").read_text())
    report |= {"first_states": [1, 2, 3], "first_selection": "vote-density"}
    (again / "report.json").write_text(json.dumps(report))
    if not labelled:
        (project / files.LANDSCAPE / files.VOLUME_STATES_NPY).unlink()
    told = project_data(project)[0]["landscapes"]["landscape"]
    assert len(told["states"]) == 3
    assert told["sets"]["reclassify-density"]["states"] == []


@pytest.mark.slow
@pytest.mark.parametrize("circles", [True, False])
def test_the_page_says_of_such_states_alone_that_they_have_none(
    browser, project, tmp_path, circles
):
    project = with_density(project, tmp_path)
    if not circles:
        (project / files.LANDSCAPE / files.STATES_STAR).unlink()
    for curve in (project / "vote-density").glob("*_fsc.csv"):
        curve.unlink()
    opened = Opened(browser, write_report_page(project).as_uri())
    page = opened.page
    for name, said in (("Votes", False), ("vote-density", circles), ("Votes", False)):
        page.click(f".switch button >> text=/^{name}$/")
        assert ("of single particles" in page.inner_text("#landscape")) == said
        editable = name == "Votes"
        assert (page.locator("#edit-drop").count() == 1) == editable
        assert ("cannot be edited" in page.inner_text("#edits")) != editable
        assert page.locator("#states .plot").is_visible() == editable
    opened.page.close()
    assert opened.faults == []


@pytest.mark.slow
def test_choosing_a_set_shows_its_landscape(browser, project):
    opened = Opened(browser, write_report_page(project, selection=OTHER).as_uri())
    page = opened.page
    marks = "document.querySelector('#along').data.filter(one => /barrier/.test(one.name)).length"
    for name, folder, barriers in (("", "landscape2", 0), ("Votes", "landscape", 2)) * 2:
        page.click(f".switch button >> text={name or OTHER}")
        page.wait_for_function(f"({marks}) === {barriers}")
        assert f"in {folder}/" in page.inner_text("#landscape")
        assert page.locator("#morph-slider").count() == 1
        assert page.locator("#map").bounding_box()["width"] > 300
    page.close()
    assert opened.faults == []


def test_report_says_which_states_the_page_opens_with(project, tmp_path, capsys):
    page = tmp_path / "page.html"
    for words, shown, other in (([], OTHER, "vote"), (["--selection", "vote"], "vote", OTHER)):
        main(["report", "--i", str(project), "--o", str(page), *words])
        (said,) = (line for line in capsys.readouterr().err.splitlines() if "states of" in line)
        assert shown in said
        assert said.endswith(f"the page opens with them; --selection takes {other}")
        answer = re.search(r'id="answer">(.*?)</p>', page.read_text())[1]
        assert ("0.40" in answer) == (shown == "vote")
