#!/usr/bin/env python
"""Write everything before the first particle of a table: head.star."""

import sys
from collections.abc import Sequence
from pathlib import Path

from alphacryo4d.prototype.switches import add_relion, make_parser, run_script


def main(arguments: Sequence[str]) -> None:
    """Read the switches and call the package."""
    parser = make_parser(__doc__)
    parser.add_argument(
        "--star", "-s", type=Path, default=Path("u123_b1_c1.star"), help="particle table"
    )
    parser.add_argument("--head", "-he", type=Path, default=Path("head.star"), help="file to write")
    add_relion(parser)
    args = parser.parse_args(arguments)
    from alphacryo4d.prototype.tables import write_head

    write_head(args.star, args.head, relion=args.relion)


if __name__ == "__main__":
    run_script(main, sys.argv[1:])
