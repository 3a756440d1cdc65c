#!/usr/bin/env python
"""Volumes inside the boundary of each center: c1/c1 ..., lines "index distance" from 1."""

import sys
from collections.abc import Sequence
from pathlib import Path

from alphacryo4d.prototype.switches import make_parser, run_script


def main(arguments: Sequence[str]) -> None:
    """Read the switches and call the package."""
    parser = make_parser(__doc__)
    parser.add_argument(
        "--points", "-p", type=Path, default=Path("output.npy"), help="embedding (V, 2)"
    )
    parser.add_argument(
        "--centers", "-c", type=Path, default=Path("centers_k.npy"), help="centers (K, 2)"
    )
    parser.add_argument("--radius", "-r", type=float, default=30.0, help="radius of every boundary")
    args = parser.parse_args(arguments)
    from alphacryo4d.core.errors import UsageError
    from alphacryo4d.prototype.manifold import cluster_volumes

    if not args.radius > 0:
        raise UsageError(f"--radius {args.radius}: a positive number is needed")
    cluster_volumes(args.points, args.centers, args.radius, Path())


if __name__ == "__main__":
    run_script(main, sys.argv[1:])
