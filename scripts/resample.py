#!/usr/bin/env python
"""Split a batch into M+1 groups and write its folds: sub1.star ..., union123.star ..."""

import sys
from collections.abc import Sequence
from pathlib import Path

from alphacryo4d.prototype.switches import add_relion, make_parser, run_script


def main(arguments: Sequence[str]) -> None:
    """Read the switches and call the package."""
    parser = make_parser(__doc__)
    parser.add_argument(
        "--star", "-s", type=Path, default=Path("batch1.star"), help="table of the batch"
    )
    parser.add_argument(
        "--fold", "-f", type=int, default=3, help="M: every particle is in M of the M+1 folds"
    )
    add_relion(parser)
    parser.add_argument("--seed", type=int, default=0, help="random seed")
    args = parser.parse_args(arguments)
    from alphacryo4d.prototype.tables import folds_of_batch

    folds_of_batch(args.star, Path(), fold=args.fold, relion=args.relion, seed=args.seed)


if __name__ == "__main__":
    run_script(main, sys.argv[1:])
