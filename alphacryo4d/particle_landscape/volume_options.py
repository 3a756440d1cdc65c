"""Options of volumes at points of the particle landscape; nothing heavy is imported here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from alphacryo4d.core.help import RESOLUTION, STATES
from alphacryo4d.core.settings import described, require_setting, setting
from alphacryo4d.voting.options import SYMMETRY_HELP


@described
@dataclass(frozen=True)
class VolumeOptions:
    """Reconstruction at points of the landscape from all particles near them."""

    at: str = setting(
        "states",
        "Points, joined by semicolons: coordinates with commas (as many components as are given "
        "count), states or states:1,3 (minima of the density), path or path:10 (points along the "
        "path at equal distances), grid:5 (points an axis, where there are data), or a .csv, .npy "
        "or .txt file with a point a row.",
        metavar="POINTS",
        group=STATES,
    )
    widths: int = setting(
        8, "Widths of the neighbourhood that half-sets choose from, shell by shell.", group=STATES
    )
    fewest: int | None = setting(
        None,
        "Particles that the narrowest neighbourhood is worth, at least 30; a 200th of all by "
        "default.",
        type=int,
    )
    linear: bool = setting(
        False, "Write the volume of mean and components at each point too (no half maps)."
    )
    movie: bool = setting(
        False,
        "Write movie.cxc, which morphs from point to point in ChimeraX, and movie.gif, slices and "
        "projections.",
        group=STATES,
    )
    mask: Path | None = setting(
        None, "Soft mask for the FSC; made from each map by default.", type=Path, group=RESOLUTION
    )
    local_resolution: bool = setting(
        False, "Write the local resolution of every map, volume_001_locres.mrc, in Angstrom."
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
        8.0,
        "Memory in GB: half for the images, of which more goes to disk, half for the points that "
        "are worked on at once.",
    )

    def __post_init__(self) -> None:
        """Refuse values that can never make sense."""
        require_setting(1 <= self.widths <= 8, f"--widths {self.widths}: 1 to 8 are possible")
        require_setting(
            self.fewest is None or self.fewest >= 30,
            f"--fewest {self.fewest}: fewer than 30 particles make no map",
        )
        require_setting(self.memory > 0, f"--memory {self.memory}: must be positive")
        require_setting(bool(self.at.strip()), "--at: give at least one point")
