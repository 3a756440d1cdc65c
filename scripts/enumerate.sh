#!/usr/bin/env bash
# Particles of every volume, one count a line: num.txt.
# bash scripts/enumerate.sh [STARS] [DATA_LOG] [OUTPUT]; by default stars, data.log, num.txt
exec "${ALPHACRYO4D_PYTHON:-python3}" -m alphacryo4d.prototype enumerate "$@"
