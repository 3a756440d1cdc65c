"""The page in a real browser: what is seen, chosen, drawn and saved."""

import json
import shlex
import shutil

import numpy as np
import pytest
from browser_page import Opened, pixels, settled
from chimerax_grammar import Scene
from matplotlib.image import imsave
from matplotlib.path import Path as Polygon
from small_project import write_project
from waiting import wait_until

from alphacryo4d.cli import main
from alphacryo4d.io.mrc import write_volume
from alphacryo4d.report.particles_view import coordinates
from alphacryo4d.report.stage import write_report_page

pytestmark = pytest.mark.slow


@pytest.fixture
def page(opened):
    return opened.page


def saved(page, button):
    """Content of the file that a button gives."""
    with page.expect_download() as waiting:
        page.click(button)
    return waiting.value.path()


def test_nothing_is_wrong_and_nothing_is_fetched(opened):
    assert opened.faults == []
    assert opened.fetched == []


def test_the_answer_is_painted_first(page):
    painted = page.evaluate("performance.getEntriesByType('paint').length")
    assert painted > 0
    assert "3 states, each supported by held-out particles" in page.inner_text("#answer")
    assert page.locator(".signs li").count() == 8
    assert page.locator(".card").count() == 3


def test_pictures_have_words(page):
    silent = page.evaluate(
        """[...document.querySelectorAll('main canvas, main svg[role], main [role=img]')]
        .filter(e => !e.closest('.plot, .stage') && !e.getAttribute('aria-label')).length"""
    )
    assert silent == 0
    assert page.locator(".plot:not([aria-label])").count() == 0
    assert page.locator(".stage:not([aria-label])").count() == 0


def test_states_at_one_place_of_the_path_share_a_label(page):
    texts = page.evaluate("sharedLabels([0.5, 0.001, 0, 0.503, 0.502, 0.9], [2, 3, 1, 4, 5, 6])")
    assert sorted(texts) == ["", "", "", "1, 3", "2, 4, 5", "6"]
    texts = page.evaluate("sharedLabels([0.1, 0.1, 0.1, 0.1], [7, 2, 3, 4])")
    assert sorted(texts) == ["", "", "", "2-4, 7"]


def test_the_buttons_of_a_plot_cover_no_legend(page):
    page.locator("#along").hover()
    legend, buttons = (
        page.locator(f"#along {part}").first.bounding_box() for part in (".legend", ".modebar")
    )
    assert legend["y"] + legend["height"] < buttons["y"]
    inside = page.locator("#along").bounding_box()
    assert buttons["y"] < inside["y"] + inside["height"]


def test_the_surface_is_drawn_and_the_level_changes_it(page):
    before = pixels(page, "#stage")
    background = before[2, 2]
    assert (np.abs(before - background).max(axis=-1) > 0.1).mean() > 0.02
    page.evaluate(
        "const e = document.querySelector('#level'); e.value = e.max * 0.7;"
        "e.dispatchEvent(new Event('input'))"
    )
    wait_until(
        lambda: (np.abs(pixels(page, "#stage") - before).max(axis=-1) > 0.1).mean() > 0.005, 1
    )


def test_two_maps_and_their_difference(page):
    one = pixels(page, "#stage")
    drawn = page.get_attribute("#stage", "data-drawn")
    page.locator("#maps select").nth(1).select_option("3")
    page.wait_for_function(f"document.querySelector('#stage').dataset.drawn > {drawn}")
    two = pixels(page, "#stage")
    drawn = page.get_attribute("#stage", "data-drawn")
    page.locator("#maps select").nth(2).select_option("difference")
    page.wait_for_function(f"document.querySelector('#stage').dataset.drawn > {drawn}")
    three = pixels(page, "#stage")
    assert np.abs(one - two).max() > 0.1
    assert np.abs(two - three).max() > 0.1
    assert "more density than in state 3" in page.inner_text("#maps")


def test_the_slider_moves_along_the_path(page):
    slice_before = page.evaluate("document.querySelector('#morph-slice').toDataURL()")
    before = pixels(page, "#morph-stage")
    drawn = page.get_attribute("#morph-stage", "data-drawn")
    page.focus("#morph-slider")
    page.keyboard.press("End")
    page.wait_for_function(f"document.querySelector('#morph-stage').dataset.drawn > {drawn}")
    assert page.evaluate("document.querySelector('#morph-slice').toDataURL()") != slice_before
    assert np.abs(pixels(page, "#morph-stage") - before).max() > 0.1


