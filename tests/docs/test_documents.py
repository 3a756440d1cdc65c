"""What the documents show is what the program does: commands, options, files."""

import contextlib
import importlib.util
import re
import shlex

import click
import pytest

from alphacryo4d import cli
from alphacryo4d.core import files
from alphacryo4d.core.errors import InputError

from .conftest import REPOSITORY

DOCUMENTS = sorted(
    path
    for path in (REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md")
    + tuple((REPOSITORY / "docs").rglob("*.md"))
    if path.is_file()
)


def load_pages():
    spec = importlib.util.spec_from_file_location(
        "site_pages", REPOSITORY / "scripts" / "site_pages.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PAGES = load_pages()


def shown_commands():
    """Every command in a block of code: page and words after ``alphacryo4d``."""
    for path in DOCUMENTS:
        for block in re.findall(r"^```[a-z]*\n(.*?)^```", path.read_text(), re.M | re.S):
            for line in block.replace("\\\n", " ").splitlines():
                match = re.match(r"(?:\S*/)?alphacryo4d (.+)", line.strip())
                if match:
                    yield path.relative_to(REPOSITORY), shlex.split(match[1], comments=True)


def parse(words):
    """Parse words by the program's own commands; nothing is run."""
    with contextlib.ExitStack() as opened:
        context = opened.enter_context(cli.root.make_context("alphacryo4d", list(words)))
        while isinstance(context.command, click.Group):
            rest = [*context._protected_args, *context.args]
            if not rest:
                return
            name, command, rest = context.command.resolve_command(context, rest)
            context = opened.enter_context(command.make_context(name, rest, parent=context))


SHOWN = list(shown_commands())


@pytest.mark.parametrize(("page", "words"), SHOWN, ids=lambda x: x if isinstance(x, str) else None)
def test_every_command_shown_is_understood(page, words, monkeypatch):
    monkeypatch.setenv("ALPHACRYO4D_IMAGES_FROM", "")  # put back as it was: contexts stay open here
    try:
        parse(words)
    except click.exceptions.Exit:  # --version, --help
        pass
    except InputError as missing:  # a folder of the example that is not here
        if "--images-from" not in str(missing):
            raise


def test_many_commands_are_shown():
    assert len(SHOWN) > 40


def test_a_wrong_command_would_be_found():
    with pytest.raises(click.UsageError):
        parse(["run", "--i", "x.star", "--o", "p", "--no-such-option"])
    with pytest.raises(click.UsageError):
        parse(["no-such-command"])


def test_commands_named_in_the_text_exist():
    named = set()
    for path in DOCUMENTS:
        named |= set(re.findall(r"`alphacryo4d ([a-z]+)", path.read_text()))
    assert named <= set(cli.COMMANDS)


def test_options_named_in_the_text_exist():
    known = {"--help-all", "--version", "--verbose", "--help", "--no-index", "--find-links"}
    for _, command in PAGES.every_command():
        for option in command.params:
            known |= {*option.opts, *option.secondary_opts}
    known |= {"--skip-align", "--mpi", "--account", "--tags"}
    for path in DOCUMENTS:
        for name in re.findall(r"`(--[a-z][a-z0-9_-]*)", path.read_text()):
            assert name.replace("_", "-") in known, f"{path.name}: {name}"


def test_commands_page_holds_every_command_and_option():
    page = PAGES.commands()
    for words, command in PAGES.every_command():
        assert f"alphacryo4d {' '.join(words)} [OPTIONS]" in page
        for option in command.params:
            if isinstance(option, click.Option) and not option.hidden:
                assert option.opts[0] in page


def test_python_page_holds_every_public_name():
    import alphacryo4d

    page = PAGES.api()
    assert all(f"### {name}\n" in page for name in alphacryo4d._WHERE)


def test_faults_page_holds_the_messages_of_the_code():
    page = PAGES.errors()
    assert "--folds …: M must be odd and at least 3, so that a majority exists" in page
    assert len(list(PAGES.messages())) > 200
    assert "### Exit code 2" in PAGES.on_page_markdown("a\n<!-- errors -->\nb")


def test_every_message_has_a_cause_and_a_way_out():
    """In its own words, or by the letter of a cause."""
    causes = PAGES.fault_causes
    without = {
        text
        for _, _, text in PAGES.messages()
        if not causes.says_itself(text) and not causes.cause(text)
    }
    assert len(without) < 0.03 * len(list(PAGES.messages())), without
    assert all(why and out for _, why, out in causes.CAUSES)


def test_files_page_names_the_files_of_a_project():
    page = (REPOSITORY / "docs" / "files.md").read_text()
    for name in (
        files.VOLUMES_STAR, files.VOLUMES_NPY, files.GROUPS_NPY, files.ASSIGNMENTS_NPY,
        files.HELDOUT_NPY, files.FEATURES_NPY, files.HISTORY_CSV, files.LOSS_PNG,
        files.WEIGHTS_NPZ, files.NETWORK_TOML, files.EMBEDDING_NPY, files.ENERGY_NPY,
        files.ENERGY_ERROR_NPY, files.PATH_NPY, files.CENTERS_NPY, files.STATES_STAR,
        files.PARTICLES_STAR, files.PARTICLES_CS, files.VOTES_NPY, files.JOB_JSON,
    ):  # fmt: skip
        assert name in page, name


def test_optional_pages_enter_the_navigation_once_they_exist(tmp_path):
    (tmp_path / "inputs.md").write_text("# x\n")
    config = {"docs_dir": str(tmp_path), "nav": [{"Your data": "data.md"}, {"Method": []}]}
    assert PAGES.on_config(config)["nav"] == [
        {"Your data": [{"Your data": "data.md"}, {"Files as they are": "inputs.md"}]},
        {"Method": []},
    ]


def test_a_page_that_nobody_named_enters_the_navigation_too(tmp_path):
    for name in ("data.md", "more.md"):
        (tmp_path / name).write_text("# A title\n")
    config = {"docs_dir": str(tmp_path), "nav": [{"Your data": "data.md"}]}
    assert PAGES.on_config(config)["nav"][1:] == [{"More": [{"A title": "more.md"}]}]


def anchor(heading):
    """Name of a heading, as GitHub and MkDocs make it."""
    plain = re.sub(r"[^\w\s-]", "", heading.strip().lower())
    return re.sub(r"\s+", "-", plain)


@pytest.mark.parametrize(
    "name", ["README.md", "CONTRIBUTING.md", "SECURITY.md", "scripts/README.md"]
)
def test_links_between_files_of_the_repository_lead_somewhere(name):
    """MkDocs checks those of the site."""
    page = REPOSITORY / name
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in target:
            continue
        path, _, fragment = target.partition("#")
        there = page.parent / path
        assert there.exists(), target
        if fragment:
            headings = re.findall(r"^#+ (.+)", there.read_text(), re.M)
            assert fragment in map(anchor, headings), target
