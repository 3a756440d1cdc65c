"""Where compiled kernels are kept when neither the package nor the user's home can be written."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

VARIABLE = "NUMBA_CACHE_DIR"


def choose_kernel_cache(package: Path | None = None) -> None:
    """Name a folder for compiled kernels in the environment where numba would find none.

    numba keeps them beside the code, else in the user's cache folder, and fails without either: in
    an installation of another user, in a container, for a user without a home. Then they go to
    a folder below the temporary one that belongs to this user alone, since they hold code.

    Parameters
    ----------
    package : Path, optional
        Folder of the package.
    """
    if os.environ.get(VARIABLE):
        return
    folders = [(package or Path(__file__).parents[1]) / "core" / "__pycache__"]
    folders += _user_caches()
    if not any(_can_be_written(folder) for folder in folders):
        os.environ[VARIABLE] = str(_own_folder())


def _user_caches() -> list[Path]:
    given = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111
    return [Path(given)] if os.path.isabs(given) else []  # noqa: PTH117 - "~" where there is no home


def _can_be_written(folder: Path) -> bool:
    """Whether a folder can be written, or made."""
    place = next((p for p in (folder, *folder.parents) if p.exists()), None)
    return place is not None and place.is_dir() and os.access(place, os.W_OK | os.X_OK)


def _own_folder() -> Path:
    """Folder that only this user can write: the same for every run, if nobody took its name."""
    uid = os.getuid()
    place = Path(tempfile.gettempdir()) / f"alphacryo4d-kernels-{uid}"
    try:
        place.mkdir(mode=0o700, exist_ok=True)
        state = place.lstat()
        if stat.S_ISDIR(state.st_mode) and state.st_uid == uid and not state.st_mode & 0o077:
            return place
    except OSError:
        pass
    return Path(tempfile.mkdtemp(prefix="alphacryo4d-kernels-"))