@pytest.mark.parametrize("corners", [5, 40])
def test_the_lasso_takes_the_particles_inside(page, small, corners):
    rng = np.random.default_rng(corners)
    assignments = np.load(small / "resample" / "assignments.npy")
    embedding = np.load(small / "landscape" / "embedding.npy").astype(float)
    places = [embedding[row[row >= 0]].mean(axis=0) for row in assignments]
    points = np.float32(places).astype(float)
    angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
    radii = rng.uniform(0.5, 3.5, corners)
    polygon = np.column_stack([4 + radii * np.cos(angles), 0.5 + radii * np.sin(angles)])
    page.evaluate("polygon => window.particleScatter.select(polygon)", polygon.tolist())
    rows = np.load(saved(page, "#save-rows"))
    inside = np.flatnonzero(Polygon(polygon).contains_points(points))
    assert 0 < len(inside) < len(points)
    assert np.array_equal(rows, inside)


def test_the_axes_of_the_particles_have_names_beside_the_plot(page):
    across, up = (page.locator(f".axes .{name}") for name in ("x", "y"))
    assert across.inner_text() == "RC1, mean over the folds (a.u.)"
    assert up.inner_text() == "RC2, mean over the folds (a.u.)"
    plot, below, beside = (one.bounding_box() for one in (page.locator("#scatter"), across, up))
    assert below["y"] >= plot["y"] + plot["height"] - 1
    assert beside["x"] + beside["width"] <= plot["x"] + 1
    assert beside["height"] > beside["width"]


def test_a_lasso_drawn_by_the_mouse_takes_what_it_surrounds(page):
    page.click("#lasso")
    box = page.locator("#scatter").bounding_box()
    x, y, w, h = (box[name] for name in ("x", "y", "width", "height"))
    page.locator("#scatter").scroll_into_view_if_needed()
    box = page.locator("#scatter").bounding_box()
    x, y = box["x"], box["y"]
    page.mouse.move(x + 3, y + 3)
    page.mouse.down()
    for px, py in ((w - 3, 3), (w - 3, h - 3), (3, h - 3)):
        page.mouse.move(x + px, y + py)
    page.mouse.up()
    page.click("#lasso")
    assert len(np.load(saved(page, "#save-rows"))) == 600


def test_a_merge_is_saved_with_its_cost_and_can_be_undone(page):
    page.select_option("#edit-first", "3")
    page.select_option("#edit-second", "2")
    page.click("#edit-merge")
    text = page.inner_text(".edits li")
    assert "merge states 2 and 3" in text
    assert "0.400 \u00b1 0.040 nats" in text
    edits = json.loads(saved(page, "#save-edits").read_text())
    assert edits == {
        "version": 1, "base": "vote", "edits": [{"action": "merge", "states": [2, 3]}],
    }  # fmt: skip
    page.click(".edits button")
    assert page.locator(".edits li").count() == 0


def test_volumes_in_a_lasso_become_a_subset_or_a_centre(page, small):
    embedding = np.load(small / "landscape" / "embedding.npy").astype(float)
    rows = [0, 2, 5]
    page.evaluate(
        "rows => document.querySelector('#map').emit('plotly_selected', {points: rows.map(r =>"
        " ({customdata: r}))})",
        rows,
    )
    page.click("text=Add a centre here")
    page.wait_for_selector(".edits li")
    page.click("text=Keep as a subset")
    edits = json.loads(saved(page, "#save-edits").read_text())["edits"]
    assert [edit["action"] for edit in edits] == ["add_center", "subset"]
    centre = embedding[rows].mean(axis=0)
    assert edits[0]["center"] == pytest.approx(centre.tolist(), abs=1e-3)
    farthest = np.hypot(*(embedding[rows] - centre).T).max()
    assert edits[0]["radius"] == pytest.approx(1.01 * farthest, abs=1e-3)
    assert len(edits[1]["volumes"]) == 3
    for _ in edits:
        page.locator(".edits button").first.click()
    assert page.locator(".edits li").count() == 0


