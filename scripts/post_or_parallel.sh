#!/usr/bin/env bash
# Distance-based assignment in a state's folder: post_or.star.
# bash scripts/post_or_parallel.sh [THRESHOLD]
exec "${ALPHACRYO4D_PYTHON:-python3}" -m alphacryo4d.prototype post_or_parallel "$@"
