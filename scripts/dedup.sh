#!/usr/bin/env bash
# Particles that are in one table of this folder only: NAME_dedup.star.
# bash scripts/dedup.sh
exec "${ALPHACRYO4D_PYTHON:-python3}" -m alphacryo4d.prototype dedup "$@"
