"""What the user can say about RELION (light: the command line reads its options from here)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from alphacryo4d.core.errors import UsageError
from alphacryo4d.core.help import RESOLUTION
from alphacryo4d.core.settings import described, require_setting, setting

NO_GPU_REASON = (
    "RELION uses neither GPUs nor its vectorised path in classification without alignment "
    "(--skip_align): leave out --gpu and give it more MPI ranks (--ranks), "
    "or take --engine native"
)


def refuse_gpu_without_alignment(gpu: str | None) -> None:
    """Refuse a GPU for a run that cannot use one, with the reason."""
    if gpu is not None and gpu.strip().lower() not in ("", "none"):
        raise UsageError(f"--gpu {gpu}: {NO_GPU_REASON}")


@described
@dataclass(frozen=True)
class RelionOptions:
    """Options of RELION's classification beyond those that both engines share."""

    reference: Path | None = setting(
        None,
        "Initial reference map; by default made from all particles with relion_reconstruct.",
        type=Path,
    )
    initial_lowpass: float = setting(
        30.0,
        "Low-pass filter of the initial reference in Angstrom.",
        flags=("--ini-high",),
    )
    reference_ctf_corrected: bool = setting(True, "The reference is corrected for the CTF.")
    firstiter_cc: bool = setting(
        False, "First iteration by cross-correlation, for references not on absolute grey scale."
    )
    relion_tau2_fudge: float = setting(4.0, "RELION's regularisation parameter T (tau2_fudge).")
    zero_mask: bool = setting(True, "Set the surroundings of particles to zero, not to noise.")
    correct_norm: bool = setting(True, "Correct the norm of images and the scale of groups.")
    padding: int = setting(2, "Padding factor of the references.", flags=("--pad",))
    pool: int = setting(100, "Images that a thread takes at once.")
    symmetry: str = setting(
        "C1",
        "Point group, in RELION's orientation (both engines).",
        flags=("--sym", "--symmetry"),
        group=RESOLUTION,
    )
    ranks: int | None = setting(
        None,
        "MPI ranks, one of which only leads; by default one more than threads.",
        type=int,
    )
    mpi_launcher: str = setting(
        "mpirun", "Program that starts MPI ranks, with its arguments, such as 'srun --mpi=pmix'."
    )
    mask: Path | None = setting(
        None,
        "Soft solvent mask (MRC, values from 0 to 1) of the classes; by default a sphere, "
        "which the native engine narrows to what the volumes fill.",
        type=Path,
        group=RESOLUTION,
    )
    relion_scratch: Path | None = setting(
        None, "Local disk that RELION copies the stacks to.", type=Path
    )
    relion_args: str = setting("", "Further arguments handed to relion_refine as they are.")

    def __post_init__(self) -> None:
        """Check the values."""
        for name in ("initial_lowpass", "relion_tau2_fudge"):
            value = getattr(self, name)
            require_setting(
                math.isfinite(value) and value > 0,
                f"--{name.replace('_', '-')} {value}: must be positive",
            )
        require_setting(self.padding in (1, 2), f"--pad {self.padding}: RELION takes 1 or 2")
        require_setting(self.pool >= 1, "--pool must be at least 1")
        require_setting(
            self.ranks is None or self.ranks >= 1, f"--ranks {self.ranks}: must be at least 1"
        )
        require_setting(
            self.symmetry.isalnum(), f"--sym {self.symmetry}: a point group such as C1 or D7"
        )


@described
@dataclass(frozen=True)
class ConsensusOptions:
    """Options of the consensus alignment by RELION (4.10: one pose for every particle)."""

    engine: str = setting(
        "relion",
        "Refinement by RELION or by our engine (native), half-sets apart.",
        choices=("relion", "native"),
    )
    search: str = setting(
        "auto",
        "Of the native engine: all orientations (global), those around the poses given (local), or "
        "only uphill from them (near); auto is global where there are none and local elsewhere.",
        choices=("auto", "global", "local", "near"),
    )
    models: int | None = setting(
        None,
        "Consensus models. With RELION 1 (the default) is 3D auto-refinement with half-sets, more "
        "is a classification; with the native engine so many classes are searched against in the "
        "end, 8 by default where all orientations are searched.",
        type=int,
    )
    initial_lowpass: float = setting(
        60.0,
        "Low-pass filter of the initial reference in Angstrom.",
        flags=("--initial-lowpass", "--ini-high"),
    )
    limit_resolution: float | None = setting(
        None, "Highest resolution used for the alignment, in Angstrom.", type=float
    )
    iterations: int = setting(
        25,
        "Most iterations, of a multi-model alignment or of the native engine; auto-refinement "
        "stops by itself.",
        flags=("--iter",),
    )
    healpix_order: int = setting(
        2, "First angular sampling: 1 is 30, 2 is 15, 3 is 7.5, 4 is 3.7 degrees."
    )
    offset_range: float = setting(5.0, "Search range of shifts in pixels.")
    offset_step: float = setting(1.0, "Step of shifts in pixels.")
    particle_diameter: float | None = setting(
        None, "Diameter of the mask around particles in Angstrom.", type=float
    )
    mask: Path | None = setting(
        None, "Solvent mask, values from 0 to 1.", type=Path, group=RESOLUTION
    )
    keep_poses: bool = setting(
        False, "The particles have poses that are good: check them and go on, without RELION."
    )

    @property
    def relion_models(self) -> int:
        """Models that RELION finds."""
        return self.models or 1

    def __post_init__(self) -> None:
        """Check the values."""
        require_setting(
            self.models is None or self.models >= 1, f"--models {self.models}: must be at least 1"
        )
        require_setting(self.iterations >= 1, "--iter must be at least 1")
        require_setting(0 <= self.healpix_order <= 7, "--healpix-order must be from 0 to 7")
        for name in ("initial_lowpass", "limit_resolution", "particle_diameter"):
            value = getattr(self, name)
            require_setting(
                value is None or (math.isfinite(value) and value > 0),
                f"--{name.replace('_', '-')} {value}: must be positive",
            )
        require_setting(
            self.offset_range > 0 and self.offset_step > 0, "shifts need a positive range and step"
        )
