"""The last lines of a command: what is there, and commands that the program understands."""

import contextlib
import json
import os
import shlex
import shutil

import click
import pytest
from small_project import write_project

from alphacryo4d.cli import root
from alphacryo4d.core.identity import describe_input
from alphacryo4d.report.ending import ending, states_said
from alphacryo4d.tools.next_step import next_step


def parsed(words):
    """Parameters of a command as the program understands them; nothing is run."""
    with contextlib.ExitStack() as opened:
        context = opened.enter_context(root.make_context("alphacryo4d", list(words[1:])))
        while isinstance(context.command, click.Group):
            rest = [*context._protected_args, *context.args]
            if not rest:
                break
            name, command, rest = context.command.resolve_command(context, rest)
            context = opened.enter_context(command.make_context(name, rest, parent=context))
        return context.params


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return write_project(tmp_path_factory.mktemp("ending"), particles=300)


@pytest.mark.parametrize(
    ("stage", "opened"),
    [
        ("run", "report.html"),
        ("landscape", "landscape/landscape.png"),
        ("vote", "vote/summary.txt"),
    ],
)
def test_the_last_lines_name_states_a_file_and_two_commands(project, stage, opened):
    result, first, *commands = ending(stage, project if stage == "run" else project / stage)
    assert result.startswith("result: ")
    assert " states" in result
    assert first == f"open first: {project / opened}"
    assert [line[:6] for line in commands] == ["next: ", "  or: "]
    for line in commands:
        assert parsed(shlex.split(line[6:]))


@pytest.mark.parametrize(
    ("outputs", "result"),
    [
        (["commands.txt"], "result: commands of 2 states"),
        (["commands.txt", "class001/run_class001.mrc"], "result: 1 of 2 states refined"),
    ],
)
def test_the_end_of_a_refinement(project, tmp_path, outputs, result):
    tables = [{"path": str(project / "vote" / f"class00{k}.star")} for k in (1, 2)]
    record = {"inputs": tables, "outputs": outputs, "status": "done"}
    (tmp_path / "job.json").write_text(json.dumps(record))
    lines = ending("refine", tmp_path)
    assert lines[:2] == [result, f"open first: {tmp_path / 'commands.txt'}"]
    assert parsed(shlex.split(lines[2][6:]))["input_path"] == project
    assert parsed(shlex.split(lines[3][6:]))["input_path"] == project


def test_a_refinement_that_is_there_is_not_proposed_again(project, tmp_path):
    """Neither its commands nor a page that is new."""
    copy = shutil.copytree(project, tmp_path / "project")
    (copy / "report.html").touch()
    (copy / "reclassify").mkdir()
    assert "vote refine" in str(next_of(copy))
    (copy / "refine").mkdir()
    record = {"stage": "refine", "status": "done", "outputs": ["commands.txt"]}
    tables = sorted((copy / "vote").glob("class[0-9]*.star"))
    record["inputs"] = [describe_input(table, copy / "refine", {}) for table in tables]
    some = record | {"inputs": record["inputs"][:-1]}
    (copy / "refine" / "job.json").write_text(json.dumps(some))
    assert "vote refine" in str(next_of(copy))  # a state was left out
    (copy / "refine" / "job.json").write_text(json.dumps(record))
    (copy / "J12").mkdir()
    (copy / "J12" / "job.json").write_text('{"inputs": {"of": "another program"}}')
    assert next_of(copy) is None
    assert ending("report", copy / "vote")[2:] == []
    assert "cryoSPARC" not in ending("vote", copy / "vote")[0]
    os.utime(copy / "report.html", (1, 1))
    assert " report " in str(next_of(copy))
    tables[0].write_text(tables[0].read_text() + "\n")  # the votes were made again
    assert "vote refine" in str(ending("vote", copy / "vote"))


def next_of(project):
    """The command with which `status` goes on."""
    names = ("resample", "deepfeature", "landscape", "vote")
    return next_step(project, "done", [{"stage": name, "status": "done"} for name in names])


def test_after_maps_of_a_reclassification_its_states_are_refined(project, tmp_path):
    record = {"inputs": [{"path": str(project / "reclassify" / "particles.star")}]}
    (tmp_path / "job.json").write_text(json.dumps(record))
    made = {"states": [{"state": 1, "resolution_masked": 8.0}]}
    (tmp_path / "reconstruction.json").write_text(json.dumps(made))
    *_, refine, page = ending("reconstruct", tmp_path)
    assert parsed(shlex.split(refine[6:]))["input_path"] == project / "reclassify"
    assert parsed(shlex.split(page[6:]))["input_path"] == project


