"""A scene for ChimeraX: maps of the states, a morph along the path, differences; text alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from alphacryo4d.core.colours import colour_of
from alphacryo4d.core.errors import InputError

MORPH, DIFFERENCES = 200, 300
"""Model of the morph, and the number that those of the differences follow."""
_FRAMES = 20
"""Frames of the morph from one map to the next."""
_DIFFERENCE = 0.5
"""Level of difference maps, as a fraction of that of the maps."""


@dataclass(frozen=True)
class SceneMap:
    """Map of one state.

    Attributes
    ----------
    state : int
    name : str
        Empty for none.
    path : str
        File, as seen from the folder of the scene.
    """

    state: int
    name: str
    path: str

    @property
    def title(self) -> str:
        """Number and name."""
        return f"state {self.state} {self.name}".strip()


def scene_text(maps: Sequence[SceneMap], level: float, *, title: str, file: str) -> str:
    """Commands of ChimeraX, one a line, for a new session.

    Parameters
    ----------
    maps : sequence of SceneMap
        In the order of the morph, which is that of their models: maps on one grid.
    level : float
        Contour level of all maps.
    title, file : str
        What is shown, and the name of the scene's file, for its head.

    Raises
    ------
    InputError
        A path holds a character that ChimeraX would not take literally.
    """
    count = len(maps)
    everything = f"#1-{count}" if count > 1 else "#1"
    lines = [
        f"# {_plain(title)}, by alphacryo4d. Open in a new session: chimerax {_plain(file)}",
        "# paths start in the folder of this file; one contour level for all maps",
    ]
    for number, one in enumerate(maps, 1):
        lines += [
            f"open {quoted_path(one.path)}",
            f"volume #{number} style surface step 1 level {level:.4g} color {colour_of(one.state)}",
            f'rename #{number} "{_plain(one.title)}"',
        ]
    if count > 1:
        frames = _FRAMES * (count - 1) + 1
        lines += [
            "# from state to state: show #200 models, and drag the slider",
            f"volume morph {everything} frames {frames} playStep {1 / frames:.4f} modelId #{MORPH}",
            f'rename #{MORPH} "morph along the path"',
            "# differences of neighbours on the path: blue where the first has more, else red",
        ]
    for number, (one, other) in enumerate(zip(maps, maps[1:], strict=False), 1):
        model, at = DIFFERENCES + number, _DIFFERENCE * level
        lines += [
            f"volume subtract #{number} #{number + 1} modelId #{model}",
            f"volume #{model} style surface step 1 level {at:.4g} color #2166ac "
            f"level {-at:.4g} color #b2182b",
            f'rename #{model} "{_plain(one.title)} minus {_plain(other.title)}"',
        ]
    if count > 1:
        differences = f"#{DIFFERENCES + 1}-{DIFFERENCES + count - 1}"
        lines += [
            f"hide #{MORPH} models",
            f"hide {differences if count > 2 else f'#{DIFFERENCES + 1}'} models",
            f"show {everything} models",
            "# side by side; tile off lays them over each other",
            f"tile {everything}",
        ]
    return "\n".join([*lines, "lighting soft", "view", ""])


def quoted_path(path: str) -> str:
    """Path as ChimeraX reads it back: in quotes, and without what it would fill in itself."""
    for character in path:
        if character in '"*?[]\\' or not character.isprintable():
            raise InputError(
                f"{path!r}: ChimeraX would not take the character {character!r} in this path as it "
                "stands; write the scene into the project, or rename the folder"
            )
    return f'"{path}"'


def _plain(text: str) -> str:
    """Text inside quotes, or in a comment: printable, without quotes and backslashes."""
    kept = "".join(one if one.isprintable() else " " for one in text)
    return kept.replace('"', "'").replace("\\", "/")
