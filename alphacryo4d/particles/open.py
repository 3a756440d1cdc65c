"""Open a particle table, STAR or cryoSPARC."""

from __future__ import annotations

from pathlib import Path

from alphacryo4d.io.cs import open_cs_table
from alphacryo4d.io.star import ParticleTable
from alphacryo4d.io.tables.choice import choose_particles
from alphacryo4d.io.tables.scan import scan
from alphacryo4d.particles.kinds import refuse_foreign, refuse_other_tables


def open_table(path: Path) -> ParticleTable:
    """Open a particle table; its form is checked from end to end.

    Parameters
    ----------
    path : Path
        STAR file of RELION 3.0 to 5, or cryoSPARC ``.cs`` (read as the STAR table it converts to).

    Raises
    ------
    InputError
        The file is missing or has a fault of form: short row, blank line inside the rows, CR LF,
        open quote, control character, a table or column that is there twice, no particle table
        (what it is instead is said: a stack, an archive, a table of micrographs or classes ...).
    """
    refuse_foreign(Path(path))
    if Path(path).suffix.lower() == ".cs":
        return open_cs_table(Path(path))
    structure = scan(Path(path))
    structure.require_sound()
    refuse_other_tables(structure)
    return ParticleTable(Path(path), structure, choose_particles(structure))
