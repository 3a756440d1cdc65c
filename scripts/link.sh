#!/usr/bin/env bash
# Class volumes and tables of the classifications by name: maps/u123_b1_c1.mrc, stars/u123_b1_c1.star.
# bash scripts/link.sh [FOLDER with batch1/u123 or batch1/union123 ...] [OUTPUT]
exec "${ALPHACRYO4D_PYTHON:-python3}" -m alphacryo4d.prototype link "$@"
