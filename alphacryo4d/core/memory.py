"""Memory that this process and the programs it started have held."""

from __future__ import annotations

import resource
import sys


def peak_memory_gb() -> float:
    """Most memory (GB, 1e9 bytes) that this process, or one program it waited for, has held.

    The larger of the two, not their sum, which they need not have held at once; of the whole life
    of the process, so that stages of one run repeat the most so far. ``ru_maxrss`` is in kB on
    Linux and in bytes on macOS (getrusage(2)).
    """
    unit = 1 if sys.platform == "darwin" else 1024
    held = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    most = max(resource.getrusage(who).ru_maxrss for who in held)
    return round(most * unit / 1e9, 3)
