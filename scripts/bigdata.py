#!/usr/bin/env python
"""Collect the volumes of a folder: rdata.npy (z-scored), rdata_3d.npy (raw), data.log."""

import sys
from collections.abc import Sequence
from pathlib import Path

from alphacryo4d.prototype.switches import make_parser, run_script, truth


def main(arguments: Sequence[str]) -> None:
    """Read the switches and call the package."""
    parser = make_parser(__doc__)
    parser.add_argument(
        "--folder", "-f", type=Path, default=Path("./maps_aligned/"), help="folder of .mrc volumes"
    )
    parser.add_argument(
        "--std", "-s", type=truth, default=True, help="z-score every volume by itself"
    )
    args = parser.parse_args(arguments)
    from alphacryo4d.prototype.maps import collect_maps

    collect_maps(args.folder, Path(), standardize=args.std)


if __name__ == "__main__":
    run_script(main, sys.argv[1:])
