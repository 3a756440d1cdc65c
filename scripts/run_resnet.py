#!/usr/bin/env python
"""Train the 3D residual autoencoder; the best model is kept."""

import sys
from collections.abc import Sequence
from pathlib import Path

from alphacryo4d.prototype.switches import make_parser, run_script


def main(arguments: Sequence[str]) -> None:
    """Read the switches and call the package."""
    parser = make_parser(__doc__)
    parser.add_argument("--epoch", "-e", type=int, default=50, help="epochs")
    parser.add_argument("--batchsize", "-b", type=int, default=8, help="volumes of one step")
    parser.add_argument(
        "--validationsize",
        "-v",
        type=int,
        default=800,
        help="volumes held out; at most half of all",
    )
    parser.add_argument(
        "--regularization", "-r", type=float, default=0.0, help="L2 coefficient of the weights"
    )
    parser.add_argument(
        "--data",
        "-d",
        type=Path,
        default=Path("data_dl.npy"),
        help="volumes (V, N, N, N) in [0, 1]",
    )
    parser.add_argument(
        "--checkpoint",
        "-c",
        type=Path,
        default=Path("checkpoint/check.h5"),
        help="best model; .h5 stands for .npz",
    )
    parser.add_argument(
        "--finalmodel",
        "-f",
        type=Path,
        default=Path("model/final_model.h5"),
        help="model at the end, the best too; .h5 stands for .npz",
    )
    parser.add_argument(
        "--gpu", "-g", type=str, default="0,1,2,3", help="ids of GPUs; the CPU where there is none"
    )
    parser.add_argument("--seed", type=int, default=0, help="random seed")
    args = parser.parse_args(arguments)
    from alphacryo4d.deepfeature.options import TrainOptions
    from alphacryo4d.prototype.features import train_model

    options = TrainOptions(
        epochs=args.epoch,
        batch_size=args.batchsize,
        validation_size=args.validationsize,
        regularization=args.regularization,
    )
    train_model(
        args.data,
        options=options,
        checkpoint=args.checkpoint,
        final_model=args.finalmodel,
        gpu=args.gpu,
        seed=args.seed,
    )


if __name__ == "__main__":
    run_script(main, sys.argv[1:])
