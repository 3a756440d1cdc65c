#!/usr/bin/env bash
# The tables of one state's volumes, linked into this folder.
# bash scripts/vote_prepare.sh CLUSTERFILE [DATA_LOG] [STARS]; the last two are searched here and above
exec "${ALPHACRYO4D_PYTHON:-python3}" -m alphacryo4d.prototype vote_prepare "$@"