def test_the_scene_for_chimerax_opens_every_state(page, small):
    scene = Scene(small).run(saved(page, "#save-cxc").read_text())
    assert [path.name for path in scene.files.values()] == [f"class00{k}.mrc" for k in (1, 2, 3)]
    assert [scene.names[k] for k in (1, 2, 3)] == [f"state {k}" for k in (1, 2, 3)]
    assert [scene.colours[k] for k in (1, 2, 3)] == [
        [page.evaluate(f"stateColour({k})")] for k in (1, 2, 3)
    ]
    assert len({scene.levels[k][0] for k in (1, 2, 3)}) == 1


def test_names_typed_by_people_stay_text(page, opened):
    page.fill("#edit-name", "<img src=x onerror=alert(1)>")
    page.click("#edit-rename")
    assert "<img src=x" in page.inner_text(".edits li")
    assert page.locator(".edits img").count() == 0
    page.click(".edits button")
    assert opened.faults == []


def test_the_keyboard_chooses_a_state_and_turns_the_map(page):
    page.focus(".card >> nth=1")
    page.keyboard.press("Enter")
    assert "chosen" in page.get_attribute(".card >> nth=1", "class")
    assert page.locator("tr.chosen td").first.inner_text() == "2"
    before = settled(page, "#stage")
    page.focus("#stage")
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    wait_until(lambda: np.abs(pixels(page, "#stage") - before).max() > 0.1, 1)


def test_the_table_sorts(page):
    page.click("th button >> text=Particles")
    page.click("th button >> text=Particles")
    cells = page.locator("#states tbody tr td:nth-child(2)").all_inner_texts()
    assert [int(c) for c in cells] == sorted((int(c) for c in cells), reverse=True)


def test_a_click_on_a_volume_chooses_its_state(page, small):
    page.locator("#map").scroll_into_view_if_needed()
    row = 0
    state = int(np.load(small / "landscape" / "volume_states.npy")[row])
    place = page.evaluate(
        """row => { const map = document.querySelector('#map'), l = map._fullLayout;
        const t = map.data.find(one => one.name === 'volumes'), b = map.getBoundingClientRect();
        return [b.x + l.margin.l + l.xaxis.l2p(t.x[row]), b.y + l.margin.t + l.yaxis.l2p(t.y[row])];
        }""",
        row,
    )
    page.mouse.move(*place)
    page.wait_for_selector(".tip >> text=u234_b1_c001")
    assert page.locator(".tip canvas").count() == 1
    chosen = page.locator(f"tr.chosen td >> text=/^{state}$/")
    for _ in range(10):  # a busy machine may take a click for a part of a drag
        page.mouse.click(*place)
        page.wait_for_timeout(2000)
        if chosen.count():
            break
        page.mouse.move(*place)
    assert page.locator("tr.chosen td").first.inner_text() == str(state)


def test_the_page_fits_every_width_light_and_dark(browser, small):
    opened = Opened(browser, (small / "report.html").as_uri(), color_scheme="dark")
    dark = opened.page.evaluate("getComputedStyle(document.body).backgroundColor")
    for width in (1400, 800, 400):
        opened.page.set_viewport_size({"width": width, "height": 900})
        opened.page.wait_for_function(f"document.documentElement.scrollWidth <= {width}")
    opened.page.click("#theme")
    assert opened.page.evaluate("getComputedStyle(document.body).backgroundColor") != dark
    opened.page.close()
    assert opened.faults == []


def test_a_path_is_chosen_by_clicks(page):
    page.check("#pick")
    box = page.locator("#map .nsewdrag").bounding_box()
    for share in (0.3, 0.5, 0.7):
        page.mouse.click(box["x"] + share * box["width"], box["y"] + 0.5 * box["height"])
        page.wait_for_timeout(500)  # two clicks at once are a double click
    page.wait_for_selector("#edits code >> text=/ --via /")
    command = page.locator("#edits code").first.inner_text()
    assert command.startswith("alphacryo4d landscape --i ")
    assert [command.count(flag) for flag in (" --start ", " --via ", " --end ")] == [1, 1, 1]
    page.uncheck("#pick")


