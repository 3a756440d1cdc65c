"""Options of the alignment of volumes."""

from __future__ import annotations

from dataclasses import dataclass

from alphacryo4d.core.settings import described, require_setting, setting


@described
@dataclass(frozen=True)
class AlignOptions:
    """How volumes are brought into one frame."""

    search: str = setting(
        "global",
        "Try all orientations, or only near the given one.",
        choices=("global", "local"),
    )
    coarse_resolution: float = setting(30.0, "Resolution of the global search in Angstrom.")
    fine_resolution: float = setting(12.0, "Resolution of the refinement in Angstrom.")
    angular_step: float = setting(18.0, "Spacing of the global search in degrees.")
    tolerance: float = setting(
        0.1, "Motions below this at the particle's edge, in voxels, are not applied."
    )
    report_hand: bool = setting(False, "Try the opposite hand too, and report which fits better.")

    def __post_init__(self) -> None:
        """Check the values."""
        require_setting(
            0 < self.fine_resolution <= self.coarse_resolution,
            "--fine-resolution must be positive and not below --coarse-resolution",
        )
        require_setting(5 <= self.angular_step <= 60, "--angular-step must be from 5 to 60 degrees")
        require_setting(self.tolerance >= 0, "--tolerance must not be negative")
