"""The commands of ChimeraX that scenes use, parsed as its documentation describes them.

Files are checked to exist, models to be open, and model numbers to be free; keywords may be given
in any order. See the pages of open, volume, rename, show, hide, tile, lighting and view of
https://www.rbvi.ucsf.edu/chimerax/docs/user/.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

FLAG = {"true": True, "false": False}
VOLUME = {"style": str, "step": int, "level": float, "color": "colour"}
MORPH = {
    "frames": int, "start": float, "playStep": float, "playDirection": int, "slider": FLAG,
    "addMode": FLAG, "constantVolume": FLAG, "hideOriginalMaps": FLAG, "interpolateColors": FLAG,
    "modelId": "new",
}  # fmt: skip
SUBTRACT = {"minRms": FLAG, "modelId": "new"}
TILE = {"columns": int, "viewAll": FLAG, "spacingFactor": float}
LIGHTING = ("default", "simple", "full", "soft", "gentle", "flat")
STYLES = ("surface", "mesh", "image")
WORD = r'"([^"]*)"|(\S+)'


def words_of(line: str) -> list[str]:
    """Words of a command; quotes keep blanks and semicolons."""
    assert ";" not in re.sub(r'"[^"]*"', "", line), "two commands on a line"
    return [quoted or plain for quoted, plain in re.findall(WORD, line)]


@dataclass
class Scene:
    """What is open after the commands so far."""

    folder: Path
    files: dict[int, Path] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)
    levels: dict[int, list[float]] = field(default_factory=dict)
    colours: dict[int, list[str]] = field(default_factory=dict)
    morphs: dict[int, list[int]] = field(default_factory=dict)
    differences: dict[int, list[int]] = field(default_factory=dict)
    shown: set[int] = field(default_factory=set)

    @property
    def models(self) -> set[int]:
        return {*self.files, *self.morphs, *self.differences}

    def run(self, text: str) -> "Scene":
        for line in text.splitlines():
            if line.strip() and not line.startswith("#"):
                words = words_of(line)
                getattr(self, f"do_{words[0]}")(words[1:])
        return self

    def spec(self, word: str) -> list[int]:
        """Models of ``#1``, ``#1-3`` or ``#1,3-4``, in the order of their numbers."""
        assert re.fullmatch(r"#\d+(-\d+)?(,\d+(-\d+)?)*", word), word
        models: list[int] = []
        for part in word[1:].split(","):
            first, _, last = part.partition("-")
            models += range(int(first), int(last or first) + 1)
        assert set(models) <= self.models, f"{word}: not open"
        return sorted(models)

    def keywords(self, words: list[str], known: dict) -> list[tuple[str, object]]:
        assert len(words) % 2 == 0, words
        pairs = []
        for name, word in zip(words[::2], words[1::2], strict=True):
            kind = known[name]
            value: object = word
            if kind == "colour":
                assert re.fullmatch(r"#[0-9a-fA-F]{6}", word), word
            elif kind == "new":
                value = int(word.removeprefix("#"))
                assert value not in self.models
            else:
                value = kind[word] if isinstance(kind, dict) else kind(word)
            pairs.append((name, value))
        return pairs

    def do_open(self, words: list[str]) -> None:
        (name,) = words
        path = self.folder / name
        assert not Path(name).is_absolute()
        assert path.is_file(), f"{path}: no such file"
        number = max(self.models, default=0) + 1
        self.files[number] = path
        self.shown.add(number)

    def do_volume(self, words: list[str]) -> None:
        if words[0] in ("morph", "subtract"):
            getattr(self, f"do_volume_{words[0]}")(words[1:])
            return
        models, values = self.spec(words[0]), self.keywords(words[1:], VOLUME)
        for name, value in values:
            assert name != "style" or value in STYLES
        for model in models:
            self.levels[model] = [value for name, value in values if name == "level"]
            self.colours[model] = [value for name, value in values if name == "color"]

    def do_volume_morph(self, words: list[str]) -> None:
        models, values = self.spec(words[0]), dict(self.keywords(words[1:], MORPH))
        assert len(models) >= 2
        assert values["frames"] >= 2
        self.morphs[values["modelId"]] = models
        self.shown -= set(models)

    def do_volume_subtract(self, words: list[str]) -> None:
        models = [*self.spec(words[0]), *self.spec(words[1])]
        assert models == sorted(models), "the order of maps is that of their numbers"
        assert len(models) == 2
        self.differences[dict(self.keywords(words[2:], SUBTRACT))["modelId"]] = models
        self.shown -= set(models)

    def do_rename(self, words: list[str]) -> None:
        ((model,), name) = self.spec(words[0]), words[1]
        assert len(words) == 2
        self.names[model] = name

    def do_show(self, words: list[str]) -> None:
        assert words[1:] == ["models"]
        self.shown |= set(self.spec(words[0]))

    def do_hide(self, words: list[str]) -> None:
        assert words[1:] == ["models"]
        self.shown -= set(self.spec(words[0]))

    def do_tile(self, words: list[str]) -> None:
        self.spec(words[0])
        self.keywords(words[1:], TILE)

    def do_lighting(self, words: list[str]) -> None:
        (name,) = words
        assert name in LIGHTING

    def do_view(self, words: list[str]) -> None:
        assert not words or (len(words) == 1 and self.spec(words[0]))
