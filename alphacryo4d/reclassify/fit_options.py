"""Options of the fit of the states of one fold."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class FitOptions:
    """Options of the fit of one fold.

    Attributes
    ----------
    resolution : float
        Finest resolution (A). What finer shells hold is weighted by the prior, whose power is
        estimated shell by shell.
    components : int
        Most components.
    initial_resolution : float
        Resolution (A) of the first pass.
    iterations : int
        Iterations of expectation maximisation of the second pass.
    move : bool
        Whether poses move.
    pose_sigma : tuple of float, optional
        Errors of the poses (degrees, A); estimated by default.
    split_merge : bool
        Whether two states may be merged and a third one split (split-merge EM).
    latent : bool
        Whether the outcome holds what the particles say of points.
    mask_diameter : float, optional
        Of the spherical solvent mask (A); by default the box.
    from_images : bool, optional
        Whether the given poses were fitted to the images themselves; by default the score of the
        poses says so.
    seed : int
        Of the components beyond those that the states span, and of the particles that show how
        coordinates scatter.
    """

    resolution: float
    components: int = 16
    initial_resolution: float = 12.0
    iterations: int = 1
    move: bool = True
    pose_sigma: tuple[float, float] | None = None
    split_merge: bool = True
    latent: bool = False
    mask_diameter: float | None = None
    from_images: bool | None = None
    seed: int = 0

    @property
    def first(self) -> FitOptions:
        """Of the first pass."""
        return replace(self, resolution=self.initial_resolution)

    @property
    def tests_poses(self) -> bool:
        """Whether the score of the given poses shall say what they are."""
        return self.move and self.pose_sigma is None and self.from_images is None
