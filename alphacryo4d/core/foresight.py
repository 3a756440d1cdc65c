"""Dry runs of single stages: their inputs, their place, and what would be done again."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

from alphacryo4d.core import files
from alphacryo4d.core.errors import InputError, ResourceError, UsageError
from alphacryo4d.core.job import Work, foreseen_work

logger = logging.getLogger(__name__)


def require_writable(output: Path) -> None:
    """Refuse a folder that cannot be made or written, before any work.

    Raises
    ------
    UsageError
        It is a file, or lies below one.
    ResourceError
        It cannot be written.
    """
    place = Path(os.path.abspath(output))  # noqa: PTH100 - links of the user stay as they are
    for folder in (place, *place.parents):
        if folder.is_dir():
            if not os.access(folder, os.W_OK | os.X_OK) or shutil.disk_usage(folder).total == 0:
                raise ResourceError(f"{output}: {folder} cannot be written; take another folder")
            return
        if folder.exists():
            raise UsageError(f"{output}: {folder} is a file; give a folder")


def where_to_find(path: Path) -> str:
    """Folder of a stage that holds a file of this name, below or beside the one that was given."""
    for place in (path.parent, path.parent.parent):
        for stage in (files.RESAMPLE, files.DEEPFEATURE, files.LANDSCAPE):
            if (place / stage / path.name).is_file():
                return f"{place / stage} has one"
    return "the stage before writes it"


def say_work(output: Path, work: Work) -> None:
    """Log what a stage would do in its folder; nothing is written.

    Parameters
    ----------
    output : Path
        Folder of the stage.
    work : Work
        What decides its results.

    Raises
    ------
    InputError, UsageError, ResourceError
        An input is missing, or the folder cannot take the results.
    """
    require_writable(output)
    missing = [path for path in work.inputs if not path.exists()]
    if missing:
        raise InputError(f"{missing[0]}: no such file; {where_to_find(missing[0])}")
    logger.info("%s: %s", output, foreseen_work(output, work).text())
