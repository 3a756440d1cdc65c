"""What a consensus refinement is asked, and what it gives."""

from __future__ import annotations

from dataclasses import dataclass

from scipy.spatial.transform import Rotation

from alphacryo4d.core.arrays import Array
from alphacryo4d.maths.fsc import Correlation
from alphacryo4d.maths.rotations import whole_rotations
from alphacryo4d.ml3d.images import PreparedImages


@dataclass(frozen=True)
class Search:
    """How poses are looked for.

    Attributes
    ----------
    everywhere : bool
        All orientations; otherwise around the poses that are given.
    near : bool
        Only uphill from the poses that are given, from the resolution of their map on.
    reach : float
        Shifts (pixels) around those that are given.
    candidates : int
        Poses of an image that are refined.
    classes : int
        Maps of the last search of all orientations, beside the mean; 1 for none.
    most_iterations : int
        But for those after the last search.
    resolution : float or None
        Finest that is used (A).
    initial : float
        Low-pass filter of the reference (A).
    diameter : float or None
        Of the spherical mask (A).
    """

    everywhere: bool
    near: bool = False
    reach: float = 5.0
    candidates: int = 12
    classes: int = 1
    most_iterations: int = 25
    resolution: float | None = None
    initial: float = 60.0
    diameter: float | None = None


@dataclass
class Consensus:
    """Poses and maps.

    Attributes
    ----------
    rotations : (P, 3, 3) float64
    shifts : (P, 2) float64
        That centre the prepared images (pixels).
    half_maps : (2, n, n, n) float32
        Half maps, not filtered.
    volume : (n, n, n) float32
        Of all particles, filtered by the correlation of the halves.
    curves : Correlation
        Of the half maps, within the mask.
    angle_error, shift_error : float
        Of a pose about each axis, from the curvature of its likelihood (degrees, A): the spread
        that noise leaves, of poses that found the right optimum.
    log : list of dict
        Of every iteration: resolution (A), median change of angle (degrees) and shift (A), mean
        log-likelihood ratio of a particle against noise alone.
    """

    rotations: Array
    shifts: Array
    half_maps: Array
    volume: Array
    curves: Correlation
    angle_error: float
    shift_error: float
    log: list[dict[str, float]]


def changes_of(images: PreparedImages, consensus: Consensus) -> tuple[Array, Array]:
    """Changes of the poses that the images were prepared with.

    Returns
    -------
    rotations : (P, 3) float64
        Rotation vectors in the frame of the image (degrees).
    shifts : (P, 2) float64
        Added to the shifts that centre the images (A).
    """
    turned = consensus.rotations @ whole_rotations(images.matrices).transpose(0, 2, 1)
    vectors: Array = Rotation.from_matrix(turned).as_rotvec(degrees=True)
    return vectors, consensus.shifts * images.pixel_size
