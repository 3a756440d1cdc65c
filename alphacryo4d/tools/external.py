"""The protocol of RELION's External job.

RELION calls ``program --o External/job001/ --in_parts particles.star --j 1 --label value ...`` from
its project folder. The program says how it ended by an empty file, looks for a file that asks it to
stop, and names its outputs in a STAR file, so that further jobs can take them as input.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from alphacryo4d.core import files
from alphacryo4d.core.errors import InterruptedRun, MissingProgramError, ProgramError
from alphacryo4d.core.files import write_text
from alphacryo4d.core.stopping import asked_to_end
from alphacryo4d.io.star import write_tables
from alphacryo4d.relion.version import Version, installed_version
from alphacryo4d.selection.sets_stage import usual_selection

logger = logging.getLogger(__name__)

SUCCESS, FAILURE, ABORTED = (
    f"RELION_JOB_EXIT_{word}" for word in ("SUCCESS", "FAILURE", "ABORTED")
)
ABORT_NOW = "RELION_JOB_ABORT_NOW"
OUTPUT_NODES = "RELION_OUTPUT_NODES.star"
NODES = {
    # kind: number of RELION 3, label of RELION 4, label of RELION 5 (its src/pipeliner.h)
    "particles": (3, "ParticlesData.star.relion", "ParticleGroupMetadata.star.relion"),
    "map": (6, "DensityMap.mrc", "DensityMap.mrc"),
    "halfmap": (10, "DensityMap.mrc.halfmap", "DensityMap.mrc.halfmap"),
    "pdf": (13, "LogFile.pdf", "LogFile.pdf"),
}


def _watch(folder: Path, ended: threading.Event, interval: float) -> None:
    """Stop this process as an interrupt would, once RELION asks for it."""
    while not ended.wait(interval):
        if (folder / ABORT_NOW).exists():
            logger.info("RELION asks to stop")
            os.kill(os.getpid(), signal.SIGTERM)
            return


@contextlib.contextmanager
def external_job(folder: Path, *, interval: float = 2.0) -> Iterator[None]:
    """Tell RELION how the work inside ended: success, failure or abortion.

    Parameters
    ----------
    folder : Path
        Output folder of the job, ``External/job001``.
    interval : float
        Seconds between looks for the wish to stop.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in (SUCCESS, FAILURE, ABORTED, ABORT_NOW):
        (folder / name).unlink(missing_ok=True)
    ended = threading.Event()
    thread = threading.Thread(target=_watch, args=(folder, ended, interval), daemon=True)
    thread.start()
    result = FAILURE
    try:
        yield
        result = SUCCESS
    except BaseException as reason:
        # click makes an Abort of an interrupt, and a library may make an error of a signal
        stopped = isinstance(reason, InterruptedRun | KeyboardInterrupt | click.Abort)
        if stopped or asked_to_end() is not None:
            result = ABORTED
        raise
    finally:
        ended.set()
        write_text(folder / result, "")


def output_nodes(project: Path, *, reclassified: bool = False) -> list[tuple[Path, str]]:
    """Files of a project folder that further RELION jobs can take, with their kinds.

    Parameters
    ----------
    project : Path
    reclassified : bool
        Take the states of ``reclassify/``, where there are any, in the place of those of ``vote/``.
    """
    states = project / (usual_selection(project) if reclassified else files.VOTE)
    landscape = project / files.LANDSCAPE
    nodes = [(states / files.PARTICLES_STAR, "particles")]
    nodes += [(path, "particles") for path in sorted(states.glob("class[0-9][0-9][0-9].star"))]
    nodes += [(path, "map") for path in sorted(states.glob("class[0-9][0-9][0-9].mrc"))]
    nodes += [(path, "halfmap") for path in sorted(states.glob("class*_half1_unfil.mrc"))]
    nodes += [(landscape / "landscape.pdf", "pdf")]
    return [(path, kind) for path, kind in nodes if path.is_file()]


def relion_version() -> Version | None:
    """Version of the RELION that calls, or None where it cannot be found."""
    try:
        return installed_version()
    except (MissingProgramError, ProgramError):
        return None


def write_output_nodes(
    folder: Path, nodes: Iterable[tuple[Path, str]], *, version: Version | None
) -> Path:
    """Name the outputs of a job for RELION.

    Parameters
    ----------
    folder : Path
        Output folder of the job.
    nodes : iterable of (Path, str)
        Files, relative to RELION's project folder, and their kinds (:data:`NODES`).
    version : Version or None
        RELION 3 knows node types by number, later ones by label; None writes both, with the labels
        of RELION 5.
    """
    named = [(os.path.relpath(path), *NODES[kind]) for path, kind in nodes]
    columns: dict[str, list[object]] = {"rlnPipeLineNodeName": [name for name, *_ in named]}
    if version is None or version.major < 4:
        columns["rlnPipeLineNodeType"] = [number for _, number, *_ in named]
    if version is None or version.major >= 4:
        place = 2 if version is not None and version.major == 4 else 3
        columns["rlnPipeLineNodeTypeLabel"] = [node[place] for node in named]
    return write_tables(folder / OUTPUT_NODES, {"output_nodes": columns})
