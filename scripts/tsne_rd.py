#!/usr/bin/env python
"""Embed the volumes in the plane by t-SNE: output.npy, tsne.png."""

import sys
from collections.abc import Sequence
from pathlib import Path

from alphacryo4d.prototype.switches import make_parser, run_script


def main(arguments: Sequence[str]) -> None:
    """Read the switches and call the package."""
    parser = make_parser(__doc__)
    parser.add_argument("--input", "-i", type=Path, default=Path("input.npy"), help="rows to embed")
    parser.add_argument(
        "--output", "-o", type=Path, default=Path("output.npy"), help="embedding (V, 2)"
    )
    parser.add_argument("--seed", "-s", type=int, default=0, help="random seed")
    parser.add_argument("--perplexity", "-p", type=float, default=30.0, help="perplexity")
    parser.add_argument("--niter", "-n", type=int, default=1000, help="iterations")
    args = parser.parse_args(arguments)
    from alphacryo4d.prototype.manifold import embed_rows

    embed_rows(
        args.input,
        args.output,
        Path("tsne.png"),
        perplexity=args.perplexity,
        iterations=args.niter,
        seed=args.seed,
    )


if __name__ == "__main__":
    run_script(main, sys.argv[1:])
