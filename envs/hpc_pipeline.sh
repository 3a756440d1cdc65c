#!/usr/bin/env bash
# The four stages as four Slurm jobs, each waiting for the one before (sbatch --dependency).
# Tested on a one-node Slurm with small data where Slurm is installed; GPU nodes (TRAIN_SBATCH) could not be run there.
#
#   bash envs/hpc_pipeline.sh PARTICLES PROJECT
#
# Options of the stages and of sbatch come from the environment:
#   RESAMPLE="--classes 5x8 --initial-resolution 15"  TRAIN="--regularization 0.001"
#   LANDSCAPE="--states 20"  VOTE="--threshold 2"
#   SBATCH_ALL="--partition=main --cpus-per-task=16 --mem=64G --time=24:00:00"
#   TRAIN_SBATCH="--gres=gpu:2" with TRAIN="--gpu 0,1"
#   ALPHACRYO4D=/path/to/alphacryo4d where it is not on PATH
# Printed are the job ids. A job that failed is repaired by calling this again: finished stages do
# nothing, unfinished ones go on.
set -euo pipefail
usage="usage: bash hpc_pipeline.sh PARTICLES PROJECT"
particles=$(realpath "${1:?$usage}")
project=$(realpath -m "${2:?$usage}")
alphacryo4d=${ALPHACRYO4D:-alphacryo4d}
command -v "$alphacryo4d" >/dev/null || { echo "error: $alphacryo4d: no such program; activate its environment" >&2; exit 4; }
command -v sbatch >/dev/null || { echo "error: sbatch: no such program; use \`alphacryo4d run\` here" >&2; exit 4; }
mkdir -p "$project/logs"

"$alphacryo4d" check --i "$particles" >/dev/null

# shellcheck disable=SC2206  # words of options are split on purpose
all=(${SBATCH_ALL:-})
previous=

# submit NAME "SBATCH OPTIONS" COMMAND...
submit() {
  local name=$1 extra=($2) script
  shift 2
  script="$project/logs/$name.sh"
  {
    echo '#!/bin/bash'
    printf 'cd %q || exit 1\n' "$PWD"
    printf 'exec'
    printf ' %q' "$alphacryo4d" "$@"
    # shellcheck disable=SC2016  # expanded in the job
    printf ' --continue --j "${SLURM_CPUS_PER_TASK:-1}"\n'
  } >"$script"
  previous=$(sbatch --parsable --job-name="ac4d-$name" \
    --output="$project/logs/$name.out" --error="$project/logs/$name.err" \
    ${previous:+--dependency=afterok:$previous --kill-on-invalid-dep=yes} \
    ${all[@]+"${all[@]}"} ${extra[@]+"${extra[@]}"} "$script")
  previous=${previous%%;*}
  echo "$name $previous"
}

# shellcheck disable=SC2086  # words of options are split on purpose
{
  submit resample "" resample --i "$particles" --o "$project/resample" ${RESAMPLE:-}
  submit deepfeature "${TRAIN_SBATCH:-}" train --i "$project/resample" --o "$project/deepfeature" ${TRAIN:-}
  submit landscape "" landscape --i "$project/resample" --features "$project/deepfeature" \
    --o "$project/landscape" ${LANDSCAPE:-}
  submit vote "" vote --i "$project/resample" --landscape "$project/landscape" \
    --o "$project/vote" ${VOTE:-}
}