@pytest.mark.parametrize("homogeneous", [True, False])
def test_a_run_is_proposed_where_zooming_in_is_worth_it(project, tmp_path, homogeneous):
    record = {
        "inputs": [{"path": str(project / "resample" / "assignments.npy")}],
        "options": {"state": 2, "selection": "reclassify"},
        "results": {"homogeneity": {"homogeneous": homogeneous}},
    }
    (tmp_path / "job.json").write_text(json.dumps(record))
    shutil.copy(project / "vote" / "particles.star", tmp_path)
    *_, first, second = ending("zoom", tmp_path)
    if homogeneous:
        words = parsed(shlex.split(first[6:]))
        assert words["input_path"] == project / "reclassify"
        assert words["states"] == "2"
        assert " report " in second
    else:
        assert parsed(shlex.split(second[6:]))["output_path"] == tmp_path / "project"


def test_another_landscape_gets_votes_of_its_own(project, tmp_path):
    """Wherever its folder lies: the project is the one that its volumes are of."""
    volumes = project / "resample" / "volumes.star"
    for folder in (project / "landscape2", tmp_path / "elsewhere"):
        shutil.copytree(project / "landscape", folder)
        record = {"status": "done", "inputs": [describe_input(volumes, folder, {})]}
        (folder / "job.json").write_text(json.dumps(record))
        words = shlex.split(ending("landscape", folder)[2][6:])
        assert parsed(words)["input_path"] == project / "resample"
        assert parsed(words)["output_path"] == project / f"vote-{folder.name}"
    shutil.rmtree(project / "landscape2")


def test_maps_lead_to_the_refinement_of_their_states(project, tmp_path):
    table = project / "vote" / "particles.star"
    record = {"status": "done", "inputs": [describe_input(table, tmp_path, {})]}
    (tmp_path / "job.json").write_text(json.dumps(record))
    (tmp_path / "reconstruction.json").write_text(json.dumps({"states": [{"state": 1}]}))
    lines = ending("reconstruct", tmp_path)
    assert parsed(shlex.split(lines[2][6:]))["input_path"] == project / "vote"
    assert parsed(shlex.split(lines[3][6:]))["input_path"] == project


def test_particles_of_cryosparc_go_back_to_it(tmp_path):
    project = write_project(tmp_path, particles=300)
    table = project / "vote" / "particles.star"
    whole = table.read_text()
    table.write_text(whole.replace("_rlnDefocusAngle", "_ac4dUid"))
    (project / "reclassify").mkdir(exist_ok=True)
    lines = ending("run", project)
    assert "vote refine" not in "".join(lines)
    assert lines[2].endswith("vote/class001.star --passthrough ORIGINAL.cs --o "
                             f"{project}/vote/class001.cs")  # fmt: skip
    assert "; ORIGINAL.cs stands for the .cs files of the job, each with --pass" in lines[0]
    assert parsed(shlex.split(lines[2][6:]))["output_path"] == project / "vote" / "class001.cs"
    sources = [tmp_path / "J30 particles.cs", tmp_path / "J30_passthrough.cs"]
    for path in sources:
        path.touch()
    came = f"\n# converted by alphacryo4d from {shlex.join(map(str, sources))}\n"
    table.write_text(came + table.read_text())
    lines = ending("run", project)
    words = shlex.split(lines[2][6:])
    assert parsed(words)["passthrough"] == tuple(sources)
    assert "ORIGINAL" not in "".join(lines)
    sources[1].unlink()
    assert "--passthrough ORIGINAL.cs --o" in ending("run", project)[2]
    table.write_text(whole)
    (project / "vote" / "particles.cs").touch()
    result, _, *commands = ending("vote", project / "vote")
    assert "class001.cs ... for Import Particle Stack of cryoSPARC" in result
    assert "vote refine" not in "".join(commands)


