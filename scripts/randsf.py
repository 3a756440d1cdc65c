#!/usr/bin/env python
"""Split a particle table at random into batch1.star, batch2.star ... of equal size."""

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
    parser.add_argument("--seed", type=int, default=0, help="random seed")
    args = parser.parse_args(arguments)
    from alphacryo4d.prototype.tables import random_batches

    random_batches(args.star, Path(), number=args.number, relion=args.relion, seed=args.seed)


if __name__ == "__main__":
    run_script(main, sys.argv[1:])
