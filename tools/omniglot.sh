#!/usr/bin/env bash
# Trains and scores every row of the Omniglot tables in docs/results.md. Finished runs are reused, begun ones resumed.
# About three hours on one core; the rows after `protonet` are independent of each other.
set -euo pipefail
cd "$(dirname "$0")/.."
genmeta=${GENMETA:-.venv/bin/genmeta}
data="--data omniglot --augment affine --quarter-turns --threads 1 --resume"
start="--init runs/omniglot/protonet --queries 2 --tasks-per-batch 4 --ways 5-20"

$genmeta train protonet $data --ways 30-60 --shots 1-3 --queries 2 --tasks-per-batch 1 --steps 9000 --lr 0.004 \
  --validate-every 500 --validate-tasks 200 --run runs/omniglot/protonet
for method in maml meta-sgd; do
  $genmeta train $method $data $start --shots 1-2 --inner-steps 3 --lr 0.0005 --steps 1200 \
    --validate-every 300 --validate-tasks 60 --run runs/omniglot/$method
done
for method in hypernet meta-sgd-hn; do
  $genmeta train $method $data $start --shots 1-3 --generate film --steps 1500 \
    --validate-every 250 --validate-tasks 100 --run runs/omniglot/$method
done
# the two cells of the ablation whose start is constant; fewer steps, since each takes twice as long
$genmeta train meta-sgd $data $start --shots 1-3 --generate film --inner-steps 3 --steps 600 \
  --validate-every 200 --validate-tasks 100 --run runs/omniglot/meta-sgd-film
$genmeta train meta-sgd-hn $data $start --shots 1-3 --generate film --inner-steps 3 --set start=constant --steps 600 \
  --validate-every 200 --validate-tasks 100 --run runs/omniglot/meta-sgd-hn-constant-start
$genmeta train scratch --data omniglot --threads 1 --resume --run runs/omniglot/scratch

cd runs/omniglot # so that rows are named by their runs
genmeta=${GENMETA:-../../.venv/bin/genmeta}
rows="scratch protonet maml meta-sgd hypernet meta-sgd-hn"
cells="meta-sgd-film meta-sgd-hn-constant-start hypernet meta-sgd-hn"
score() { # NAME WAYS SHOTS ROWS...
  local name=$1 ways=$2 shots=$3
  shift 3
  $genmeta compare $(printf './%s ' "$@") --data omniglot --threads 1 --tasks 600 --adapt-steps 0,1,5 \
    --ways "$ways" --shots "$shots" --out "../../results/$name"
}
score omniglot-5w1s 5 1 $rows
score omniglot-20w1s 20 1 $rows
score omniglot-5w5s 5 5 $rows
score omniglot-ablation-5w1s 5 1 $cells
score omniglot-ablation-20w1s 20 1 $cells
