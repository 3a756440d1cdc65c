"""Options of the states' maps and of RELION's refinement; nothing heavy is imported here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from alphacryo4d.core.errors import UsageError
from alphacryo4d.core.help import RESOLUTION, STATES
from alphacryo4d.core.settings import described, require_setting, setting
from alphacryo4d.voting.options import SYMMETRY_HELP


@described
@dataclass(frozen=True)
class ReconstructOptions:
    """Reconstruction of every state from its particles."""

    mask: Path | None = setting(
        None, "Soft mask for the FSC; made from each state by default.", type=Path, group=RESOLUTION
    )
    difference_to: int | None = setting(
        None,
        "Write difference maps of every state to this one.",
        type=int,
        metavar="STATE",
    )
    local_resolution: bool = setting(
        False, "Write the local resolution of every state, class001_locres.mrc, in Angstrom."
    )
    symmetry: str | None = setting(
        None,
        SYMMETRY_HELP,
        type=str,
        flags=("--symmetry", "--sym"),
        metavar="GROUP",
        group=RESOLUTION,
    )
    memory: float = setting(
        4.0, "Memory in GB for the images of two states, of which one is read; more goes to disk."
    )

    def __post_init__(self) -> None:
        """Refuse values that can never make sense."""
        require_setting(self.memory > 0, f"--memory {self.memory}: must be positive")
        require_setting(
            self.difference_to is None or self.difference_to >= 1,
            f"--difference-to {self.difference_to}: states count from 1",
        )


@described
@dataclass(frozen=True)
class RefineOptions:
    """RELION's refinement of every state, from its voted particles."""

    engine: str = setting(
        "none",
        "none writes the commands, relion runs them too.",
        choices=("none", "relion"),
        group=STATES,
    )
    states: str = setting("all", "States to refine, such as 1,4,7.", metavar="LIST", group=STATES)
    initial_lowpass: float = setting(
        30.0, "Low-pass filter of each state's reference (A).", flags=("--ini-high",)
    )
    healpix_order: int = setting(
        4, "Angular sampling at the start: 4 (3.7 degrees) and above search around the poses."
    )
    offset_range: float = setting(3.0, "Search range of shifts in pixels.")
    particle_diameter: float | None = setting(
        None, "Diameter of the mask around particles (A).", type=float
    )
    mask: Path | None = setting(
        None, "Solvent mask, values from 0 to 1.", type=Path, group=RESOLUTION
    )
    symmetry: str | None = setting(
        None,
        SYMMETRY_HELP,
        type=str,
        flags=("--symmetry", "--sym"),
        metavar="GROUP",
        group=RESOLUTION,
    )
    half_sets: str = setting(
        "keep",
        "keep: the half-sets of the consensus refinement (rlnRandomSubset), whose poses the search "
        "starts from, or where there are none the fixed split of the states' half maps; fresh: a "
        "new random split by --seed. Copies of an image stay in one.",
        choices=("keep", "fresh"),
        group=STATES,
    )
    ranks: int = setting(3, "MPI ranks, an odd number: one leads, each half-set has the same.")
    mpi_launcher: str = setting("mpirun", "Program that starts MPI ranks, with its arguments.")
    relion_args: str = setting("", "Further arguments handed to relion_refine as they are.")

    def __post_init__(self) -> None:
        """Refuse values that can never make sense."""
        require_setting(self.engine in ("none", "relion"), f"--engine {self.engine}: none, relion")
        require_setting(
            self.half_sets in ("keep", "fresh"), f"--half-sets {self.half_sets}: keep, fresh"
        )
        require_setting(
            self.ranks >= 3 and self.ranks % 2 == 1, f"--ranks {self.ranks}: 3, 5, 7 ..."
        )
        if self.states != "all":
            chosen_states(self.states)


def chosen_states(text: str) -> list[int]:
    """Numbers of a list such as ``1,4,7``."""
    try:
        chosen = [int(part) for part in text.split(",")]
    except ValueError as error:
        raise UsageError(f"--states {text}: give all, or numbers such as 1,4,7") from error
    require_setting(min(chosen) >= 1, f"--states {text}: states count from 1")
    return chosen
