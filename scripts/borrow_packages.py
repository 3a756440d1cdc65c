"""Put a package's dependencies into an empty environment from one that has them already.

``python scripts/borrow_packages.py PACKAGE.whl SITE_PACKAGES`` links what the package requires, and
what that requires, from the environment of this Python: the packages alone that pip would install,
so that one that is not named among the requirements is missing there as well. It takes seconds
where an installation takes minutes.
"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement


def requirements_of_wheel(path: Path) -> list[str]:
    """``Requires-Dist`` of a wheel."""
    with zipfile.ZipFile(path) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        lines = archive.read(name).decode().splitlines()
    head = lines[: lines.index("")] if "" in lines else lines
    return [line.split(":", 1)[1] for line in head if line.startswith("Requires-Dist:")]


def closure(wanted: list[str]) -> Iterator[importlib.metadata.Distribution]:
    """Every distribution that is needed, once; of a wrong version or missing is an error."""
    seen: set[tuple[str, str]] = set()
    known: set[str] = set()
    queue = [(Requirement(text), "") for text in wanted]
    while queue:
        asked, extra = queue.pop()
        name = asked.name.lower().replace("_", "-")
        if (asked.marker and not asked.marker.evaluate({"extra": extra})) or (
            (name, key := ",".join(sorted(asked.extras))) in seen
        ):
            continue
        seen.add((name, key))
        distribution = importlib.metadata.distribution(asked.name)
        if not asked.specifier.contains(distribution.version, prereleases=True):
            raise SystemExit(f"{asked} is required, but {distribution.version} is here")
        for text in distribution.requires or []:
            queue += [(Requirement(text), one) for one in ("", *asked.extras)]
        if name not in known:
            known.add(name)
            yield distribution


def link(distribution: importlib.metadata.Distribution, target: Path) -> None:
    """Link the files of a distribution, programs left out."""
    for file in distribution.files or []:
        source, place = Path(str(file.locate())), target / file
        if ".." in file.parts or place.exists() or not source.is_file():
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source, place)
        except OSError:  # another disk
            shutil.copy(source, place)


def main(wheel: str, target: str) -> None:
    """Command line."""
    count = 0
    for distribution in closure(requirements_of_wheel(Path(wheel))):
        link(distribution, Path(target))
        count += 1
    print(f"{count} packages that {Path(wheel).name} requires")


if __name__ == "__main__":
    main(*sys.argv[1:])
