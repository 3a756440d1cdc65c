#!/usr/bin/env python
"""Join volumes and feature maps for t-SNE: input.npy."""

import sys
from collections.abc import Sequence
from pathlib import Path

from alphacryo4d.prototype.switches import make_parser, run_script, truth


def main(arguments: Sequence[str]) -> None:
    """Read the switches and call the package."""
    parser = make_parser(__doc__)
    parser.add_argument(
        "--data", "-d", type=Path, default=Path("rdata.npy"), help="volumes (V, N^3)"
    )
    parser.add_argument(
        "--feature", "-f", type=Path, default=Path("result/feature.npy"), help="feature maps"
    )
    parser.add_argument(
        "--std", "-s", type=truth, default=True, help="z-score every feature map by itself"
    )
    args = parser.parse_args(arguments)
    from alphacryo4d.prototype.manifold import join_features

    join_features(args.data, args.feature, Path("input.npy"), standardize=args.std)


if __name__ == "__main__":
    run_script(main, sys.argv[1:])
