#!/usr/bin/env python
"""Votes of one state, in its folder: links, head.star, pre_vote.*, post_vote.log, post_and.star."""

import sys
from collections.abc import Sequence
from pathlib import Path

from alphacryo4d.prototype.switches import add_relion, make_parser, run_script


def main(arguments: Sequence[str]) -> None:
    """Read the switches and call the package."""
    parser = make_parser(__doc__)
    parser.add_argument(
        "--classes",
        "-c",
        type=Path,
        default=Path("c1_small"),
        help="volumes of the state, lines of clustering.py",
    )
    parser.add_argument("--head", "-he", default="head.star", help="header to write")
    add_relion(parser)
    parser.add_argument(
        "--threshold", "-t", type=int, default=2, help="fewest votes that keep a particle"
    )
    args = parser.parse_args(arguments)
    from alphacryo4d.prototype.ballots import vote_state

    vote_state(
        args.classes,
        Path(),
        head=args.head,
        threshold=args.threshold,
        relion=args.relion,
    )


if __name__ == "__main__":
    run_script(main, sys.argv[1:])