def test_states_support_and_resolution_are_said():
    states = [
        {"state": 1, "particles": 60, "supported": True, "resolution": 8.83},
        {"state": 2, "particles": 40, "supported": False, "resolution": 10.2},
        {"state": 3, "particles": 0, "supported": False},
    ]
    said = states_said({"per_state": states, "particles": 1200, "voted": 1000})
    assert said == (
        "2 states, 1 supported by held-out particles; 1,000 of 1,200 particles kept; resolution "
        "8.8 to 10.2 A"
    )
    states[0]["at_pixel_limit"] = True
    said = states_said({"per_state": states, "particles": 1200, "voted": 1000})
    assert said.endswith("resolution 8.8 or finer to 10.2 A")
    said = states_said({"per_state": states[1:], "particles": 1200, "voted": 1000})
    assert said.startswith("1 state, one conformation as far as held-out particles tell; ")
    for one in states:
        del one["supported"]
    assert "not tested" in states_said({"per_state": states, "particles": 1200, "voted": 1000})
    states.append({"state": 4, "particles": 20, "supported": True, "junk": True})
    said = states_said({"per_state": states, "particles": 1200, "voted": 1000})
    assert said.startswith("2 states, not tested on held-out particles, and state 4 of junk; 1,000")


def test_nothing_is_said_where_nothing_can_be_read(tmp_path):
    assert ending("vote", tmp_path) == []
    assert ending("resample", tmp_path) == []


def test_a_reclassification_of_earlier_votes_is_not_the_result(tmp_path):
    project = write_project(tmp_path, particles=300)
    before = ending("run", project)[0]
    again = project / "reclassify"
    again.mkdir(exist_ok=True)
    report = json.loads((project / "vote" / "report.json").read_text())
    table = project / "vote" / "particles.star"
    for one in report["per_state"][1:]:
        one["particles"] = 0
    (again / "report.json").write_text(json.dumps(report))
    surface = project / "landscape" / "landscape.csv"
    inputs = [describe_input(one, again, {}) for one in (table, surface)]
    record = {"status": "done", "inputs": inputs, "outputs": []}
    (again / "job.json").write_text(json.dumps(record))
    assert ending("run", project)[0].startswith("result: 1 state,")
    surface.write_text(surface.read_text() + "\n")  # which figures alone show
    assert ending("run", project)[0].startswith("result: 1 state,")
    table.write_text(table.read_text() + "\n")
    assert ending("run", project)[0] == before


def commands_of(stage, folder):
    """Parameters of the commands that go on."""
    return [parsed(shlex.split(line[6:])) for line in ending(stage, folder)[2:]]


def test_selected_and_converted_particles_are_checked_and_run(project, tmp_path):
    record = {"status": "done", "results": {"images_from": str(tmp_path)}}
    (tmp_path / "job.json").write_text(json.dumps(record))
    (tmp_path / "select.json").write_text(json.dumps({"particles": 12, "of": 1300}))
    assert ending("select", tmp_path)[0] == "result: 12 of 1,300 particles"
    check, run = commands_of("select", tmp_path)
    assert check["input_path"] == run["input_path"] == tmp_path / "particles.star"
    assert run["output_path"] == tmp_path / "project"
    assert f"--images-from {tmp_path}" in ending("select", tmp_path)[-1]
    (check,) = commands_of("convert", tmp_path / "of_cryosparc.star")
    assert check["input_path"] == tmp_path / "of_cryosparc.star"
    assert commands_of("convert", tmp_path / "back.cs") == []


@pytest.mark.parametrize("states", [1, 3])
def test_maps_at_points_lead_to_votes_of_the_density(tmp_path, states):
    """Where it has several states that have no votes yet; else to the page."""
    folder = tmp_path / "particle_landscape"
    for place, inputs, results in (
        (folder, [], {"density_states": states}),
        (tmp_path / "maps", [{"path": str(folder / "coordinates.npy")}], {}),
    ):
        place.mkdir()
        record = {"status": "done", "inputs": inputs, "results": results}
        (place / "job.json").write_text(json.dumps(record))
    made = [{"point": k, "resolution_masked": 8.0 + k} for k in (1, 2)]
    (tmp_path / "maps" / "volumes.json").write_text(json.dumps({"volumes": made}))
    lines = ending("volume", tmp_path / "maps")
    assert lines[0] == "result: maps at 2 points; resolution 9.0 to 10.0 A"
    assert [words["input_path"] for words in commands_of("volume", tmp_path / "maps")] == [
        tmp_path
    ] * (1 + (states > 1))
    assert ("vote density" in lines[2]) == (states > 1)
    (tmp_path / "vote-density").mkdir()
    assert "vote density" not in "".join(ending("volume", tmp_path / "maps"))


def test_after_the_page_come_other_commands(project):
    (project / "reclassify").mkdir(exist_ok=True)
    (refine,) = commands_of("report", project / "vote")
    assert refine["input_path"] == project / "vote"
