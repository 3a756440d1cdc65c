"""What this machine has for the program, and what a missing part would bring."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path

from alphacryo4d import __version__
from alphacryo4d.core.errors import AlphaCryo4DError
from alphacryo4d.core.memory import usable_memory
from alphacryo4d.core.program import program_output

NEEDED = (
    ("numpy", "arrays"),
    ("scipy", "numerics"),
    ("numba", "the classification engine"),
    ("finufft", "simulated projections"),
    ("scikit-learn", "t-SNE and clustering"),
    ("matplotlib", "figures"),
    ("tensorflow", "deep features"),
    ("keras", "deep features"),
    ("mrcfile", "maps and stacks"),
    ("starfile", "small STAR tables"),
    ("gemmi", "atomic models"),
    ("click", "the command line"),
)
"""Python packages that the program needs, and for what."""

ALSO = {"tensorflow": "tensorflow-cpu"}
"""The same package under another name, without GPUs."""

_GIB = 1 << 30
_UNKNOWN = "there, version unknown"
_LEAST_MEMORY = 8
_LEAST_DISK = 20


@dataclass(frozen=True)
class Finding:
    """One part of the environment.

    Attributes
    ----------
    name : str
        Part.
    found : str or None
        Version or size; None where it is missing.
    advice : str
        What the part brings, or how to get it; empty where all is well.
    needed : bool
        Whether the program cannot do its main work without it.
    """

    name: str
    found: str | None
    advice: str = ""
    needed: bool = False

    @property
    def mark(self) -> str:
        """``ok``, ``note`` (there, with advice), ``none`` (optional) or ``MISSING``."""
        if self.found is None:
            return "MISSING" if self.needed else "none"
        return "note" if self.advice else "ok"


def examine(folder: Path, *, devices: bool = True) -> list[Finding]:
    """Look at Python, packages, devices, programs, threads, memory and disk.

    Parameters
    ----------
    folder : Path
        Folder whose disk is looked at.
    devices : bool
        Ask TensorFlow for its devices, which takes seconds.
    """
    findings = [
        Finding("AlphaCryo4D", __version__),
        Finding("Python", platform.python_version(), needed=True),
        *(package(name, why) for name, why in NEEDED),
    ]
    if devices:
        findings.append(accelerators())
    findings += [relion(), mpi(), slurm()]
    return [*findings, threads(), memory(), disk(folder)]


def package(name: str, why: str) -> Finding:
    """Version of a Python package, under the other name that it may have."""
    for installed in (name, ALSO.get(name, name)):
        try:
            return Finding(name, importlib.metadata.version(installed), needed=True)
        except importlib.metadata.PackageNotFoundError:
            continue
    return Finding(name, None, f"{why}; pip install {name}", needed=True)


def accelerators() -> Finding:
    """GPUs that TensorFlow can use."""
    name = "TensorFlow devices"
    try:
        from alphacryo4d.deepfeature.devices import start_tensorflow

        gpus = start_tensorflow().config.list_physical_devices("GPU")
    except (ImportError, OSError, AlphaCryo4DError) as error:
        return Finding(name, None, f"TensorFlow does not start ({error}); install it again")
    if gpus:
        return Finding(name, f"{len(gpus)} GPU")
    return Finding(
        name,
        "CPU only",
        "a GPU would shorten the training of the network at large boxes; all else is CPU work",
    )


def relion() -> Finding:
    """RELION's version."""
    if shutil.which("relion_refine") is None:
        return Finding(
            "RELION",
            None,
            "would bring --engine relion, consensus refinement, and refinement of the states",
        )
    return Finding("RELION", _version(["relion_refine", "--version"]))


def mpi() -> Finding:
    """MPI, which RELION needs for more than one worker."""
    if shutil.which("mpirun") is None:
        return Finding("MPI", None, "mpirun would bring RELION on several cores")
    return Finding("MPI", _version(["mpirun", "--version"]))


def slurm() -> Finding:
    """Slurm's version."""
    if shutil.which("sbatch") is None:
        return Finding("Slurm", None, "would bring run --submit: folds as jobs of a cluster")
    version = _version(["sbatch", "--version"])
    advice = "no configuration: set SLURM_CONF" if version == _UNKNOWN else ""
    return Finding("Slurm", version, advice)


def _version(command: list[str]) -> str:
    try:
        lines = program_output(command, timeout=20).strip().splitlines()
    except (AlphaCryo4DError, OSError):
        return _UNKNOWN
    return lines[0].strip() if lines else _UNKNOWN


def threads() -> Finding:
    """Cores that this process may use."""
    present = os.cpu_count() or 1
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else present
    advice = f"the machine has {present}; the job was given fewer" if usable < present else ""
    return Finding("threads", str(usable), advice)


def memory() -> Finding:
    """Memory that is free for work, within the limits of a container or job."""
    total = usable_memory()
    free = min(total, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES"))
    advice = (
        f"less than {_LEAST_MEMORY} GiB: take smaller batches (--batch-size) or a smaller --box"
        if total < _LEAST_MEMORY * _GIB
        else ""
    )
    return Finding("memory", f"{total / _GIB:.1f} GiB, {free / _GIB:.1f} GiB free", advice)


def disk(folder: Path) -> Finding:
    """Disk that is free where the folder is."""
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free / _GIB
    writable = os.access(place, os.W_OK)
    advice = "" if writable else f"{place} cannot be written; take another folder"
    if writable and free < _LEAST_DISK:
        advice = "little room: volumes and folds of a large data set take tens of GiB"
    return Finding("disk", f"{free:.1f} GiB free at {place}", advice)
