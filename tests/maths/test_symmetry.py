import re
import subprocess

import numpy as np
import pytest

from alphacryo4d.core.errors import UsageError
from alphacryo4d.maths.symmetry import symmetry_rotations

GROUPS = {"C1": 1, "C7": 7, "D2": 4, "D7": 14, "T": 12, "O": 24,
          "I": 60, "I1": 60, "I2": 60, "I3": 60, "I4": 60}  # fmt: skip


@pytest.mark.parametrize(("name", "order"), GROUPS.items())
def test_rotations_are_a_group(name, order):
    group = symmetry_rotations(name)
    assert len(group) == order
    assert np.allclose(group @ group.transpose(0, 2, 1), np.eye(3))
    for a in group[:5]:
        for b in group[:5]:
            assert np.abs(group - a @ b).max(axis=(1, 2)).min() < 1e-6


@pytest.mark.relion
@pytest.mark.parametrize("name", GROUPS)
def test_orientation_is_that_of_relion(name):
    words = ["relion_refine", "--sym", name, "--print_symmetry_ops"]
    text = subprocess.run(words, capture_output=True, text=True, check=False).stdout
    number = r"\s+(-?[\d.]+(?:e-?\d+)?)"
    rows = re.findall(rf"^{number}{number}{number}\s*$", text, re.M)
    theirs = np.array(rows, float).reshape(-1, 3, 3)
    ours = symmetry_rotations(name)
    assert len(theirs) == len(ours)
    for matrix in theirs:
        assert np.abs(ours - matrix).max(axis=(1, 2)).min() < 1e-3


def test_unknown_group_is_refused():
    with pytest.raises(UsageError, match="D0"):
        symmetry_rotations("D0")
