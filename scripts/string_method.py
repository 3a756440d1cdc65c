#!/usr/bin/env python
"""Minimum-energy path on the landscape: centers_k.npy, el.pdf."""

import sys
from collections.abc import Sequence
from pathlib import Path

from alphacryo4d.prototype.switches import make_parser, run_script


def main(arguments: Sequence[str]) -> None:
    """Read the switches and call the package."""
    parser = make_parser(__doc__)
    parser.add_argument(
        "--landscape", "-l", type=Path, default=Path("output.npy"), help="embedding (V, 2)"
    )
    parser.add_argument(
        "--number",
        "-n",
        type=Path,
        default=Path("num.txt"),
        help="particles per volume, one a line",
    )
    parser.add_argument(
        "--range", "-r", type=float, default=100.0, help="largest coordinate of the figure"
    )
    parser.add_argument(
        "--start", "-s", type=float, default=[-80.0, -80.0], nargs=2, help="start of the path"
    )
    parser.add_argument(
        "--end", "-e", type=float, default=[80.0, 80.0], nargs=2, help="end of the path"
    )
    parser.add_argument("--stepmax", "-m", type=int, default=100000, help="most steps")
    parser.add_argument("--stepsize", "-i", type=float, default=0.1, help="step")
    parser.add_argument(
        "--tolerance", "-t", type=float, default=1e-07, help="displacement of convergence"
    )
    parser.add_argument(
        "--interpolate",
        "-I",
        choices=("linear", "cubic"),
        default="linear",
        help="surface between the volumes",
    )
    parser.add_argument("--kcenters", "-k", type=int, default=20, help="centers along the path")
    args = parser.parse_args(arguments)
    from alphacryo4d.core.errors import UsageError
    from alphacryo4d.landscape.options import PathOptions
    from alphacryo4d.prototype.manifold import path_centers

    if args.kcenters < 1:
        raise UsageError(f"--kcenters {args.kcenters}: at least 1 is needed")
    options = PathOptions(
        start=tuple(args.start),
        end=tuple(args.end),
        stepsize=args.stepsize,
        stepmax=args.stepmax,
        tolerance=args.tolerance,
        range=args.range,
    )
    path_centers(
        args.landscape,
        args.number,
        Path("centers_k.npy"),
        Path("el.pdf"),
        options=options,
        interpolate=args.interpolate,
        centers=args.kcenters,
    )


if __name__ == "__main__":
    run_script(main, sys.argv[1:])
