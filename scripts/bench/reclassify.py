"""What reclassification adds to a finished project whose truth is known.

    python scripts/bench/reclassify.py PROJECT --truth truth.npy --o OUT [-- --rounds 2 ...]

Everything after `--` goes to `alphacryo4d vote reclassify`. Prints precision, recall, states found
and share kept of the first votes, of the new ones, and of every way to keep fewer particles; then
the seconds of both classifications.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from alphacryo4d.assessment.score import score_classes
from alphacryo4d.particles.open import open_table


def states_of(folder: Path) -> np.ndarray:
    """States (P,) of a voting folder."""
    return open_table(folder / "particles.star").read(["rlnClassNumber"])["rlnClassNumber"]


def row(name: str, states: np.ndarray, truth: np.ndarray) -> str:
    """One row of a Markdown table."""
    score = score_classes(states, truth)
    return (
        f"| {name} | {score.mean_precision:.3f} | {score.mean_recall:.3f} "
        f"| {score.states_found} | {score.kept:.3f} |"
    )


def main() -> None:
    """Run, score, print."""
    given, extra = sys.argv[1:], []
    if "--" in given:
        extra = given[given.index("--") + 1 :]
        given = given[: given.index("--")]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("project", type=Path)
    parser.add_argument("--truth", type=Path, required=True)
    parser.add_argument("--o", type=Path, required=True)
    arguments = parser.parse_args(given)
    truth = np.load(arguments.truth)
    begun = time.monotonic()
    command = [sys.executable, "-m", "alphacryo4d", "vote", "reclassify", "--overwrite"]
    command += ["--i", str(arguments.project), "--o", str(arguments.o), *extra]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    seconds = time.monotonic() - begun
    print("| votes | precision | recall | states | kept |\n|---|---|---|---|---|")
    print(row("first", states_of(arguments.project / "vote"), truth))
    print(row("reclassified", states_of(arguments.o), truth))
    votes = np.load(arguments.o / "votes.npy")
    heldout = np.load(arguments.o / "heldout.npy") % votes.shape[1] + 1
    top, winner = votes.max(axis=1), votes.argmax(axis=1) + 1
    folds = np.load(arguments.o / "assignments.npy", mmap_mode="r").shape[1] - 1
    for needed in range(folds // 2 + 1, folds + 1):
        states = np.where(top >= needed, winner, 0)
        print(row(f"V >= {needed}", states, truth))
        agreed = np.where(states == heldout, states, 0)
        print(row(f"V >= {needed}, left-out fold agrees", agreed, truth))
    print(row("left-out fold alone", heldout, truth))
    record = json.loads((arguments.project / "resample" / "job.json").read_text())
    print(f"\nfirst classification {record.get('seconds')} s, reclassification {seconds:.0f} s")


if __name__ == "__main__":
    main()
