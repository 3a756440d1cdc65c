"""What the shell scripts call: ``python -m alphacryo4d.prototype post_and_f 2``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from alphacryo4d.core.errors import UsageError
from alphacryo4d.prototype.switches import positional, run_script

HERE = Path()


def _threshold(text: str) -> int:
    if not text.isdecimal():
        raise UsageError(f"threshold {text}: a whole number is needed")
    return int(text)


def link(arguments: Sequence[str]) -> None:
    """Links of the class volumes and tables."""
    source, output = positional(arguments, ("FOLDER", "OUTPUT"), (".", "."))
    from alphacryo4d.prototype.maps import link_classes

    link_classes(Path(source), Path(output))


def fit(arguments: Sequence[str]) -> None:
    """Alignment of the volumes to maps/refs/ref.mrc."""
    names = ("MAPS", "OUTPUT", "REFERENCE")
    maps, output, reference = positional(
        arguments, names, ("maps", "maps_aligned", "maps/refs/ref.mrc")
    )
    from alphacryo4d.prototype.maps import align_maps

    align_maps(Path(maps), Path(output), Path(reference))


def enumerate_particles(arguments: Sequence[str]) -> None:
    """Particles per volume."""
    names = ("STARS", "DATA_LOG", "OUTPUT")
    stars, log, output = positional(arguments, names, ("stars", "data.log", "num.txt"))
    from alphacryo4d.prototype.maps import count_particles

    count_particles(Path(stars), Path(log), Path(output))


def vote_prepare(arguments: Sequence[str]) -> None:
    """Links of the tables of one state."""
    names = ("CLUSTERFILE", "DATA_LOG", "STARS")
    cluster, log, stars = positional(arguments, names, ("", ""))
    from alphacryo4d.prototype.ballots import prepare_votes

    prepare_votes(
        Path(cluster), HERE, log=Path(log) if log else None, stars=Path(stars) if stars else None
    )


def post_and_f(arguments: Sequence[str]) -> None:
    """Votes of one state."""
    (threshold,) = positional(arguments, ("THRESHOLD",), ("2",))
    from alphacryo4d.prototype.ballots import count_votes

    count_votes(HERE, _threshold(threshold))


def post_or_parallel(arguments: Sequence[str]) -> None:
    """Distance-based assignment of one state."""
    (threshold,) = positional(arguments, ("THRESHOLD",), ("2",))
    from alphacryo4d.prototype.ballots import nearest_particles

    nearest_particles(HERE, _threshold(threshold))


def dedup(arguments: Sequence[str]) -> None:
    """Particles that are in one table only."""
    positional(arguments, (), ())
    from alphacryo4d.prototype.ballots import drop_duplicates

    drop_duplicates(HERE)


STEPS = {
    "link": link,
    "fit": fit,
    "enumerate": enumerate_particles,
    "vote_prepare": vote_prepare,
    "post_and_f": post_and_f,
    "post_or_parallel": post_or_parallel,
    "dedup": dedup,
}


def main(arguments: Sequence[str]) -> None:
    """Run one step by its name."""
    if not arguments or arguments[0] not in STEPS:
        raise UsageError(f"name one of {', '.join(STEPS)}")
    STEPS[arguments[0]](arguments[1:])


if __name__ == "__main__":
    run_script(main, sys.argv[1:])
