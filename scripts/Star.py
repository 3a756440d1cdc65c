#!/usr/bin/env python
"""Batches and their folds: folders batch1 ... with batch1.star, sub1.star ..., union123.star ..."""

import sys
from collections.abc import Sequence
from pathlib import Path

from alphacryo4d.prototype.switches import add_relion, make_parser, run_script


def main(arguments: Sequence[str]) -> None:
    """Read the switches and call the package."""
    parser = make_parser(__doc__)
    parser.add_argument(
        "--star", "-s", type=Path, default=Path("particles.star"), help="table of all particles"
    )
    parser.add_argument(
        "--number", "-n", type=int, default=100000, help="particles of each batch at the most"
    )
    add_relion(parser)
    parser.add_argument(
        "--fold", "-f", type=int, default=3, help="M: every particle is in M of the M+1 folds"
    )
    parser.add_argument("--seed", type=int, default=0, help="random seed")
    args = parser.parse_args(arguments)
    from alphacryo4d.prototype.tables import batches_and_folds

    batches_and_folds(
        args.star, Path(), number=args.number, fold=args.fold, relion=args.relion, seed=args.seed
    )


if __name__ == "__main__":
    run_script(main, sys.argv[1:])
