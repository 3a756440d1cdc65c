"""Batch scripts: pure text from a job and the site's template (or none)."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from alphacryo4d.cluster.options import ClusterOptions
from alphacryo4d.core.errors import InputError
from alphacryo4d.core.program import refuse_unsafe_name

_VARIABLE = re.compile(r"XXX([A-Za-z0-9]+)XXX")


@dataclass(frozen=True)
class BatchJob:
    """One job for the cluster.

    Attributes
    ----------
    name : str
        Short name, such as ``folds``.
    command : tuple of str
        Program and arguments.
    folder : Path
        Folder of scripts and logs.
    working_folder : Path
        Where the command runs.
    cores, gpus : int
        What it needs.
    array : tuple of int
        Indices of a job array; empty for a plain job. The program reads its own index from
        ``SLURM_ARRAY_TASK_ID``.
    """

    name: str
    command: tuple[str, ...]
    folder: Path
    working_folder: Path
    cores: int = 1
    gpus: int = 0
    array: tuple[int, ...] = ()

    @property
    def output(self) -> Path:
        """Log of stdout, with Slurm's patterns."""
        return self.folder / f"{self.name}_{'%A_%a' if self.array else '%j'}.out"

    @property
    def error(self) -> Path:
        """Log of stderr, with Slurm's patterns."""
        return self.output.with_suffix(".err")

    @property
    def script(self) -> Path:
        """File of the batch script."""
        return self.folder / f"{self.name}.sh"


def array_specification(indices: tuple[int, ...], limit: int = 0) -> str:
    """Indices as Slurm writes them: ``0-3,7%2``."""
    parts: list[list[int]] = []
    for index in sorted(indices):
        if parts and index == parts[-1][-1] + 1:
            parts[-1] = [parts[-1][0], index]
        else:
            parts.append([index])
    text = ",".join("-".join(str(end) for end in part) for part in parts)
    return f"{text}%{limit}" if limit else text


def render_script(
    job: BatchJob, options: ClusterOptions, *, environment: Mapping[str, str] | None = None
) -> str:
    """Text of the batch script of a job.

    Parameters
    ----------
    job : BatchJob
        What is to run.
    options : ClusterOptions
        Template and values of its variables.
    environment : mapping, optional
        Variables of RELION (``RELION_QSUB_TEMPLATE`` ...); those of this process by default.

    Raises
    ------
    InputError
        The template is missing, has no place for the command, or a variable without a value.
    """
    values = os.environ if environment is None else environment
    refuse_unsafe_name(job.folder, program="a batch script")
    template = options.qsub_template or values.get("RELION_QSUB_TEMPLATE")
    if not template:
        return _plain_script(job, options)
    return _from_template(Path(template), job, options, values)


def _plain_script(job: BatchJob, options: ClusterOptions) -> str:
    lines = [
        "#!/bin/bash",
        f"#SBATCH --job-name=ac4d-{job.name}",
        f"#SBATCH --output={job.output}",
        f"#SBATCH --error={job.error}",
        "#SBATCH --ntasks=1",
        f"#SBATCH --cpus-per-task={job.cores}",
    ]
    if job.gpus:
        lines.append(f"#SBATCH --gres=gpu:{job.gpus}")
    for name, value in (
        ("partition", options.queue),
        ("time", options.walltime),
        ("mem", options.cluster_memory),
    ):
        if value:
            lines.append(f"#SBATCH --{name}={value}")
    lines += [f"cd {shlex.quote(str(job.working_folder))} || exit 1", shlex.join(job.command), ""]
    return "\n".join(lines)


def _from_template(
    path: Path, job: BatchJob, options: ClusterOptions, values: Mapping[str, str]
) -> str:
    if not path.is_file():
        raise InputError(f"{path}: no such submission template; give --qsub-template")
    text = path.read_text(encoding="utf-8", errors="replace")
    if "XXXcommandXXX" not in text:
        raise InputError(f"{path}: the template has no XXXcommandXXX, so nothing would run")
    nodes = -(-job.cores // options.min_dedicated)
    replaced = {
        "name": f"ac4d-{job.name}",
        "outfile": str(job.output),
        "errfile": str(job.error),
        "queue": options.queue or values.get("RELION_QUEUE_NAME", "openmpi"),
        "mpinodes": "1",
        "threads": str(job.cores),
        "cores": str(job.cores),
        "dedicated": str(options.min_dedicated),
        "nodes": str(nodes),
        "command": shlex.join(job.command),
    }
    for name in set(re.findall(r"XXX(extra\d+)XXX", text)):
        given = getattr(options, f"qsub_{name}", "")
        replaced[name] = given or values.get(f"RELION_QSUB_{name.upper()}_DEFAULT", "")
    unknown = sorted(set(_VARIABLE.findall(text)) - set(replaced))
    if unknown:
        named = ", ".join(f"XXX{name}XXX" for name in unknown)
        raise InputError(f"{path}: the template has variables that RELION does not know: {named}")
    return _VARIABLE.sub(lambda match: replaced[match[1]], text)
