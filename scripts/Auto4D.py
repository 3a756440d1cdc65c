#!/usr/bin/env python
"""All steps from aligned maps and class tables to the volumes of every state, in this folder.

Folders: Deep/ (network and feature maps), Manifold/ (embedding), Vote/ (c1/c1 ...). After it, run
Vote.py in each folder of Vote/.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from alphacryo4d.prototype.switches import make_parser, run_script, truth


def main(arguments: Sequence[str]) -> None:
    """Read the switches and call the package."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--folder", "-f", type=Path, default=Path("./maps_aligned/"), help="folder of volumes")
    add("--stars", "-a", type=Path, default=Path("./star/"), help="folder of class tables")
    add("--std", "-s", type=truth, default=True, help="z-score every volume by itself")
    add("--epoch", "-e", type=int, default=50, help="epochs of the training")
    add("--batchsizetrain", "-b", type=int, default=8, help="volumes of one training step")
    add("--validationsize", "-v", type=int, default=800, help="volumes held out")
    add("--regularization", "-r", type=float, default=0.0, help="L2 coefficient of the weights")
    add("--gpu", "-g", default="0,1,2,3", help="ids of GPUs; the CPU where there is none")
    add("--batchsizepredict", "-B", type=int, default=8, help="volumes at a time")
    add("--seed", "-S", type=int, default=0, help="random seed")
    add("--perplexity", "-p", type=float, default=30.0, help="perplexity of t-SNE")
    add("--niter", "-N", type=int, default=1000, help="iterations of t-SNE")
    add("--outputtsne", "-o", default="output.npy", help="embedding")
    add("--landscape", "-l", default="output.npy", help="embedding that the path runs on")
    add("--number", "-n", default="num.txt", help="particles per volume")
    add("--range", "-G", type=float, default=100.0, help="largest coordinate of the figure")
    add("--start", "-A", nargs=2, type=float, default=[-80.0, -80.0], help="start of the path")
    add("--end", "-E", nargs=2, type=float, default=[80.0, 80.0], help="end of the path")
    add("--stepmax", "-m", type=int, default=100000, help="most steps of the path")
    add("--stepsize", "-i", type=float, default=0.1, help="step of the path")
    add("--tolerance", "-t", type=float, default=1e-7, help="displacement of convergence")
    add("--interpolate", "-I", choices=("linear", "cubic"), default="linear", help="surface")
    add("--kcenters", "-k", type=int, default=20, help="centers along the path")
    add("--radius", "-u", type=float, default=30.0, help="radius of every boundary")
    from alphacryo4d.prototype.automatic import run_all

    run_all(**vars(parser.parse_args(arguments)))


if __name__ == "__main__":
    run_script(main, sys.argv[1:])
