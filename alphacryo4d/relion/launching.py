"""RELION started on MPI ranks: the environment that they need, and commands as text to paste."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from alphacryo4d.core.program import command_lines, run_program

OUTER_MPI = ("OMPI_COMM_WORLD", "OMPI_UNIVERSE", "PMIX_", "PMI_")
"""What srun or an outer mpirun sets for us; RELION's own ranks would take it for theirs."""
_MPIRUN = ("mpirun", "mpiexec", "orterun", "prterun")
_MORE_RANKS_THAN_CORES = {
    "OMPI_MCA_rmaps_base_oversubscribe": "1",  # Open MPI to 4
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",  # Open MPI 5
}
_ROOT_MAY = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}


def mpi_variables(command: Sequence[str]) -> dict[str, str]:
    """Variables with which ``mpirun`` starts more ranks than cores, also for root.

    Open MPI refuses both unless told otherwise. Its options for that are unknown to the ``mpirun``
    of MPICH and of Intel; its variables are not heeded there.
    """
    if Path(command[0]).name.split(".")[0] not in _MPIRUN:
        return {}
    return _MORE_RANKS_THAN_CORES | (_ROOT_MAY if os.geteuid() == 0 else {})


def run_relion(
    command: Sequence[str],
    *,
    log: Path,
    folder: Path,
    watch: Callable[[], None] | None = None,
) -> None:
    """Run a program of RELION by :func:`run_program`, with MPI ranks of its own."""
    run_program(
        command,
        log=log,
        folder=folder,
        without=OUTER_MPI,
        variables=mpi_variables(command),
        watch=watch,
    )


def for_shell(command: Sequence[str]) -> list[str]:
    """Words of a command that runs in any shell as :func:`run_relion` runs it."""
    variables = [f"{name}={value}" for name, value in mpi_variables(command).items()]
    return ["env", *variables, *command] if variables else list(command)


def relion_lines(commands: Iterable[Sequence[str]]) -> str:
    """Commands of RELION as text that can be pasted into a shell."""
    return command_lines(for_shell(command) for command in commands)
