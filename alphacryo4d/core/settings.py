"""Fields of options dataclasses: default, help text and limits in one place.

Options are frozen dataclasses beside the science that they steer. The command line reads the
defaults, the help and the choices from them (:func:`alphacryo4d.core.options.settings_options`), so
a default stands in one place. This module imports nothing heavy: ``--help`` must answer at once.
"""

from __future__ import annotations

import dataclasses
import textwrap
from typing import Any, TypeVar

from alphacryo4d.core.errors import UsageError

IMAGES_FROM = "ALPHACRYO4D_IMAGES_FROM"
"""Environment variable with the folder that relative image paths start from (--images-from)."""

PROJECT_IMAGES = "ALPHACRYO4D_PROJECT_IMAGES"
"""Environment variable with where the record of a project says that images are: ``N:FOLDER``, where
N leading parts of every image path are left out. Looked at last, without --images-from."""


def setting(
    default: Any,
    help: str,
    *,
    flags: tuple[str, ...] = (),
    choices: tuple[str, ...] = (),
    nargs: int = 1,
    type: Any = None,
    metavar: str | None = None,
    hidden: bool = False,
    group: str = "",
    formerly: tuple[str, ...] = (),
    former_choices: dict[str, str] | None = None,
) -> Any:
    """Field of an options dataclass with what the command line needs to know.

    Parameters
    ----------
    default : object
        Default value; its type is the option's type unless ``type`` is given.
    help : str
        One sentence for ``--help``, with the unit.
    flags : tuple of str
        Command line names; by default the field's name with dashes.
    choices : tuple of str
        Allowed values of a string option.
    nargs : int
        Number of values of the option.
    type : type, optional
        ``int``, ``float``, ``str`` or ``pathlib.Path`` where the default is None.
    metavar : str, optional
        Placeholder in ``--help``.
    hidden : bool
        Leave the option out of the command line.
    group : str
        Group of the help that shows the option (:mod:`alphacryo4d.core.help`); options without one
        are shown by ``--help-all``.
    formerly : tuple of str
        Names that the command line still takes and ``--help`` does not show.
    former_choices : dict, optional
        Values that the command line still takes, and what they are called now.
    """
    metadata = {
        "help": help,
        "flags": flags,
        "choices": choices,
        "nargs": nargs,
        "type": type,
        "metavar": metavar,
        "hidden": hidden,
        "group": group,
        "formerly": formerly,
        "former_choices": former_choices or {},
    }
    return dataclasses.field(default=default, metadata=metadata)


Options = TypeVar("Options", bound=type)


def described(options: Options) -> Options:
    """Class decorator: the docstring of an options dataclass lists its fields as the help does."""
    lines = [(options.__doc__ or "").rstrip(), "", "Attributes", "----------"]
    for field in dataclasses.fields(options):
        default = field.default
        given = "" if default is dataclasses.MISSING else f", default {default!r}"
        lines.append(f"{field.name} : {field.type}{given}")
        text, choices = field.metadata.get("help", ""), field.metadata.get("choices", ())
        text += f" One of {', '.join(choices)}." if choices else ""
        lines += textwrap.wrap(text, 92, initial_indent="    ", subsequent_indent="    ")
    options.__doc__ = "\n".join(lines) + "\n"
    return options


def keep_as_text(options: Any, **values: Any) -> None:
    """Keep fields of frozen options as the command line spells them: 5x8 for (5, 8), 20 for 20.

    Called from ``__post_init__``, so that numbers and tuples can be given in Python and
    ``job.json`` says the same for both.
    """
    for name, value in values.items():
        text = "x".join(str(part) for part in value) if isinstance(value, tuple) else str(value)
        object.__setattr__(options, name, text)


def require_setting(condition: bool, message: str) -> None:
    """Raise ``UsageError(message)`` unless the condition holds (for ``__post_init__``)."""
    if not condition:
        raise UsageError(message)


def known_pose_sigma(angle: float | None, shift: float | None) -> tuple[float, float] | None:
    """Standard deviations of the poses' errors (degrees, A) that the user gave, or None.

    Raises
    ------
    UsageError
        One without the other, or one that is not positive.
    """
    if angle is None and shift is None:
        return None
    if angle is None or shift is None:
        raise UsageError("--angle-sigma and --shift-sigma: give both, or none")
    require_setting(min(angle, shift) > 0, "--angle-sigma and --shift-sigma must be positive")
    return angle, shift
