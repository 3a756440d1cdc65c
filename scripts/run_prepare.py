#!/usr/bin/env python
"""Bring every volume to [0, 1] by itself: data_dl.npy."""

import sys
from collections.abc import Sequence
from pathlib import Path

from alphacryo4d.prototype.switches import make_parser, run_script


def main(arguments: Sequence[str]) -> None:
    """Read the switches and call the package."""
    parser = make_parser(__doc__)
    parser.add_argument(
        "--data", "-d", type=Path, default=Path("rdata_3d.npy"), help="volumes (V, N, N, N)"
    )
    args = parser.parse_args(arguments)
    from alphacryo4d.deepfeature.volumes_stage import prepare_volumes

    prepare_volumes(args.data, Path("data_dl.npy"))


if __name__ == "__main__":
    run_script(main, sys.argv[1:])
