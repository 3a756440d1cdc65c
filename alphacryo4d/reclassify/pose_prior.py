"""What a given pose is: a measurement apart from the image, or the image's own best fit.

A pose that was measured apart from the image says, with a normal error, where the true one is. A
pose that was fitted to the image says nothing that the image does not say, and is only where the
search starts. The score of the pose tells the two apart.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from alphacryo4d.reclassify.joint_moments import POSE, JointMoments
from alphacryo4d.reclassify.pose_scatter import pose_variance

Array = np.ndarray[Any, Any]

BROAD = (5.0, 3.0)
"""Deviations (degrees, A) of the prior of a pose that was fitted to the image itself."""
_FREE = POSE - 1
_MOST_GROUPS = 8


def score_of_poses(moments: JointMoments) -> float:
    """Mean square of the score of the given poses over the information on them.

    With ``g`` the derivative of the log-likelihood of the mean by the pose, and ``I`` the
    information, ``g' I^-1 g / 5`` has the mean ``1 + tr(I S) / 5`` for errors of covariance S that
    are independent of the image (five changes of a pose show), and vanishes at the best fit.

    Parameters
    ----------
    moments : JointMoments
        At the given poses.
    """
    slope = moments.projected[:, moments.count :]
    information = moments.information[:, moments.count :, moments.count :]
    # the shift along the line of sight does not show; a prior that says next to nothing holds it
    matrix = information + np.diag(1 / pose_variance((60.0, 60.0)))
    solved = np.linalg.solve(matrix, slope[:, :, None])[..., 0]
    return float((slope * solved).sum(axis=1).mean() / _FREE)


def groups_of_volumes(volumes: Array, most: int = _MOST_GROUPS) -> Array:
    """Group (K,) from 0 of volumes (K, ...) so that those that are alike share one (Ward)."""
    if len(volumes) <= most:
        return np.arange(len(volumes))
    from scipy.cluster.hierarchy import fcluster, linkage

    flat = volumes.reshape(len(volumes), -1).astype(np.float64)
    gram = flat @ flat.T
    values, vectors = np.linalg.eigh(gram)
    places = vectors * np.sqrt(np.maximum(values, 0))
    labels = fcluster(linkage(places, "ward"), most, "maxclust")
    return np.unique(labels, return_inverse=True)[1].astype(np.int64)
