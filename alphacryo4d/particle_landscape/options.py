"""Options of the particle landscape; nothing heavy is imported here."""

from __future__ import annotations

from dataclasses import dataclass

from alphacryo4d.core.help import RESOLUTION, STATES
from alphacryo4d.core.settings import described, known_pose_sigma, require_setting, setting

MOST_GAUSSIANS = 64


@described
@dataclass(frozen=True)
class CoordinateOptions:
    """Components of every fold, and the coordinates of all particles among them."""

    components: int = setting(
        8,
        "Most components; as many are kept as make held-out particles more likely.",
        group=STATES,
    )
    iterations: int = setting(
        3, "EM iterations of components and noise at the final resolution.",
        flags=("--iterations", "--iter"),
    )  # fmt: skip
    final_resolution: float = setting(
        8.0,
        "Resolution limit of the components (A); that of the first classification where that is "
        "finer.",
        group=RESOLUTION,
    )
    initial_resolution: float = setting(
        12.0, "Resolution limit of the first pass over a fold (A).", group=RESOLUTION
    )
    refine_poses: bool = setting(
        True, "Refine poses locally, conformation marginalised.", group=STATES
    )
    angle_sigma: float | None = setting(
        None,
        "Standard deviation of the error of each pose angle (degrees); with --shift-sigma. Both "
        "are estimated by default.",
        type=float,
    )
    shift_sigma: float | None = setting(
        None, "Standard deviation of the error of each shift (A).", type=float
    )
    mask_diameter: float | None = setting(
        None,
        "Diameter of the spherical solvent mask (A), where the resampling had no --mask; that of "
        "the resampling by default.",
        type=float,
        group=RESOLUTION,
    )
    memory: float = setting(8.0, "Memory in GB for the images; more goes to disk.")
    write_table: bool = setting(
        False,
        "Write coordinates.star: the particle table with the coordinates and their errors as "
        "columns.",
        group=STATES,
    )

    def __post_init__(self) -> None:
        """Refuse values that can never make sense."""
        require_setting(1 <= self.components <= 16, "--components must be from 1 to 16")
        require_setting(self.iterations >= 1, "--iterations must be at least 1")
        require_setting(self.final_resolution > 0, "--final-resolution must be positive")
        require_setting(self.initial_resolution > 0, "--initial-resolution must be positive")
        known_pose_sigma(self.angle_sigma, self.shift_sigma)
        require_setting(self.memory > 0, "--memory must be positive")

    @property
    def pose_sigma(self) -> tuple[float, float] | None:
        """Standard deviations of the poses' errors (degrees, A), None to estimate them."""
        return known_pose_sigma(self.angle_sigma, self.shift_sigma)


@described
@dataclass(frozen=True)
class DensityOptions:
    """Density of the particles over the components, its states and a path."""

    dimensions: int | None = setting(
        None,
        "Components that the density is over (1 to 4); by default two, or one where only one is "
        "kept.",
        type=int,
        group=STATES,
    )
    gaussians: int = setting(
        12, "Most Gaussians of the density; held-out particles decide how many count."
    )
    density_particles: int = setting(
        100_000, "Most particles that the density is fitted to, drawn at random."
    )
    depth: float = setting(0.5, "Least depth of a state of the density (kT).", group=STATES)
    start: str | None = setting(
        None,
        "Start of the path: a state of the density (its number), or coordinates with commas; by "
        "default the two states with the longest way between them are its ends.",
        metavar="STATE|Z1,Z2,...",
        type=str,
        group=STATES,
    )
    end: str | None = setting(
        None, "End of the path, likewise.", metavar="STATE|Z1,Z2,...", type=str, group=STATES
    )
    images: int = setting(101, "Images of the path.")
    path_volumes: int = setting(
        10,
        "Volumes along the path, as mean and components make them; 0 for none.",
        group=STATES,
    )

    def __post_init__(self) -> None:
        """Refuse values that can never make sense."""
        require_setting(
            self.dimensions is None or 1 <= self.dimensions <= 4,
            f"--dimensions {self.dimensions}: 1 to 4 are possible",
        )
        require_setting(1 <= self.gaussians <= MOST_GAUSSIANS, "--gaussians must be from 1 to 64")
        require_setting(self.density_particles >= 100, "--density-particles must be at least 100")
        require_setting(self.depth > 0, "--depth must be positive")
        require_setting(self.images >= 3, "--images must be at least 3")
        require_setting(
            self.path_volumes == 0 or self.path_volumes >= 2,
            "--path-volumes must be 0, or at least 2",
        )
        require_setting(
            (self.start is None) == (self.end is None), "--start and --end: give both, or none"
        )
