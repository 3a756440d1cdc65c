#!/usr/bin/env bash
# Votes in a folder with u*.star: pre_vote.log, pre_vote.star, post_vote.log, post_and.star.
# bash scripts/post_and_f.sh [THRESHOLD]; a particle stays with at least that many votes, default 2
exec "${ALPHACRYO4D_PYTHON:-python3}" -m alphacryo4d.prototype post_and_f "$@"
