"""When to stop zooming in: whether a state is one conformation, as far as the data can tell.

Inside a homogeneous state the classes of a fold split the particles by noise. The fold that left
a particle out has never seen its noise: which of its classes the particle fits best there
(``heldout.npy``) then says nothing of its own classes. In a state that still holds two
conformations the two agree. The measure is their mutual information beyond that of shuffled
particles, as a share of the most there could be.

The two agree a little in any state: both folds see the same image, and where they cut a cloud of
images along the same direction its noise alone decides on which side a particle falls. So the
yardstick is what two neighbouring states of the landscape give when they are taken as one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alphacryo4d.core.arrays import Array

SMALLEST_SHARE = 0.02
SMALLEST_Z = 3.0
YARDSTICK_SHARE = 0.8


@dataclass(frozen=True)
class Homogeneity:
    """Result of the test for one state.

    Attributes
    ----------
    information : float
        Mutual information of own and left-out classes beyond chance, as a share (0 to 1) of the
        entropy of the left-out classes.
    z : float
        The same in standard deviations of shuffled particles.
    particles : int
        Pairs of labels that were compared.
    homogeneous : bool
        Nothing is left to separate: less than 3 standard deviations, less than 2%, or less than
        0.8 of what two neighbouring states share.
    """

    information: float
    z: float
    particles: int
    homogeneous: bool


def assess_homogeneity(
    assignments: Array,
    heldout: Array,
    volume_states: Array,
    state: int,
    *,
    rng: np.random.Generator,
    shuffles: int = 20,
    yardstick: float = 0.0,
) -> Homogeneity:
    """Test whether a state still holds different conformations.

    Parameters
    ----------
    assignments : (P, M + 1) int array
        Volume row of every particle in every fold; -1 in the fold that left it out, other
        negative numbers where its class was dropped.
    heldout : (P,) int array
        Volume that each particle fits best in the fold that left it out; negative for none.
    volume_states : (V,) int array
        State of each volume, from 1; 0 for none.
    state : int
        State to test.
    rng : numpy.random.Generator
        For the shuffled particles.
    shuffles : int
        Number of shuffles.
    yardstick : float
        Information of two neighbouring states taken as one (:func:`neighbours_information`).
    """
    pairs = _label_pairs(assignments, heldout, volume_states == state)
    particles = sum(len(own) for own, _ in pairs)
    if particles < 50:
        return Homogeneity(0.0, 0.0, particles, homogeneous=True)
    observed, entropy = _pooled(pairs)
    chance = np.array(
        [_pooled([(own, rng.permutation(left)) for own, left in pairs])[0] for _ in range(shuffles)]
    )
    excess = observed - float(chance.mean())
    share = max(0.0, excess / max(entropy, 1e-12))
    z = excess / max(float(chance.std()), 1e-12)
    least = max(SMALLEST_SHARE, YARDSTICK_SHARE * yardstick)
    homogeneous = bool(share < least or z < SMALLEST_Z)
    return Homogeneity(share, z, particles, homogeneous)


def neighbours_information(
    assignments: Array,
    heldout: Array,
    volume_states: Array,
    embedding: Array,
    *,
    rng: np.random.Generator,
) -> float:
    """Median information that a state and the one nearest to it give when they are taken as one.

    Parameters
    ----------
    volume_states : (V,) int array
        State of each volume, from 1; 0 for none.
    embedding : (V, 2) array
        Where the nearest state is looked for, by the means of the states' volumes.

    Returns
    -------
    float
        0 where there are fewer than two states.
    """
    states = np.unique(volume_states[volume_states > 0])
    if len(states) < 2:
        return 0.0
    middle = np.array([embedding[volume_states == state].mean(0) for state in states])
    between = ((middle[:, None] - middle[None]) ** 2).sum(2)
    np.fill_diagonal(between, np.inf)
    pairs = {tuple(sorted((i, int(j)))) for i, j in enumerate(between.argmin(1))}
    assessed = [
        assess_homogeneity(
            assignments,
            heldout,
            np.isin(volume_states, states[list(pair)]).astype(int),
            1,
            rng=rng,
            shuffles=3,
        )
        for pair in sorted(pairs)
    ]
    return float(np.median([pair.information for pair in assessed]))


def _label_pairs(assignments: Array, heldout: Array, inside: Array) -> list[tuple[Array, Array]]:
    """Own and left-out volumes of the particles inside, for each pair of folds.

    Kept apart by pairs since folds differ in the volumes they have; pairs in which either fold
    has only one volume inside can tell nothing.
    """
    lookup = np.append(inside, False)
    folds = range(assignments.shape[1])
    pairs = []
    for out in folds:
        left_out = (assignments[:, out] == -1) & lookup[np.maximum(heldout, -1)]
        for column in folds:
            labels = assignments[:, column]
            both = left_out & lookup[np.maximum(labels, -1)]
            own = np.unique(labels[both], return_inverse=True)[1]
            left = np.unique(heldout[both], return_inverse=True)[1]
            if column != out and len(own) and own.max() > 0 and left.max() > 0:
                pairs.append((own, left))
    return pairs


def _pooled(pairs: list[tuple[Array, Array]]) -> tuple[float, float]:
    """Mutual information and entropy of the left-out labels, averaged over all particles."""
    information = entropy = total = 0.0
    for own, left in pairs:
        size = int(left.max()) + 1
        table = np.bincount(own * size + left, minlength=(int(own.max()) + 1) * size)
        joint = table.reshape(-1, size) / len(own)
        shares = joint.sum(0)
        expected = joint.sum(1)[:, None] * shares[None]
        kept = joint > 0
        information += len(own) * float((joint[kept] * np.log(joint[kept] / expected[kept])).sum())
        entropy -= len(own) * float((shares * np.log(np.maximum(shares, 1e-300))).sum())
        total += len(own)
    return information / total, entropy / total
