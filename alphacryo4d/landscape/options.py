"""Options of the landscape stage."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from alphacryo4d.core.help import STATES
from alphacryo4d.core.settings import described, keep_as_text, require_setting, setting

METHODS = ("tsne", "pca", "mds", "isomap", "lle", "umap")
CENTERS = ("volumes", "path", "minima")
DENSITY = "density"
"""Rule of states that needs `landscape particles` of an earlier vote."""


@described
@dataclass(frozen=True)
class EmbedOptions:
    """Distances between volumes and their embedding in the plane (section 4.5)."""

    embedding_method: str = setting(
        "tsne", "How volumes are laid out in the plane.", flags=("--embedding-method",),
        choices=METHODS, group=STATES)  # fmt: skip
    perplexity: float | None = setting(
        None,
        "Perplexity of t-SNE; by default 30, or a sixth of the volumes where they are fewer "
        "than 180.",
        type=float,
        group=STATES,
    )
    iterations: int = setting(
        1000, "Iterations of t-SNE.", flags=("--niter", "--embedding-iterations")
    )
    tsne: str = setting("barnes-hut", "Form of t-SNE.", choices=("barnes-hut", "exact", "opentsne"))
    neighbours: int = setting(15, "Neighbours of a volume, for isomap, lle and umap.")
    low_pass: float | None = setting(
        None, "Low-pass the volumes to this resolution in Angstrom instead of the z-score."
    )
    dimensions: int = setting(
        2,
        "3 makes an embedding in space, too, with a figure and a page to turn it; the landscape "
        "stays in the plane.",
    )
    stability: bool = setting(
        False, "Embed with other seeds and perplexities, too, and draw how much changes."
    )
    memory: float = setting(1.0, "Memory for blocks of volumes, in GB.")

    def __post_init__(self) -> None:
        """Check the values."""
        require_setting(
            self.perplexity is None or self.perplexity >= 1, "--perplexity must be at least 1"
        )
        require_setting(
            self.iterations >= 250, f"--niter {self.iterations}: at least 250 are needed"
        )
        require_setting(self.neighbours >= 2, "--neighbours must be at least 2")
        require_setting(self.low_pass is None or self.low_pass > 0, "--low-pass must be positive")
        require_setting(self.memory > 0, "--memory must be positive")
        require_setting(
            self.dimensions in (2, 3), f"--dimensions {self.dimensions}: 2 or 3 is needed"
        )


@described
@dataclass(frozen=True)
class EnergyOptions:
    """Energy of the volumes (eq. 6) and the surface through them."""

    interpolate: str = setting(
        "kernel",
        "Surface between the volumes: linear, cubic (Clough-Tocher) or kernel (smooth).",
        choices=("linear", "cubic", "kernel"),
    )
    energy_from: str = setting(
        "auto",
        "What the surface shows: class, -ln of each volume's own share (eq. 6), or density, of "
        "the population around it, which does not rise where a state is cut into many small "
        "classes. auto: density for the kernel surface, class for those through the points.",
        flags=("--energy-from",),
        choices=("auto", "class", "density"),
    )

    @property
    def from_density(self) -> bool:
        """Whether the surface shows the population density."""
        if self.energy_from == "auto":
            return self.interpolate == "kernel"
        return self.energy_from == "density"


@described
@dataclass(frozen=True)
class PathOptions:
    """Minimum-energy path by the simplified string method (sections 4.6 and 4.7)."""

    path: bool = setting(
        True,
        "Find the minimum-energy path; without ends it joins the two volumes farthest apart in the "
        "half of lowest energy.",
    )
    start: tuple[float, float] | None = setting(
        None, "Start of the path (RC1 RC2).", nargs=2, type=float, group=STATES
    )
    end: tuple[float, float] | None = setting(
        None, "End of the path (RC1 RC2).", nargs=2, type=float, group=STATES
    )
    start_volume: str | None = setting(None, "Start at this volume (name).", type=str)
    end_volume: str | None = setting(None, "End at this volume (name).", type=str)
    via: tuple[tuple[float, float], ...] = setting((), "Points to pass.", hidden=True)
    images: int = setting(500, "Images of the path.")
    stepsize: float | None = setting(
        None, "Fixed step of the string method (0.1 in the paper); automatic by default."
    )
    stepmax: int = setting(100_000, "Most steps of the string method.")
    tolerance: float = setting(1e-7, "Displacement at which the path has converged.")
    bootstrap: int = setting(
        50, "Bootstrap replicates for the error of the path and its barriers; 0 for none."
    )
    range: float | None = setting(
        None, "Largest coordinate that the figure shows; from the embedding by default.",
        flags=("--range",), type=float,
    )  # fmt: skip

    def __post_init__(self) -> None:
        """Check the values."""
        require_setting(self.images >= 3, "--images must be at least 3")
        require_setting(self.stepsize is None or self.stepsize > 0, "--stepsize must be positive")
        require_setting(self.stepmax >= 1, "--stepmax must be at least 1")
        require_setting(self.tolerance > 0, "--tolerance must be positive")
        require_setting(
            self.start is None or self.start_volume is None,
            "--start and --start-volume exclude each other",
        )
        require_setting(
            self.end is None or self.end_volume is None,
            "--end and --end-volume exclude each other",
        )


@described
@dataclass(frozen=True)
class StatesOptions:
    """How states are found."""

    states: str | int = setting(
        "auto",
        "Number of states, or auto to find it.",
        flags=("--states", "--kcenters"),
        group=STATES,
        type=str,
    )
    centers: str = setting(
        "volumes",
        "Where states are: volumes (grouped in the full space, with the folds as replicates), "
        "path (along the minimum-energy path), minima (basins of the surface), density (basins of "
        "the density of single particles, once `landscape particles` has run), or a file of "
        "centers (K, 2).",
        metavar="volumes|path|minima|density|FILE",
        group=STATES,
    )
    along: str = setting(
        "minima",
        "States along a path: at minima about equally spaced, or spaced at equal arc length.",
        choices=("minima", "spaced"),
    )
    radius: float | None = setting(
        None,
        "Radius of every state; each gets its own from the embedding by default.",
        group=STATES,
    )

    def __post_init__(self) -> None:
        """Check the values."""
        keep_as_text(self, states=self.states)
        number = str(self.states).isdecimal() and int(self.states) >= 1
        require_setting(
            number or self.states == "auto",
            f"--states {self.states}: a number from 1, or auto, is needed",
        )
        require_setting(self.radius is None or self.radius > 0, "--radius must be positive")
        require_setting(
            self.centers in (*CENTERS, DENSITY)
            or Path(self.centers).suffix in (".npy", ".txt", ".star"),
            f"--centers {self.centers}: volumes, path, minima, density, or a .npy, .txt or "
            ".star file",
        )
        require_setting(
            self.centers != DENSITY or self.states == "auto",
            f"--states {self.states}: the density of particles has basins of its own number; "
            "leave it out, or change --depth of `landscape particles`",
        )

    @property
    def number(self) -> int | None:
        """Number of states asked for; None where it is to be found."""
        return None if self.states == "auto" else int(self.states)


@described
@dataclass(frozen=True)
class LandscapeOptions:
    """All options of the stage."""

    embed: EmbedOptions = dataclasses.field(default_factory=EmbedOptions)
    energy: EnergyOptions = dataclasses.field(default_factory=EnergyOptions)
    path: PathOptions = dataclasses.field(default_factory=PathOptions)
    states: StatesOptions = dataclasses.field(default_factory=StatesOptions)
