"""Volumes about which the changes of a pose are taken: those of the states, not their mean.

The best pose for a conformation is not stationary for the mean, and the derivatives of the mean are
those of the wrong volume there. States that are alike share one volume.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alphacryo4d.core.arrays import Array

_MOST_GROUPS = 8


@dataclass(frozen=True)
class Centres:
    """Volumes about which the changes of a pose are taken.

    Attributes
    ----------
    group : (n,) int array
        Volume of every particle of the view, -1 for the mean.
    cubes : (G, m, m, m) float32
    """

    group: Array
    cubes: Array

    def rows(self, chosen: Array) -> Centres:
        """The same for some of the particles."""
        return Centres(self.group[chosen], self.cubes)

    @classmethod
    def of_states(cls, volumes: Array, soft: Array) -> Centres:
        """Of groups of states (K, m, m, m), for particles with soft labels (n, K).

        A particle whose labels are zero goes to the mean.
        """
        groups = groups_of_volumes(volumes)
        weight = np.zeros((int(groups.max()) + 1, len(volumes)), np.float32)
        weight[groups, np.arange(len(volumes))] = soft.sum(axis=0) + 1e-9
        weight /= weight.sum(axis=1, keepdims=True)
        own = np.where(soft.any(axis=1), groups[soft.argmax(axis=1)], -1)
        return cls(own, np.tensordot(weight, volumes, 1).astype(np.float32))

    def of_members(self, cubes: Array, means: Array) -> Centres:
        """The same groups, with the mean volume of their particles.

        Parameters
        ----------
        cubes : (q + 1, m, m, m) float32
            Mean and components.
        means : (n, q + 1 or more) array
            Coordinates of the particles, the first of them 1.
        """
        inside, count = self.group >= 0, len(cubes)
        weight = np.zeros((len(self.cubes), count))
        np.add.at(weight, self.group[inside], means[inside, :count])
        weight /= np.maximum(weight[:, :1], 1e-9)
        weight[:, 0] = 1
        return Centres(self.group, np.tensordot(weight.astype(np.float32), cubes, 1))


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
