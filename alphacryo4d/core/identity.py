"""What makes two pieces of work the same: options leaf by leaf, inputs by their content."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from alphacryo4d.core.errors import InputError
from alphacryo4d.core.files import file_digest

RESOURCES = frozenset({"memory", "mpi_launcher", "scratch"})
"""Names of options that change no result."""

_STACKS = {".mrcs", ".mrc", ".st"}
_LARGE_STACK, _LARGE_ARRAY = 16 << 20, 64 << 20
_SAMPLES, _SAMPLE_BYTES = 32, 32 << 10
_MANY = 20


def plain(value: Any) -> Any:
    """Turn options (dataclasses, paths, tuples, numpy scalars) into what JSON can hold."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "item") and not isinstance(value, (str, bytes)):
        return value.item()
    return value


def option_leaves(value: Any, name: str = "") -> dict[str, Any]:
    """Single options by their dotted names, such as ``embed.perplexity``."""
    if isinstance(value, Mapping) and value:
        leaves: dict[str, Any] = {}
        for key, item in value.items():
            leaves |= option_leaves(item, f"{name}.{key}" if name else str(key))
        return leaves
    return {name: value} if name else {}


def option_defaults(value: Any, name: str = "") -> dict[str, Any]:
    """Defaults of the options that stand in dataclasses, by their dotted names."""
    defaults: dict[str, Any] = {}
    if isinstance(value, Mapping):
        for key, item in value.items():
            defaults |= option_defaults(item, f"{name}.{key}" if name else str(key))
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            inner, dotted = getattr(value, field.name), f"{name}.{field.name}"
            if dataclasses.is_dataclass(inner):
                defaults |= option_defaults(inner, dotted)
            elif field.default is not dataclasses.MISSING:
                defaults[dotted] = plain(field.default)
            elif field.default_factory is not dataclasses.MISSING:
                defaults |= option_leaves(plain(field.default_factory()), dotted)
    return defaults


def is_resource(leaf: str) -> bool:
    """Whether an option changes no result."""
    return leaf.rsplit(".", 1)[-1] in RESOURCES


def content_digest(path: Path) -> str:
    """SHA-256 of a file; of its size and 32 samples where it is a large stack or array.

    Stacks above 16 MiB and arrays above 64 MiB are read at 32 places of 32 KiB spread evenly from
    the first byte to the last: any new extraction, scaling or filter changes all of them.
    """
    if path.suffix not in (*_STACKS, ".npy"):
        return file_digest(path)
    return sampled_digest(path, _LARGE_STACK if path.suffix in _STACKS else _LARGE_ARRAY)


def sampled_digest(path: Path, limit: int) -> str:
    """SHA-256 of a file of at most ``limit`` bytes; of its size and 32 samples where larger."""
    size = path.stat().st_size
    if size <= limit:
        return file_digest(path)
    digest = hashlib.sha256(f"sampled {size}".encode())
    with path.open("rb") as stream:
        for number in range(_SAMPLES):
            stream.seek((size - _SAMPLE_BYTES) * number // (_SAMPLES - 1))
            digest.update(stream.read(_SAMPLE_BYTES))
    return digest.hexdigest()


def absolute_path(path: Path) -> Path:
    """Absolute path without ``..``; links stay as they are."""
    return Path(os.path.normpath(path.absolute()))


def describe_input(path: Path, folder: Path, known: Mapping[str, Any]) -> dict[str, Any]:
    """Where an input is, its size, time and content.

    Parameters
    ----------
    path : Path
        The input.
    folder : Path
        Folder of the job; a path inside the folder above it is recorded relative to it.
    known : mapping
        Descriptions by absolute path, whose digests hold where size and time are unchanged.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file")
    absolute, home = absolute_path(path), absolute_path(folder)
    near = os.path.relpath(absolute, home)
    inside = home.parent in absolute.parents and home.parent != Path(home.anchor)
    entry: dict[str, Any] = {"path": near if inside else str(absolute), "near": near}
    if path.is_dir():
        return entry
    state = path.stat()
    entry |= {"size": state.st_size, "mtime": state.st_mtime}
    before = known.get(str(absolute), {})
    if (before.get("size"), before.get("mtime")) == (entry["size"], entry["mtime"]):
        entry["sha256"] = before.get("sha256") or content_digest(path)
    else:
        entry["sha256"] = content_digest(path)
    return entry


def located(entry: Mapping[str, Any], folder: Path, recorded_folder: str | None) -> Path:
    """Path of a recorded input, also after its project was moved or copied.

    A copied project takes the input that lies beside it before it takes that of the original.
    """
    path = Path(entry["path"])
    if not path.is_absolute():
        return Path(os.path.normpath(folder / path))
    if "near" not in entry:
        return path
    near = Path(os.path.normpath(folder.absolute() / entry["near"]))
    moved = recorded_folder not in (None, str(absolute_path(folder)))
    for candidate in (near, path) if moved else (path, near):
        if candidate.exists() and (
            "size" not in entry or candidate.stat().st_size == entry["size"]
        ):
            return candidate
    return path


def outside_original(
    entry: Mapping[str, Any], folder: Path, recorded_folder: str | None
) -> Path | None:
    """Input that a project which was moved or copied still reads at the place of the original."""
    moved = recorded_folder not in (None, str(absolute_path(folder)))
    path = located(entry, folder, recorded_folder)
    return path if moved and str(path) == entry["path"] and path.is_absolute() else None


def same_content(entry: Mapping[str, Any], path: Path) -> bool:
    """Whether a file is the input that was recorded: by size, then by time or content."""
    state = path.stat()
    if entry.get("size", state.st_size) != state.st_size:
        return False
    if "sha256" not in entry or entry.get("mtime") == state.st_mtime:
        return True
    return bool(content_digest(path) == entry["sha256"])


def input_contents(entries: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Content of inputs by their names; more than 20 files of one kind are one entry."""
    listed = list(entries)
    kinds: dict[str, list[Mapping[str, Any]]] = {}
    for entry in listed:
        kinds.setdefault(Path(entry["path"]).suffix, []).append(entry)
    contents: dict[str, str] = {}
    for entry in listed:
        path = Path(entry["path"])
        if len(kinds[path.suffix]) > _MANY:
            name = f"{len(kinds[path.suffix])} files {path.suffix}"
            if name not in contents:
                text = "\n".join(_content(one) for one in kinds[path.suffix])
                contents[name] = hashlib.sha256(text.encode()).hexdigest()
            continue
        name, number = path.name, 2
        while name in contents:
            name, number = f"{path.name} ({number})", number + 1
        contents[name] = _content(entry)
    return contents


def _content(entry: Mapping[str, Any]) -> str:
    if "sha256" in entry:
        return str(entry["sha256"])
    return f"{entry.get('size')} {entry.get('mtime')}"


def by_content(leaves: Mapping[str, Any], inputs: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Options with the content of a file in place of its path, where the file is an input."""
    contents = {}
    for entry in inputs:
        for path in (entry.get("given"), entry["path"]):
            if path is not None:
                contents[path] = f"file {_content(entry)[:12]}"
    return {
        name: contents.get(value, value) if isinstance(value, str) else value
        for name, value in leaves.items()
    }
