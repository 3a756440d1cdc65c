"""A hierarchy that goes on with other ranks: every class of the second level gets its own rows."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from alphacryo4d.core.errors import ProgramError
from alphacryo4d.core.progress import no_progress
from alphacryo4d.io.mrc import write_volume
from alphacryo4d.io.star import write_tables
from alphacryo4d.particles.open import open_table
from alphacryo4d.relion.classify import _Tree
from alphacryo4d.relion.options import RelionOptions
from alphacryo4d.relion.plan import Request
from alphacryo4d.relion.running import Runner, programs_of
from alphacryo4d.relion.version import Version

REQUEST = Request(levels=(2, 2), iterations=1)


@dataclass(frozen=True)
class Pretended(Runner):
    """RELION that splits rows by their number; the ranks decide how, as rounding does."""

    runs: list[Path] = field(default_factory=list)
    runs_before_the_end: int = 9

    def start(self, command: Sequence[str], *, log: Path) -> None:
        if len(self.runs) == self.runs_before_the_end:
            raise ProgramError("killed")
        given = {word: self.root / value for word, value in zip(command, command[1:], strict=False)}
        table, root = given["--i"], given["--o"]
        self.runs.append(root)
        rows = open_table(table).read(["ac4dRow"])["ac4dRow"].astype(int)
        level = root.parent.name.startswith("class")
        labels = 1 + ((rows - 1) // (1 if level else self.ranks)) % 2
        ones = np.ones(len(rows))
        columns = {"rlnClassNumber": labels, "rlnMaxValueProbDistribution": ones}
        start = f"{root}_it001"
        open_table(table).write_with_columns(Path(f"{start}_data.star"), columns)
        model = {"rlnReferenceImage": ["a", "b"], "rlnEstimatedResolution": [20.0, 30.0]}
        write_tables(Path(f"{start}_model.star"), {"model_classes": model})
        for number in (1, 2):
            write_volume(Path(f"{start}_class{number:03d}.mrc"), np.ones((4, 4, 4)), 4.0)


def labels_of(table: Path, work: Path, *, ranks: int, ends_after: int = 9) -> np.ndarray:
    options = RelionOptions(reference=work.parent / "reference.mrc")
    runner = Pretended(
        options, Version(3, 1, 3), ranks, work.parent, runs_before_the_end=ends_after
    )
    tree = _Tree(open_table(table), work, REQUEST, runner, no_progress)
    return tree.classify(np.arange(40)).labels


def test_a_fold_that_goes_on_with_other_ranks_gives_every_class_its_own_particles(
    noise_table: Path, tmp_path: Path
) -> None:
    work = tmp_path / "relion"
    for ranks, ends_after in ((2, 2), (4, 2), (5, 1)):
        with pytest.raises(ProgramError, match="killed"):
            labels_of(noise_table, work, ranks=ranks, ends_after=ends_after)
    rows = np.arange(40)
    expected = 1 + 2 * ((rows // 2) % 2) + rows % 2
    assert labels_of(noise_table, work, ranks=2).tolist() == expected.tolist()
    assert labels_of(noise_table, work, ranks=2, ends_after=0).tolist() == expected.tolist()


def test_only_programs_are_looked_for_as_programs() -> None:
    for said, programs in (
        ("relion_refine --o relion_states/ --i relion_x_mpi", ["relion_refine"]),
        (
            "mpirun -n 3 relion_refine_mpi --o relion_states/run --i relion_in_mpi",
            ["mpirun", "relion_refine_mpi"],
        ),
        ("srun --mpi=pmix -n 3 relion_reconstruct_mpi --i a", ["srun", "relion_reconstruct_mpi"]),
    ):
        assert programs_of(shlex.split(said)) == programs
