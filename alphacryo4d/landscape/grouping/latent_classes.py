"""States that explain which volumes a particle contributed to: latent class analysis.

Every particle has one class label from each of its M folds. If it is in one conformational state,
its labels are independent given that state, whatever the folds did: a mixture of products of
multinomials, fitted by expectation maximisation (Lazarsfeld and Henry 1968; for repeated, fallible
labels Dawid and Skene 1979). Volumes of different folds belong to one state because the same
particles are in them, which no distance between noisy maps can tell as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from alphacryo4d.core.arrays import Array
from alphacryo4d.landscape.grouping.metastable import batches_of_volumes
from alphacryo4d.particles.copies import counted_once


@dataclass(frozen=True)
class LatentClasses:
    """A fitted mixture.

    Attributes
    ----------
    expected : (V, K) array
        Expected particles of each volume in each state.
    log_likelihood : float
        Of all particles' labels.
    parameters : int
        Free parameters: state shares, and the classes' shares in each fold and state.
    """

    expected: Array
    log_likelihood: float
    parameters: int

    @property
    def labels(self) -> Array:
        """State of each volume (V,), from 0: the one that most of its particles are in."""
        labels: Array = self.expected.argmax(1)
        return labels

    def criterion(self, penalty: float) -> float:
        """Information criterion: -2 log L + penalty * parameters."""
        return -2 * self.log_likelihood + penalty * self.parameters


class LabelTable:
    """Labels of all particles, particles with the same labels counted together.

    Parameters
    ----------
    assignments : (P, M + 1) int array
        Volume row of every particle in every fold; negative where it has none.
    folds : (V,) int array
        Fold (of one batch) of each volume, from 0.
    copies : (P,) int array, optional
        Image of every particle, where some are copies of one: these count as one particle.
    """

    def __init__(self, assignments: Array, folds: Array, copies: Array | None = None) -> None:
        from scipy.sparse import csr_matrix

        present = np.where(assignments < 0, -1, assignments)
        labelled = (present >= 0).any(1)
        patterns, rows, weights = np.unique(
            present[labelled], axis=0, return_inverse=True, return_counts=True
        )
        if copies is not None:
            weights = np.bincount(rows.ravel(), weights=counted_once(copies[labelled]))
        row, column = np.nonzero(patterns >= 0)
        shape = (len(patterns), len(folds))
        ones = np.ones(len(row))
        self.incidence = csr_matrix((ones, (row, patterns[row, column])), shape=shape)
        self.patterns = patterns
        self.weights = weights.astype(np.float64)
        self.weighted = self.incidence.T.multiply(self.weights[None]).tocsr()
        self.folds = np.asarray(folds)
        self.counts = np.asarray(self.weighted.sum(1)).ravel()
        self._shared: Array | None = None
        self.pseudo = (self.counts / self.counts.sum() * (self.folds.max() + 1))[:, None]

    def parameters(self, states: int) -> int:
        """Free parameters of a mixture with so many states."""
        classes = np.bincount(self.folds)
        return states - 1 + states * int((classes - 1).sum())

    def penalties(self) -> tuple[float, float]:
        """Penalties of a parameter: of AIC3, and of the adjusted Bayesian criterion.

        AIC3 (Bozdogan 1994) finds the number of multinomials in a mixture more often (Andrews and
        Currim 2003; Dias 2006); Bayesian criteria miss states that are hard to tell apart. But
        its penalty does not grow with the particles, so that it counts splits which noise repeats
        in all folds; the other (Sclove 1987) counts fewer of them.
        """
        return 3.0, float(np.log((self.weights.sum() + 2) / 24))

    def agreement(self, labels: Array) -> float:
        """Information that the state in one fold gives on that in another, states alike.

        Parameters
        ----------
        labels : (V,) int array
            State of each volume, from 0.

        Returns
        -------
        float
            Mutual information in nats as it would be with all states equally populated, the mean
            over batches: that a particle stays in its batch says nothing. For one number of states
            it ranks groupings of volumes. Weighted by particles a state of 1% could add 0.06 nats
            at most, less than noise that splits a large state alike in all folds.
        """
        chosen = np.eye(int(labels.max()) + 1)[labels]
        per_batch = []
        for batch in range(int(self.batches.max()) + 1):
            rows = np.flatnonzero(self.batches == batch)
            joint = chosen[rows].T @ self.shared()[np.ix_(rows, rows)] @ chosen[rows]
            joint = joint[joint.any(1)]
            if not len(joint):
                continue
            transitions = joint / joint.sum(1, keepdims=True)
            ratios = transitions / np.maximum(transitions.mean(0), 1e-300)
            logs = np.log(ratios, out=np.zeros_like(transitions), where=transitions > 0)
            per_batch.append(float((transitions * logs).sum(1).mean()))
        return float(np.mean(per_batch))

    @cached_property
    def batches(self) -> Array:
        """Batch (V,) of each volume, from 0: folds that share particles are of one batch."""
        return batches_of_volumes(self.shared(), self.folds)

    def shared(self) -> Array:
        """Particles (V, V) that volumes of different folds share."""
        if self._shared is None:
            shared = (self.incidence.T @ self.incidence.multiply(self.weights[:, None])).toarray()
            shared[self.folds[:, None] == self.folds[None]] = 0.0
            self._shared = shared
        return self._shared

    def flow(self) -> Array:
        """Share (V, V) of each volume's particles that are in each volume of another fold."""
        shared = self.shared()
        totals = shared.sum(1, keepdims=True)
        alone = totals[:, 0] == 0
        result: Array = shared / np.where(totals == 0, 1.0, totals)
        result[alone, alone] = 1.0
        return result

    def start(self, labels: Array, states: int) -> Array:
        """Posteriors (patterns, K) from a state of each volume: the share of its votes."""
        chosen = np.zeros((len(labels), states))
        chosen[np.arange(len(labels)), labels] = 1.0
        votes = self.incidence @ chosen
        result: Array = votes / votes.sum(1, keepdims=True)
        return result

    def fit(
        self, posteriors: Array, *, iterations: int = 300, tolerance: float = 1e-6
    ) -> tuple[LatentClasses, Array]:
        """Expectation maximisation from given posteriors (patterns, K).

        Parameters
        ----------
        iterations : int
            Most iterations.
        tolerance : float
            Stop where the log likelihood gains less than this share of itself.

        Returns
        -------
        LatentClasses
            The mixture.
        (patterns, K) array
            Its posteriors, to go on from.
        """
        states = posteriors.shape[1]
        likelihood = -np.inf
        expected = self.weighted @ posteriors
        for _ in range(iterations):
            expected = self.weighted @ posteriors
            classes = expected + self.pseudo
            totals = np.zeros((self.folds.max() + 1, states))
            np.add.at(totals, self.folds, classes)
            prior = self.weights @ posteriors + 1.0
            logs = self.incidence @ np.log(classes / totals[self.folds])
            logs += np.log(prior / prior.sum())
            highest = logs.max(1, keepdims=True)
            posteriors = np.exp(logs - highest)
            norm = posteriors.sum(1, keepdims=True)
            posteriors /= norm
            before, likelihood = likelihood, float(self.weights @ (highest + np.log(norm))[:, 0])
            if likelihood - before < tolerance * abs(likelihood):
                break
        return LatentClasses(expected, likelihood, self.parameters(states)), posteriors


def best_of_starts(
    table: LabelTable, starts: list[Array], states: int, *, finalists: int = 4
) -> LatentClasses:
    """Mixture of highest likelihood from several starts; the best few are fitted to the end.

    Parameters
    ----------
    starts : list of (V,) int arrays
        States of the volumes to start from.
    """
    first = [table.fit(table.start(labels, states), iterations=12) for labels in starts]
    first.sort(key=lambda fitted: -fitted[0].log_likelihood)
    fitted = [table.fit(posteriors)[0] for _, posteriors in first[:finalists]]
    return max(fitted, key=lambda mixture: mixture.log_likelihood)
