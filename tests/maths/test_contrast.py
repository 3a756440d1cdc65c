"""A map whose molecule is negative is told from a right one, and from noise."""

import numpy as np

from alphacryo4d.maths.contrast import looks_inverted


def test_a_negative_molecule_is_told() -> None:
    line = np.arange(32) - 16
    radius = np.sqrt(np.add.outer(np.add.outer(line**2, line**2), line**2))
    noise = np.random.default_rng(0).normal(scale=0.1, size=(32, 32, 32))
    molecule = np.exp(-((radius / 5) ** 2)) + noise
    assert not looks_inverted(molecule)
    assert looks_inverted(-molecule)
    assert not looks_inverted(noise)
    assert not looks_inverted(np.zeros((4, 4, 4)))
