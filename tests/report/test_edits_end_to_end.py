"""From the page to the particles: edits that were made by clicks, applied by ``vote --edits``."""

import json

import numpy as np
import pytest
from browser_page import Opened
from small_project import write_project

from alphacryo4d.cli import main
from alphacryo4d.particles.open import open_table
from alphacryo4d.report.stage import project_data, write_report_page
from alphacryo4d.voting.votes import count_votes

pytestmark = pytest.mark.slow


def states_of(folder):
    return open_table(folder / "particles.star").read(["rlnClassNumber"])["rlnClassNumber"]


def test_a_merge_in_the_page_gives_the_particles_of_a_merge_by_hand(browser, tmp_path):
    project = write_project(tmp_path, particles=300)
    opened = Opened(browser, write_report_page(project).as_uri())
    opened.page.select_option("#edit-first", "2")
    opened.page.select_option("#edit-second", "3")
    opened.page.click("#edit-merge")
    with opened.page.expect_download() as waiting:
        opened.page.click("#save-edits")
    waiting.value.save_as(project / "edits.json")
    command = opened.page.locator("#edits code").inner_text()
    opened.page.close()

    words = command.removeprefix("alphacryo4d ").split()
    main([*words, "--no-test", "--no-reconstruct"])

    assignments = np.load(project / "resample" / "assignments.npy")
    by_hand = np.minimum(np.load(project / "landscape" / "volume_states.npy"), 2)
    votes = np.empty((len(assignments), 2), np.uint8)
    expected = count_votes(assignments, by_hand.astype(np.int32), 2, needed=2, out=votes).states
    edited = project / "vote-2"
    assert np.array_equal(states_of(edited), expected)

    data, _ = project_data(project)
    assert [shown_set["key"] for shown_set in data["sets"]] == ["vote", "vote-2"]
    assert [shown_set["label"] for shown_set in data["sets"]] == ["Votes", "Selection 2"]
    assert len(data["sets"][1]["states"]) == 2
    own = data["landscapes"]["landscape"]["sets"]["vote-2"]
    assert np.array_equal(own["values"], by_hand)
    assert [state["state"] for state in own["states"]] == [1, 2]
    assert json.loads((project / "edits.json").read_text())["base"] == "vote"
    the_selection_drives_the_page(browser, project, np.bincount(expected)[1:])


def the_selection_drives_the_page(browser, project, counts):
    opened = Opened(browser, write_report_page(project).as_uri())
    page = opened.page
    for name, states in (("Votes", 3), ("Selection 2", 2)):
        page.click(f".switch >> text={name}")
        page.wait_for_function(f"document.querySelectorAll('.card').length === {states}")
        page.wait_for_function(f"document.querySelector('#map').layout.shapes.length === {states}")
        assert page.inner_text("#answer").startswith(f"{states} states")
        assert page.locator("#edit-first option").count() == states
    cells = page.locator("#states tbody tr td:nth-child(2)").all_inner_texts()
    assert [int(cell) for cell in cells] == counts.tolist()
    row = int(np.flatnonzero(np.load(project / "landscape" / "volume_states.npy") == 3)[0])
    colours = page.evaluate(
        "document.querySelector('#map').data.find(one => one.name === 'volumes').marker.color"
    )
    assert colours[row] == page.evaluate("stateColour(2)")
    page.select_option("#edit-first", "1")
    page.fill("#edit-name", "closed")
    page.click("#edit-rename")
    assert "vote --i " in page.locator("#edits code").inner_text()
    assert page.evaluate("JSON.parse(fileOfEdits()).base") == "vote-2"
    page.close()
    assert opened.faults == []
