"""Parts of the site that are made from the code: commands, Python API, error messages.

MkDocs calls :func:`on_page_markdown` for every page (``hooks`` in ``mkdocs.yml``); a line such as
``<!-- commands -->`` is replaced. ``python scripts/site_pages.py commands`` prints one part.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "scripts")]

import fault_causes  # noqa: E402

OPTIONAL_PAGES = {
    "inputs.md": ("Your data", "Files as they are"),
    "method/poses.md": ("Method", "Poses"),
    "method/junk.md": ("Method", "Junk"),
    "method/particles.md": ("Method", "The particle landscape"),
}
"""Pages that are put into the navigation where they exist: section and title."""


def on_config(config: Any) -> Any:
    """Put optional pages into the navigation (called by MkDocs)."""
    folder = Path(config["docs_dir"])
    for page, (section, title) in OPTIONAL_PAGES.items():
        if not (folder / page).is_file():
            continue
        for place, entry in enumerate(config["nav"]):
            if section not in entry:
                continue
            if isinstance(entry[section], str):
                config["nav"][place] = {section: [{section: entry[section]}, {title: page}]}
            else:
                entry[section].append({title: page})
    named = set(re.findall(r"[\w/-]+\.md", str(config["nav"])))
    further = [
        {_title(path): path.relative_to(folder).as_posix()}
        for path in sorted(folder.rglob("*.md"))
        if path.relative_to(folder).as_posix() not in named
    ]
    if further:
        config["nav"].append({"More": further})
    return config


def _title(page: Path) -> str:
    """First heading of a page."""
    match = re.search(r"^# (.+)", page.read_text(encoding="utf-8"), re.M)
    return match[1] if match else page.stem


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace the markers of a page (called by MkDocs)."""
    for name, make in PARTS.items():
        marker = f"<!-- {name} -->"
        if marker in markdown:
            markdown = markdown.replace(marker, make())
    return markdown


def every_command() -> Iterator[tuple[tuple[str, ...], Any]]:
    """Names and click command of everything that the program does, in the order of the work."""
    import click

    from alphacryo4d.cli import COMMANDS, root

    context = click.Context(root)
    for name in COMMANDS:
        command = root.get_command(context, name)
        assert command is not None
        yield (name,), command
        if isinstance(command, click.Group):
            for sub in command.list_commands(click.Context(command)):
                yield (name, sub), command.commands[sub]


def commands() -> str:
    """Every command with its help text in full."""
    import click

    parts = []
    for words, command in every_command():
        context = click.Context(
            command,
            info_name=" ".join(("alphacryo4d", *words)),
            **command.context_settings,
        )
        context.meta["alphacryo4d.help_all"] = True
        level = "##" if len(words) == 1 else "###"
        parts.append(f"{level} {' '.join(words)}\n\n```text\n{command.get_help(context)}\n```\n")
    return "\n".join(parts)


def api() -> str:
    """Every public name with signature and docstring."""
    import alphacryo4d

    parts = []
    for name, (module, _) in alphacryo4d._WHERE.items():
        value = getattr(alphacryo4d, name)
        signature = ""
        if inspect.isfunction(value):
            signature = re.sub(r"alphacryo4d[\w.]*\.", "", str(inspect.signature(value)))
        text = inspect.getdoc(value) or ""
        parts.append(
            f"### {name}\n\nIn `alphacryo4d.{module}`.\n\n"
            f"```text\n{name}{signature}\n\n{text}\n```\n"
        )
    return "\n".join(parts)


_CODES = {
    "UsageError": 2,
    "InputError": 3,
    "MissingProgramError": 4,
    "ProgramError": 5,
    "ResourceError": 6,
    "TimeLimitReached": 7,
    "require_setting": 2,
}


def messages() -> Iterator[tuple[int, str, str]]:
    """Exit code, part of the program, and text of every error that a user may meet."""
    for path in sorted((REPOSITORY / "alphacryo4d").rglob("*.py")):
        part = path.relative_to(REPOSITORY / "alphacryo4d").parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            code = _CODES.get(node.func.id)
            place = 1 if node.func.id == "require_setting" else 0
            if code is None or len(node.args) <= place:
                continue
            text = _text(node.args[place])
            if len(re.sub(r"\W|…", "", text)) > 8:
                yield code, part, text


def _text(node: ast.expr) -> str:
    """Text of a message, with an ellipsis for what is put in."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(value) for value in node.values)
    if isinstance(node, ast.BinOp):
        return _text(node.left) + _text(node.right)
    return "…"


def errors() -> str:
    """All messages by exit code and part of the program."""
    grouped: dict[int, dict[str, list[str]]] = {}
    for code, part, text in messages():
        known = grouped.setdefault(code, {}).setdefault(part, [])
        letter = fault_causes.cause(text)
        text += f"  [{letter}]" if letter else ""
        if text not in known:
            known.append(text)
    parts = [
        "A letter in brackets stands for a cause and a way out; other messages say them.\n",
        fault_causes.causes_table(),
    ]
    for code in sorted(grouped):
        parts.append(f"### Exit code {code}\n")
        for part in sorted(grouped[code]):
            lines = "\n".join(sorted(grouped[code][part]))
            parts.append(f"**{part}**\n\n```text\n{lines}\n```\n")
    return "\n".join(parts)


PARTS: dict[str, Callable[[], str]] = {"commands": commands, "api": api, "errors": errors}

if __name__ == "__main__":
    print(PARTS[sys.argv[1]]())
