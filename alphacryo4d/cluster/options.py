"""What the user can say about the cluster (light: the command line reads its options from here)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from alphacryo4d.core.help import SPEED
from alphacryo4d.core.settings import described, require_setting, setting


@described
@dataclass(frozen=True)
class ClusterOptions:
    """How a run is given to Slurm. Empty values come from RELION's environment variables."""

    submit: bool = setting(
        False, "Give the run to the cluster: folds as a job array, then stages.", group=SPEED
    )
    qsub_template: Path | None = setting(
        None,
        "RELION's submission template; by default RELION_QSUB_TEMPLATE, or plain sbatch.",
        type=Path,
    )
    qsub_command: str = setting("", "Command that submits; by default RELION_QSUB_COMMAND, sbatch.")
    queue: str = setting("", "Queue or partition (XXXqueueXXX).")
    cores: int = setting(4, "Cores of every job (XXXthreadsXXX, XXXcoresXXX).")
    min_dedicated: int = setting(1, "Cores that a node must give at least (XXXdedicatedXXX).")
    walltime: str = setting("", "Time limit of every job for plain sbatch, such as 24:00:00.")
    cluster_memory: str = setting("", "Memory of every job for plain sbatch, such as 64G.")
    qsub_extra1: str = setting("", "Value of XXXextra1XXX.")
    qsub_extra2: str = setting("", "Value of XXXextra2XXX.")
    qsub_extra3: str = setting("", "Value of XXXextra3XXX.")
    qsub_extra4: str = setting("", "Value of XXXextra4XXX.")
    sbatch_args: str = setting("", "Further arguments of sbatch, such as '--account=lab'.")
    array_limit: int = setting(0, "Folds that run at the same time; 0 is no limit.")
    retries: int = setting(1, "How often folds that failed are tried again.")

    def __post_init__(self) -> None:
        """Check the values."""
        require_setting(self.cores >= 1, "--cores must be at least 1")
        require_setting(self.min_dedicated >= 1, "--min-dedicated must be at least 1")
        require_setting(self.array_limit >= 0, "--array-limit must not be negative")
        require_setting(0 <= self.retries <= 5, "--retries must be from 0 to 5")
        for name in ("qsub_command", "queue", "walltime", "cluster_memory", "sbatch_args"):
            value = getattr(self, name)
            require_setting(
                value.isprintable() or not value, f"--{name.replace('_', '-')}: line ends in it"
            )
