#!/usr/bin/env bash
# Trains and scores every row of the tables in docs/scenarios.md. Finished runs are reused, begun ones resumed.
# About half an hour on one core. The first training is the start that tools/families.py also begins from.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
genmeta=${GENMETA:-$PWD/.venv/bin/genmeta}
runs=runs/scenarios
mkdir -p $runs

held_out=$(printf 'turn%s-slant30-bold-negative,' 0 45 90 135 180 225 270 315)
for method in erm domain-film arm-bn; do
  norm=group
  [ $method = arm-bn ] && norm=batch
  $genmeta train $method --scenario domain --data 'glyph-styles?size=20' --hold-out "${held_out%,}" --norm $norm \
    --width 32 --shots 20 --queries 20 --tasks-per-batch 8 --steps 1500 --lr 0.004 --validate-every 750 \
    --validate-tasks 40 --threads 1 --resume --run $runs/$method
done
(cd $runs && $genmeta compare ./erm ./domain-film ./arm-bn --scenario domain --data 'glyph-styles?size=20' --shots 20 \
  --queries 50 --tasks 20 --adapt-steps 0 --threads 1 --out ../../results/domains-glyph-styles)

$genmeta train protonet --data omniglot --augment affine --quarter-turns --width 32 --ways 30-60 --shots 1-3 --queries 2 \
  --tasks-per-batch 1 --steps 2500 --lr 0.004 --validate-every 500 --validate-tasks 100 --threads 1 --resume --run $runs/protonet
$genmeta train hypernet --scenario incremental --generate rows --set inner_steps=0 --data omniglot --augment affine \
  --quarter-turns --init $runs/protonet --width 32 --ways 10-40 --shots 1-5 --queries 2 --tasks-per-batch 2 --steps 600 \
  --lr 0.001 --validate-every 300 --validate-tasks 60 --threads 1 --resume --run $runs/hypernet
(cd $runs && $genmeta compare ./hypernet ./protonet --scenario incremental --data omniglot --base-classes 200 \
  --base-shots 15 --sessions 20 --ways 5 --shots 5 --queries 5 --streams 10 --threads 1 --out ../../results/incremental-omniglot)

$python tools/task_sequence.py results/task-sequence-digits/results.json
