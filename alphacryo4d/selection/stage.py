"""Select particles: count first, then write them byte for byte with how they were chosen."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path

from alphacryo4d import __version__
from alphacryo4d.core import files
from alphacryo4d.core.arrays import Array
from alphacryo4d.core.errors import InputError
from alphacryo4d.core.job import read_job, start_job
from alphacryo4d.core.run_flags import RunFlags
from alphacryo4d.io.cs import write_cs_rows
from alphacryo4d.particles.open import open_table
from alphacryo4d.particles.recorded import images_folder
from alphacryo4d.selection.columns_stage import ProjectColumns
from alphacryo4d.selection.expression import choose
from alphacryo4d.selection.sets_stage import say_selection, usual_selection
from alphacryo4d.voting.output_stage import input_table_path

logger = logging.getLogger(__name__)

SELECT_JSON = "select.json"


@dataclass(frozen=True)
class Chosen:
    """A selection.

    Attributes
    ----------
    table : Path
        Table whose rows are chosen.
    rows : (P,) bool array
    used : list of Path
        Files that the criterion read.
    selection : str or None
        Folder of the project whose states were meant.
    """

    table: Path
    rows: Array
    used: list[Path]
    selection: str | None


def choose_particles(source: Path, where: str, selection: str | None = None) -> Chosen:
    """Rows that a criterion chooses.

    Parameters
    ----------
    source : Path
        Project folder, or a particle table.
    where : str
        The criterion (:mod:`alphacryo4d.selection.expression`).
    selection : str, optional
        Folder of the project whose states are meant: vote, reclassify, vote-2 ...; by default that
        of the reclassification, else of the votes.
    """
    project = source if source.is_dir() else None
    if project is not None:
        selection = selection or usual_selection(project)
    path = source if project is None else input_table_path(project / files.RESAMPLE)
    table = open_table(path)
    columns = ProjectColumns(table, project, selection or files.VOTE)
    rows = choose(where, columns.columns())
    if len(rows) != table.rows:
        raise InputError(f"{path}: {table.rows} particles, but the criterion tells of {len(rows)}")
    if project is not None and selection is not None and columns.of_states:
        say_selection(project, selection)
    logger.info("%d of %d particles: %s", rows.sum(), table.rows, where)
    return Chosen(path, rows, list(dict.fromkeys(columns.used)), selection)


def recorded_selection(output: Path, where: str) -> str | None:
    """Set of states that the same criterion was about in a folder; None where there is none."""
    options = (read_job(output) or {}).get("options", {}).get("select", {})
    same = isinstance(options, dict) and options.get("where") == where
    return options.get("selection") if same else None


def run_select(
    source: Path,
    output: Path,
    *,
    where: str,
    selection: str | None = None,
    flags: RunFlags = RunFlags(),
) -> list[Path]:
    """Write the chosen particles: ``particles.star``, and ``particles.cs`` of a ``.cs`` file.

    Parameters
    ----------
    source : Path
        Project folder, or a particle table.
    output : Path
        Output folder.
    where, selection : str
        As for :func:`choose_particles`; the same criterion in the same folder keeps the states that
        it was about.
    flags : RunFlags, optional

    Returns
    -------
    list of Path
        Tables and ``select.json``.
    """
    chosen = choose_particles(source, where, selection or recorded_selection(output, where))
    if not chosen.rows.any():
        raise InputError(f"--where {where}: no particle; RELION refuses empty tables")
    with start_job(
        output,
        stage="select",
        options={"select": {"where": where, "selection": chosen.selection or files.VOTE}},
        inputs=[chosen.table, *chosen.used],
        flags=flags,
    ) as job:
        if job.finished:
            return job.outputs
        written = [
            open_table(chosen.table).write_rows(job.folder / files.PARTICLES_STAR, chosen.rows)
        ]
        if chosen.table.suffix.lower() == ".cs":
            path = job.folder / files.PARTICLES_CS
            write_cs_rows(chosen.table, path, chosen.rows)
            written.append(path)
        record = {
            "version": __version__,
            "source": str(source),
            "table": str(chosen.table),
            "selection": chosen.selection if source.is_dir() else None,
            "where": where,
            "particles": int(chosen.rows.sum()),
            "of": len(chosen.rows),
        }
        written.append(
            files.write_text(job.folder / SELECT_JSON, json.dumps(record, indent=1) + "\n")
        )
        if source.is_dir():
            job.note(images_from=_images_from(source, chosen.table, output))
        job.complete("select", written)
        return job.outputs


def _images_from(project: Path, table: Path, output: Path) -> str | None:
    """Folder that a command on the chosen particles needs as ``--images-from``."""
    written = output / files.PARTICLES_STAR
    folder = images_folder(project / files.RESAMPLE, open_table(table), written)
    return None if folder is None else str(folder)
