#!/usr/bin/env python
"""Feature maps of the volumes by the trained network: result/feature.npy."""

import sys
from collections.abc import Sequence
from pathlib import Path

from alphacryo4d.prototype.switches import make_parser, run_script


def main(arguments: Sequence[str]) -> None:
    """Read the switches and call the package."""
    parser = make_parser(__doc__)
    parser.add_argument(
        "--data",
        "-d",
        type=Path,
        default=Path("data_dl.npy"),
        help="volumes (V, N, N, N) in [0, 1]",
    )
    parser.add_argument(
        "--model",
        "-m",
        type=Path,
        default=Path("checkpoint/check.h5"),
        help="trained model; .h5 stands for .npz",
    )
    parser.add_argument("--batchsize", "-b", type=int, default=8, help="volumes at a time")
    parser.add_argument(
        "--output", "-o", type=Path, default=Path("result/feature.npy"), help="file to write"
    )
    args = parser.parse_args(arguments)
    from alphacryo4d.prototype.features import predict_features

    predict_features(args.data, model=args.model, batch_size=args.batchsize, output=args.output)


if __name__ == "__main__":
    run_script(main, sys.argv[1:])
