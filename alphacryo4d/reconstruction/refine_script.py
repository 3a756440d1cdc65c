"""The refinement of states as a shell script that runs as it stands."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from alphacryo4d.core.words import plural
from alphacryo4d.relion.launching import for_shell

POLICIES = {
    "kept": (
        "Half-sets: those of the consensus refinement (rlnRandomSubset of the tables), in which",
        "the poses that the search starts from were fitted. RELION keeps them:",
        "--split_random_halves divides only what is not divided.",
    ),
    "seen": (
        "Half-sets: rlnRandomSubset of the tables. `vote reclassify --write-poses` found the poses",
        "that the search starts from against volumes of both halves; references are filtered at",
        "the start (--ini_high), and only what the search itself moves is independent.",
    ),
    "own": (
        "Half-sets: the fixed split of the states' half maps, since the particles had none, as",
        "rlnRandomSubset in the tables below; copies of an image are in one half. RELION keeps it.",
    ),
    "fresh": (
        "Half-sets: a new random split (--half-sets fresh, seed {seed}) as rlnRandomSubset in the",
        "tables below, which RELION keeps. The poses that the search starts from have seen both",
        "halves; the references are filtered at the start (--ini_high).",
    ),
}
"""What a script says of the half-sets that its tables have."""


def refine_script(
    commands: Mapping[int, Sequence[str]],
    folders: Mapping[int, Path],
    *,
    root: Path,
    output: Path,
    policy: str,
    seed: int,
    version: str,
) -> str:
    """Text of ``refine.sh``: one state after the other; a state with a map is left out.

    Parameters
    ----------
    commands : mapping
        Words of RELION's command by state.
    folders : mapping
        Output folder of every state, as seen from ``root``.
    root : Path
        Folder that RELION starts from.
    output : Path
        Folder of the script. Where ``root`` is above it, the script goes there by a relative path,
        so that both may be moved together.
    policy : str
        Key of :data:`POLICIES`.
    seed : int
    version : str
        RELION that the commands are for.
    """
    home, start = Path(os.path.abspath(output)), Path(os.path.abspath(root))  # noqa: PTH100
    place = shlex.quote(str(start))
    if start in (home, *home.parents):
        up = os.path.relpath(start, home)
        place = f'"$(dirname -- "${{BASH_SOURCE[0]}}")"/{shlex.quote(up)}'
    lines = [
        "#!/usr/bin/env bash",
        f"# Refinement of {plural(len(commands), 'state')} by RELION {version}, written by "
        "alphacryo4d.",
        *(f"# {line.format(seed=seed)}" for line in POLICIES[policy]),
        "set -euo pipefail",
        f"cd -- {place}  # image paths start here",
    ]
    for state, words in commands.items():
        folder = folders[state]
        made = shlex.quote(str(folder / "run_class001.mrc"))
        lines += [
            "",
            f"# state {state}",
            f"if [ ! -s {made} ]; then",
            f"  mkdir -p {shlex.quote(str(folder))}",
            f"  {shlex.join(for_shell(words))}",
            "fi",
            f"echo {made}",
        ]
    return "\n".join(lines) + "\n"
