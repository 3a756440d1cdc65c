#!/usr/bin/env bash
# Single scripts from class volumes and tables to post_and.star of every state.
# bash chain.sh SCRIPTS RESAMPLE_FOLDER EPOCHS CENTERS RADIUS
set -euo pipefail
scripts=$1 resample=$2 epochs=$3 centers=$4 radius=$5
python=${ALPHACRYO4D_PYTHON:-python3}

bash "$scripts/link.sh" "$resample"
"$python" "$scripts/bigdata.py" --folder maps
bash "$scripts/enumerate.sh"
"$python" "$scripts/run_prepare.py" --data rdata_3d.npy
"$python" "$scripts/run_resnet.py" --epoch "$epochs" --batchsize 8 --validationsize 4 --gpu 0,1,2,3
"$python" "$scripts/run_predict.py" --data data_dl.npy --model checkpoint/check.h5
"$python" "$scripts/tsne_prepare.py" --data rdata.npy --feature result/feature.npy
"$python" "$scripts/tsne_rd.py" --perplexity 5 --seed 0
# the two ends of the embedding along its longest axis
read -r x0 y0 x1 y1 < <("$python" -c 'import numpy as np
p = np.load("output.npy"); print(*p[p[:, 0].argmin()], *p[p[:, 0].argmax()])')
"$python" "$scripts/string_method.py" --start "$x0" "$y0" --end "$x1" "$y1" --kcenters "$centers" \
  --interpolate cubic --stepmax 2000
"$python" "$scripts/clustering.py" --radius "$radius"
for state in $(seq 1 "$centers"); do
  test -s "c$state/c$state" || continue
  (
    cd "c$state"
    "$python" "$scripts/Vote.py" --classes "c$state" --relion 3 --threshold 2
    # the same by single steps
    mv post_and.star Vote.star
    rm u*.star
    bash "$scripts/vote_prepare.sh" "c$state"
    bash "$scripts/post_and_f.sh" 2
  )
done
echo "$x0 $y0 $x1 $y1"
