"""How every kernel is compiled, and where its machine code is kept.

numba's cache looks at the file of a function alone: the machine code of a kernel that calls into
another file would stay as it was when that file changes. So the folder of the cache is named by
a hash of all files of this folder.
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba

from alphacryo4d.core.progress import Progress

FAST = {"contract", "reassoc", "nsz", "arcp"}
"""Sums may be taken in any order; numbers that are not finite stay what they are."""
_HERE = Path(__file__).parent


@functools.cache
def cache_folder() -> Path:
    """Folder of the machine code of these very files; what the user set for numba comes first."""
    files = b"\0".join(path.read_bytes() for path in sorted(_HERE.glob("*.py")))
    name = f"kernels-{hashlib.sha256(files).hexdigest()[:16]}"
    given = os.environ.get("NUMBA_CACHE_DIR")
    if given:
        return Path(given) / name
    if os.access(_HERE, os.W_OK):
        return _HERE / "__pycache__" / name
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "alphacryo4d" / name


def kernel(function: Callable[..., Any] | None = None, *, fast: bool = True) -> Any:
    """Compile a function on its first call, or load what an earlier process compiled.

    It runs without Python's lock, in vectors where it can.

    Parameters
    ----------
    function : callable
    fast : bool
        False where sums must be taken in the order in which they are written.
    """
    if function is None:
        return functools.partial(kernel, fast=fast)
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(cache_folder())
    try:
        flags = FAST if fast else {"contract"}
        return numba.njit(cache=True, nogil=True, fastmath=flags)(function)
    finally:
        numba.config.CACHE_DIR = before


def announce(progress: Progress, module: str) -> None:
    """Say that the kernels of a module are compiled now, where these files never ran before."""
    if not any(cache_folder().rglob(f"{module}.*.nbi")):
        progress(0, 1, "compiling its kernels, once for this version of the program ...")