def test_the_embedding_in_space_turns(page):
    before = page.evaluate("document.querySelector('.space').toDataURL()")
    page.focus(".space")
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("document.querySelector('.space').toDataURL()") != before


def test_a_project_with_hostile_names_and_gaps_opens(browser, tmp_path):
    name = "</script><img/src=x/onerror=alert(1)>"
    project = write_project(tmp_path, name=name, particles=80, states=2)
    shutil.rmtree(project / "deepfeature")
    report = json.loads((project / "vote" / "report.json").read_text())
    report["per_state"][0]["name"] = "<b>open</b><script>fail()</script>"
    (project / "vote" / "report.json").write_text(json.dumps(report))
    opened = Opened(browser, write_report_page(project).as_uri())
    assert "<b>open</b><script>" in opened.page.inner_text(".card >> nth=0")
    assert name in opened.page.inner_text("#particles table")
    assert opened.page.locator("main img").count() == 0
    assert opened.faults == []
    opened.page.close()


def test_local_resolution_is_drawn_on_every_card(browser, tmp_path):
    project = write_project(tmp_path, particles=60, states=2)
    values = np.random.default_rng(0).uniform(5, 12, (16, 16, 16)).astype(np.float32)
    for k in (1, 2):
        write_volume(project / "vote" / f"class{k:03d}_locres.mrc", values, 3.0)
    opened = Opened(browser, write_report_page(project).as_uri())
    pictures = opened.page.locator("canvas[aria-label^='Local resolution']")
    assert pictures.count() == 6
    drawn = opened.page.evaluate(
        """[...document.querySelectorAll("canvas[aria-label^='Local resolution']")].map(canvas =>
        new Set(new Uint32Array(canvas.getContext('2d').getImageData(0, 0, canvas.width,
        canvas.height).data.buffer)).size)"""
    )
    assert min(drawn) > 50
    opened.page.close()
    assert opened.faults == []


def test_the_particle_landscape_fits_the_page(browser, tmp_path):
    project = write_project(tmp_path, particles=60, states=2)
    folder = project / "particle_landscape"
    folder.mkdir()
    record = {"results": {"components": 1, "gain_per_particle": 2.0, "imaging": ["<b>look</b>"]}}
    (folder / "job.json").write_text(json.dumps(record))
    (folder / "components.csv").write_text("components,kept,view_share\n0,1,\n1,1,0.25\n")
    imsave(folder / "energies.png", np.zeros((40, 3000)))
    opened = Opened(browser, write_report_page(project).as_uri())
    shown = opened.page.locator("#particle-landscape")
    assert "Warning: <b>look</b>." in shown.inner_text()
    assert shown.locator("img").evaluate("img => img.naturalWidth") == 3000
    shown.locator("summary").click()
    assert shown.locator("td >> text=0.250").count() == 1
    opened.page.set_viewport_size({"width": 400, "height": 900})
    opened.page.wait_for_function("document.documentElement.scrollWidth <= 400")
    opened.page.close()
    assert opened.faults == []
    assert opened.fetched == []


def test_a_lasso_on_a_sample_says_so_and_names_the_command_that_takes_all(
    browser, tmp_path, monkeypatch
):
    monkeypatch.setattr("alphacryo4d.report.particles_view.MOST", 100)
    project = write_project(tmp_path, particles=300, states=2)
    opened = Opened(browser, write_report_page(project).as_uri())
    page = opened.page
    polygon = [[-3, -3], [2, -3], [2, 3], [-3, 3]]
    page.evaluate("polygon => window.particleScatter.select(polygon)", polygon)
    assert "an even sample, 100 of 300 particles" in page.inner_text("#sampled")
    sampled = np.load(saved(page, "#save-rows"))
    saved(page, "#particles button:has-text('corners.json')").rename(tmp_path / "corners.json")
    command = page.locator("#particles code").inner_text()
    page.close()
    assert opened.faults == []
    words = shlex.split(command.replace("corners.json", str(tmp_path / "corners.json")))
    main(words[1:])
    points = coordinates(project, 300)[0]
    inside = np.flatnonzero(Polygon(polygon).contains_points(points))
    told = json.loads((tmp_path / "project-selected" / "select.json").read_text())
    assert told["particles"] == len(inside)
    assert 0 < len(sampled) < len(inside)
    assert set(sampled) <= set(inside)
