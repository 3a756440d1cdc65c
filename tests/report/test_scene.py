"""Scenes for ChimeraX: maps, levels, colours, names, morph and differences, read back by a parser.

ChimeraX itself cannot be installed here.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from chimerax_grammar import Scene
from small_project import write_project

from alphacryo4d.cli import main
from alphacryo4d.core.colours import STATE_COLOURS
from alphacryo4d.core.errors import InputError
from alphacryo4d.io.mrc import read_volume
from alphacryo4d.report.scene import SceneMap, quoted_path, scene_text
from alphacryo4d.report.stage import project_data


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_project(tmp_path_factory.mktemp("scene"), states=4, per_state=1, particles=200)


@pytest.fixture
def project(small: Path, tmp_path: Path) -> Path:
    shutil.copytree(small.parent, tmp_path / "with blanks; and more")
    return tmp_path / "with blanks; and more" / "project"


def scene_of(project: Path, *words: object) -> Scene:
    main(["chimerax", "--i", str(project), *(str(word) for word in words)])
    output = Path(str(words[1])) if words and words[0] == "--o" else project / "states.cxc"
    return Scene(output.parent).run(output.read_text())


def test_every_state_is_opened_with_one_level_and_its_colour(project: Path) -> None:
    scene = scene_of(project)
    assert scene.files == {k: project / "vote" / f"class00{k}.mrc" for k in (1, 2, 3, 4)}
    assert [scene.names[k] for k in (1, 2, 3, 4)] == [f"state {k}" for k in (1, 2, 3, 4)]
    assert [scene.colours[k] for k in (1, 2, 3, 4)] == [[c] for c in STATE_COLOURS[:4]]
    (level,) = {scene.levels[k][0] for k in (1, 2, 3, 4)}
    for k in (1, 2, 3, 4):
        volume, _ = read_volume(project / "vote" / f"class00{k}.mrc")
        assert 0.02 < (volume > level).mean() < 0.4  # between molecule and solvent
    assert scene.shown == {1, 2, 3, 4}


def test_morph_and_differences_follow_the_path(project: Path) -> None:
    scene = scene_of(project)
    assert scene.morphs == {200: [1, 2, 3, 4]}
    assert scene.differences == {301: [1, 2], 302: [2, 3], 303: [3, 4]}
    assert scene.names[302] == "state 2 minus state 3"
    for model in scene.differences:
        high, low = scene.levels[model]
        assert low == -high < 0
    backwards = np.column_stack([np.linspace(13, -1, 50), np.zeros(50)])
    np.save(project / "landscape" / "path.npy", backwards)
    scene = scene_of(project)
    assert [scene.names[k] for k in (1, 2, 3, 4)] == [f"state {k}" for k in (4, 3, 2, 1)]
    assert scene.files[1].name == "class004.mrc"
    assert scene.colours[1] == [STATE_COLOURS[3]]


def test_names_stand_beside_numbers_and_stay_text(project: Path) -> None:
    path = project / "vote" / "report.json"
    report = json.loads(path.read_text())
    report["per_state"][1]["name"] = 'wide "open"; close session'
    path.write_text(json.dumps(report))
    scene = scene_of(project)
    assert scene.names[2] == "state 2 wide 'open'; close session"


def test_a_state_without_a_map_is_left_out(project: Path) -> None:
    (project / "vote" / "class002.mrc").unlink()
    scene = scene_of(project)
    assert [scene.names[k] for k in (1, 2, 3)] == ["state 1", "state 3", "state 4"]
    for path in (project / "vote").glob("class*.mrc"):
        path.unlink()
    with pytest.raises(SystemExit) as ended:
        main(["chimerax", "--i", str(project)])
    assert ended.value.code == 3


def test_selections_and_other_places(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(project / "vote", project / "vote-2")
    output = tmp_path / "scenes" / "two.cxc"
    output.parent.mkdir()
    scene = scene_of(project, "--o", output, "--selection", "vote-2")
    assert {path.resolve().parent for path in scene.files.values()} == {project / "vote-2"}
    monkeypatch.chdir(project)
    main(["chimerax"])
    assert Scene(project).run(Path("states.cxc").read_text()).files[1].parent.name == "vote"
    moved = project.parent.rename(tmp_path / "moved")
    Scene(moved / "project").run((moved / "project" / "states.cxc").read_text())


def test_the_page_has_the_same_scene(project: Path) -> None:
    scene_of(project)
    data, _ = project_data(project)
    assert data["sets"][0]["scene"] == (project / "states.cxc").read_text()
    assert tuple(data["palette"]) == STATE_COLOURS


def test_one_map_alone_and_paths_that_chimerax_would_change() -> None:
    text = scene_text([SceneMap(3, "", "a.mrc")], 0.5, title="t", file="x.cxc")
    assert "morph" not in text
    assert "#1-" not in text
    assert quoted_path("../a b/class001.mrc") == '"../a b/class001.mrc"'
    for path in ("a*.mrc", 'a".mrc', "a\n.mrc", "a[1].mrc"):
        with pytest.raises(InputError, match="ChimeraX would not take"):
            quoted_path(path)
