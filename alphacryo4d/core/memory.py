"""Memory that this process may take, and that it and the programs it started have held."""

from __future__ import annotations

import math
import os
import resource
import sys
from pathlib import Path

from alphacryo4d.core.errors import ResourceError

_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUPS = Path("/proc/self/cgroup")
_MEGABYTE = 1 << 20


def usable_memory() -> int:
    """Bytes that this process may take: of the machine, its container, its job, or its ulimit.

    The least of the machine's memory, the limits of the control groups that hold this process
    (versions 1 and 2), what Slurm gave the job on this node, and ``ulimit -v``.
    """
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    limits += cgroup_limits(_OWN_CGROUPS, _CGROUPS)
    given = os.environ.get("SLURM_MEM_PER_NODE", "")
    if given.isdecimal() and int(given):
        limits.append(int(given) * _MEGABYTE)
    most = resource.getrlimit(resource.RLIMIT_AS)[0]
    if most != resource.RLIM_INFINITY:
        limits.append(most)
    return min(limits)


def address_space_left() -> float:
    """Bytes of address space that ``ulimit -v`` leaves this process; infinite without a limit."""
    most = resource.getrlimit(resource.RLIMIT_AS)[0]
    if most == resource.RLIM_INFINITY:
        return math.inf
    try:
        mapped = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    except OSError:  # no Linux
        mapped = 0
    return float(most - mapped * os.sysconf("SC_PAGE_SIZE"))


def ulimit_text() -> str:
    """What ``ulimit -v`` allows, in words to be added; empty without a limit."""
    most = resource.getrlimit(resource.RLIMIT_AS)[0]
    return "" if most == resource.RLIM_INFINITY else f" (`ulimit -v` allows {most / 1e9:.2f} GB)"


def require_address_space(needed: float, what: str) -> None:
    """Refuse work whose libraries do not fit into what ``ulimit -v`` leaves.

    Libraries that get no memory while they are loaded end the process without a word.

    Parameters
    ----------
    needed : float
        Bytes.
    what : str
        Who needs them.

    Raises
    ------
    ResourceError
    """
    left = address_space_left()
    if left < needed:
        raise ResourceError(
            f"{what} needs about {needed / 1e9:.1f} GB of address space, of which "
            f"{max(0.0, left) / 1e9:.2f} GB are left{ulimit_text()}; give a larger `ulimit -v`, or "
            "unlimited"
        )


_WANTS = (
    "can't start new thread", "failed to map segment", "annot allocate memory", "bad_alloc",
    "Resource temporarily unavailable",  # threads of a transform
)  # fmt: skip


def is_want_of_memory(failed: BaseException | None) -> bool:
    """Whether an error of a library says that it got no memory, or no thread."""
    while failed is not None:
        if isinstance(failed, MemoryError) or any(word in str(failed) for word in _WANTS):
            return True
        failed = failed.__cause__ or failed.__context__
    return False


def half_of_memory() -> float:
    """Half of the memory in GB that this process may take."""
    return usable_memory() / 2**31


def cgroup_limits(own: Path, root: Path) -> list[int]:
    """Limits (bytes) of the control groups that hold a process, and of those above them.

    Parameters
    ----------
    own : Path
        ``/proc/PID/cgroup``: one line for each hierarchy, ``number:controllers:path``.
    root : Path
        Where the hierarchies are mounted, ``/sys/fs/cgroup``.
    """
    try:
        lines = own.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    limits = []
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if "memory" in controllers.split(","):
            base, name = root / "memory", "memory.limit_in_bytes"
        elif not controllers:
            base, name = root, "memory.max"
        else:
            continue
        place = base.joinpath(*Path(path).parts[1:])
        for folder in (place, *place.parents):
            limits += _number(folder / name)
            if folder == base:
                break
    return limits


def _number(path: Path) -> list[int]:
    """Whole number in a file; empty where there is none."""
    try:
        text = path.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return []
    return [int(text)] if text.isdecimal() else []


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
