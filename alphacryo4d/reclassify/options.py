"""Options of the reclassification; nothing heavy is imported here."""

from __future__ import annotations

from dataclasses import dataclass

from alphacryo4d.core.help import INPUT, RESOLUTION, STATES
from alphacryo4d.core.settings import (
    described,
    keep_as_text,
    known_pose_sigma,
    require_setting,
    setting,
)
from alphacryo4d.voting.options import votes_needed


@described
@dataclass(frozen=True)
class ReclassifyOptions:
    """Second classification, seeded by the states of the landscape."""

    rounds: int = setting(
        2,
        "Most rounds; another one where states merge or split, have not converged, or free poses "
        "may still move particles.",
    )
    converged: float = setting(
        0.5,
        "Converged when fewer than this fraction of the particles change their state in a round.",
        formerly=("--stable",),
    )
    iterations: int = setting(
        1,
        "EM iterations of components and noise at the final resolution; three where there are "
        "more components than the states span.",
        flags=("--iterations", "--iter"),
    )
    final_resolution: float = setting(
        6.0,
        "Resolution limit of the last pass over a fold (A); that of the first classification where "
        "that is finer.",
        formerly=("--finest-resolution",),
        group=RESOLUTION,
    )
    initial_resolution: float = setting(
        12.0,
        "Resolution limit of the first pass over a fold (A).",
        formerly=("--first-resolution",),
        group=RESOLUTION,
    )
    components: int = setting(
        16,
        "Most principal components: those that the states span, and two for differences within.",
    )
    threshold: str | float = setting(
        "1/2",
        "Votes that a state needs: a fraction f for V > f M, or a whole number n for V >= n.",
        metavar="F|N",
        type=str,
        group=STATES,
    )
    minimum_posterior: float = setting(
        0.0, "A vote below this posterior probability is empty; 0 counts all."
    )
    require_heldout: bool = setting(
        True,
        "Keep a particle only where its held-out fold agrees with its votes; the held-out "
        "agreement that is reported is the one before.",
    )
    merge: bool = setting(
        True, "Merge a state that held-out particles do not support.", group=STATES
    )
    split_merge: bool = setting(
        True,
        "Split-merge EM: two overlapping states are merged and a third is split, where the "
        "likelihood of a fold's particles rises, and states are also sought without the labels of "
        "the votes; --no-split-merge does neither.",
        formerly=("--reseed",),
        group=STATES,
    )
    split: bool = setting(
        False,
        "Split every state where the held-out likelihood rises (a continuous motion is then cut "
        "ever finer the more particles there are).",
        group=STATES,
    )
    keep_outliers: bool = setting(
        False,
        "Let images without signal of the particle, which had no vote before, take part.",
    )
    refine_poses: bool = setting(
        True,
        "Refine poses locally, conformation marginalised (the tables keep the consensus poses).",
        group=STATES,
    )
    write_poses: bool = setting(
        False,
        "Write the refined poses into the tables of the states and refined.star (of every particle "
        "by its held-out fold); the consensus poses stay as ac4dInputAngleRot ..., and the maps of "
        "the states are made from them, so that their half-sets have exchanged no poses.",
        group=INPUT,
    )
    angle_sigma: float | None = setting(
        None,
        "Standard deviation of the error of each pose angle (degrees); with --shift-sigma. Both "
        "are estimated by default.",
        type=float,
        formerly=("--angle-error",),
    )
    shift_sigma: float | None = setting(
        None,
        "Standard deviation of the error of each shift (A).",
        type=float,
        formerly=("--shift-error",),
    )
    mask_diameter: float | None = setting(
        None,
        "Diameter of the spherical solvent mask (A), where the resampling had no --mask; that of "
        "the resampling by default.",
        type=float,
        group=RESOLUTION,
    )
    memory: float = setting(8.0, "Memory in GB for the images; more goes to disk.")
    reconstruct: bool = setting(
        True, "Reconstruct every state with half maps and FSC.", group=INPUT
    )

    def __post_init__(self) -> None:
        """Refuse values that can never make sense."""
        keep_as_text(self, threshold=self.threshold)
        votes_needed(self.threshold, 255)
        require_setting(self.rounds >= 1, "--rounds must be at least 1")
        require_setting(
            self.refine_poses or not self.write_poses,
            "--write-poses: --no-refine-poses makes none to write",
        )
        require_setting(self.iterations >= 1, "--iterations must be at least 1")
        require_setting(0 <= self.converged < 1, "--converged must be in [0, 1)")
        require_setting(0 <= self.minimum_posterior < 1, "--minimum-posterior must be in [0, 1)")
        require_setting(self.final_resolution > 0, "--final-resolution must be positive")
        require_setting(self.initial_resolution > 0, "--initial-resolution must be positive")
        require_setting(self.components >= 1, "--components must be at least 1")
        known_pose_sigma(self.angle_sigma, self.shift_sigma)
        require_setting(self.memory > 0, "--memory must be positive")

    @property
    def pose_sigma(self) -> tuple[float, float] | None:
        """Standard deviations of the poses' errors (degrees, A), None to estimate them."""
        return known_pose_sigma(self.angle_sigma, self.shift_sigma)
