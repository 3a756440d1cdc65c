"""Options of the native classification engine; light, so that ``--help`` stays quick."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from alphacryo4d.core.errors import UsageError
from alphacryo4d.core.help import RESOLUTION, STATES
from alphacryo4d.core.settings import described, keep_as_text, require_setting, setting


def class_levels(classes: str | int | tuple[int, ...]) -> tuple[int, ...]:
    """Numbers of classes of a scheme such as ``20``, ``5x8`` or ``8x5x2``.

    Raises
    ------
    UsageError
        The scheme is not made of whole numbers joined by ``x``.
    """
    try:
        levels = tuple(int(part) for part in str(classes).lower().split("x"))
    except ValueError as error:
        raise UsageError(f"classes {classes!r}: give a number, or a scheme such as 5x8") from error
    require_setting(min(levels) >= 1, f"classes {classes!r}: every number must be positive")
    return levels


@described
@dataclass(frozen=True)
class ClassifyOptions:
    """Options of one classification without alignment."""

    classes: str | int | tuple[int, ...] = setting(
        "5x8", "Classes: a number, or a hierarchy such as 5x8.", group=STATES, type=str
    )
    iterations: int = setting(
        25,
        "Most EM iterations of the classes.",
        flags=("--iterations", "--iter"),
    )
    initial_resolution: float = setting(
        15.0,
        "Resolution limit of the first iterations (A); of all with --engine relion.",
        formerly=("--limit-resolution",),
        group=RESOLUTION,
    )
    final_resolution: float = setting(
        10.5,
        "Resolution limit of the last iterations (A); 0 keeps the initial one.",
        formerly=("--sharpen-to",),
        group=RESOLUTION,
    )
    iterations_after_pca: int = setting(
        4,
        "Most EM iterations of classes that start from the principal components.",
        formerly=("--settle-iterations",),
    )
    converged: float = setting(
        0.01, "Converged when fewer than this fraction of the particles change their class."
    )
    initialisation: str = setting(
        "pca",
        "Start of the classes: a mixture among the principal components of the particles, or "
        "random labels.",
        choices=("pca", "random"),
        formerly=("--seeds",),
        former_choices={"components": "pca"},
    )
    components: int = setting(
        11,
        "Principal components of the particles from which the classes start; 7 at the most where "
        "--final-resolution is not finer than --initial-resolution.",
    )
    component_iterations: int = setting(
        8, "EM iterations of the principal components at the initial resolution."
    )
    final_component_iterations: int = setting(
        5,
        "EM iterations of the principal components at the final resolution.",
        formerly=("--finer-iterations",),
    )
    tau2_fudge: float = setting(1.0, "Factor on the prior's power.")
    prior: str = setting(
        "shared",
        "Prior of the classes: one spectrum that they share, or one for each class. With its own, "
        "a class with few particles is damped more and loses more.",
        choices=("shared", "class"),
    )
    equal_weights: bool = setting(True, "Give all classes the same prior probability.")
    temperature: float = setting(1.0, "Temperature of the posteriors at the start; cools to 1.")
    minimum_occupancy: float = setting(
        0.1,
        "Classes with an occupancy below this fraction of 1/K are re-initialised (not where start "
        "volumes or labels were given).",
        formerly=("--minimum-share",),
    )
    noise_groups: str = setting(
        "optics",
        "Particles that share a noise spectrum and an intensity scale (native engine).",
        choices=("optics", "micrograph"),
    )
    normalise: str = setting(
        "auto",
        "How images are levelled when they are read: deviation: background to mean 0 and "
        "deviation 1, as RELION does, and images unlike all others without weight; ramp: the same "
        "after a plane is taken off; micrograph: to mean 0 and the deviation that the images of "
        "a micrograph (of an optics group, where the table names none) have in common; mean: the "
        "mean alone; none: as they are; auto: deviation, or micrograph where the background "
        "depends on the viewing direction (native engine).",
        choices=("auto", "deviation", "ramp", "micrograph", "mean", "none"),
    )
    keep_outliers: bool = setting(
        False,
        "Classify images without signal of the particle too; they are named all the same.",
    )
    output_box: int | None = setting(
        None,
        "Box of the volumes (pixels, even), for tables of several; by default that of the first "
        "optics group (native engine).",
        type=int,
    )
    voxel_size: float | None = setting(
        None, "Voxel size of the volumes (A), likewise (native engine).", type=float
    )
    focus_mask: Path | None = setting(
        None,
        "Soft mask (MRC, values from 0 to 1) of the region that the classes may differ in; what "
        "the consensus holds outside is subtracted from the images (native engine).",
        type=Path,
        group=RESOLUTION,
    )
    mask_diameter: float | None = setting(
        None,
        "Diameter of the spherical solvent mask (A); by default the box.",
        type=float,
        group=RESOLUTION,
    )

    @property
    def grid(self) -> tuple[int | None, float | None]:
        """Box and voxel size that were asked for."""
        return self.output_box, self.voxel_size

    def __post_init__(self) -> None:
        keep_as_text(self, classes=self.classes)
        class_levels(self.classes)
        require_setting(self.iterations >= 1, "iterations must be at least 1")
        require_setting(self.iterations_after_pca >= 1, "iterations-after-pca must be at least 1")
        require_setting(0 <= self.converged < 1, "converged must be in [0, 1)")
        require_setting(self.initial_resolution > 0, "initial-resolution must be positive (A)")
        require_setting(self.final_resolution >= 0, "final-resolution must be positive or 0 (A)")
        require_setting(self.components >= 1, "components must be at least 1")
        require_setting(self.component_iterations >= 1, "component-iterations must be at least 1")
        require_setting(
            self.final_component_iterations >= 1, "final-component-iterations must be at least 1"
        )
        require_setting(self.tau2_fudge > 0, "tau2-fudge must be positive")
        require_setting(self.temperature >= 1, "temperature must be at least 1")
        require_setting(0 <= self.minimum_occupancy < 1, "minimum-occupancy must be in [0, 1)")
        require_setting(
            self.mask_diameter is None or self.mask_diameter > 0, "mask-diameter must be positive"
        )
        require_setting(
            self.output_box is None or (self.output_box >= 8 and self.output_box % 2 == 0),
            "output-box must be even and at least 8",
        )
        require_setting(
            self.voxel_size is None or self.voxel_size > 0, "voxel-size must be positive (A)"
        )

    @property
    def levels(self) -> tuple[int, ...]:
        """Numbers of classes, level by level."""
        return class_levels(self.classes)
