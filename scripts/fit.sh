#!/usr/bin/env bash
# Volumes brought into the frame of a reference: maps_aligned/NAME_aligned.mrc.
# bash scripts/fit.sh [MAPS] [OUTPUT] [REFERENCE]; by default maps, maps_aligned, maps/refs/ref.mrc
exec "${ALPHACRYO4D_PYTHON:-python3}" -m alphacryo4d.prototype fit "$@"
