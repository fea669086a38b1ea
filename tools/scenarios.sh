#!/usr/bin/env bash
# Trains and scores every row of the tables in docs/scenarios.md. Finished runs are reused, begun ones resumed, tables
# that stand already are left alone (remove results/NAME to make one again). Sets of ../shared/data that are not there
# are passed over. Something over an hour on one core. The first training of the incremental part is the start that
# tools/families.py also begins from.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
genmeta=${GENMETA:-$PWD/.venv/bin/genmeta}
results=$PWD/results
runs=runs/scenarios
mkdir -p $runs

missing() { [ ! -f "$results/$1/results.json" ]; }
score() {  # NAME ARGUMENTS...: a comparison of runs below the current folder
  local name=$1
  shift
  $genmeta compare "$@" --threads 1 --out "$results/$name"
}

held_out=$(printf 'turn%s-slant30-bold-negative,' 0 45 90 135 180 225 270 315)
if missing domains-glyph-styles; then
  for method in erm domain-film arm-bn; do
    norm=group
    [ $method = arm-bn ] && norm=batch
    $genmeta train $method --scenario domain --data 'glyph-styles?size=20' --hold-out "${held_out%,}" --norm $norm \
      --width 32 --shots 20 --queries 20 --tasks-per-batch 8 --steps 1500 --lr 0.004 --validate-every 750 \
      --validate-tasks 40 --threads 1 --resume --run $runs/$method
  done
  (cd $runs && score domains-glyph-styles ./erm ./domain-film ./arm-bn --scenario domain --data 'glyph-styles?size=20' \
    --shots 20 --queries 50 --tasks 20 --adapt-steps 0)
fi
# the same again, for the check that has come since; its times are left unread
missing domains-glyph-styles-check && [ -d $runs/arm-bn ] && (cd $runs && score domains-glyph-styles-check ./erm \
  ./domain-film ./arm-bn --scenario domain --data 'glyph-styles?size=20' --shots 20 --queries 50 --tasks 20 --adapt-steps 0)

domains() {  # NAME DATA HELD_OUT STEPS: tent before its steps is arm-bn
  missing "$1" || return 0
  mkdir -p "$runs/$1"
  ln -sfn "$PWD/../shared" "$runs/shared"
  (
    cd "$runs/$1"
    for method in erm domain-film tent mldg; do
      norm=group
      [ $method = tent ] && norm=batch
      $genmeta train $method --scenario domain --data "$2" --hold-out "$3" --norm $norm --width 32 --shots 20 \
        --queries 20 --tasks-per-batch 4 --steps "$4" --lr 0.004 --validate-every "$4" --validate-tasks 20 --threads 1 \
        --resume --run $method
    done
    score "$1" ./erm ./domain-film ./tent ./mldg --scenario domain --data "$2" --shots 20 --queries 40 --tasks 20 \
      --adapt-steps 0,5
  )
}
domains domains-rotated-digits 'rotated-digits?size=16' '0 degrees,75 degrees' 300
[ ! -f ../shared/data/emoji9_64_rgba.zip ] || domains domains-emoji \
  'domains:../shared/data/emoji9_64_rgba.zip?size=20&classes=110' openmoji,fluent-emoji-high-contrast,emojione-v1 300
[ ! -f ../shared/data/pacs_84.zip ] || domains domains-pacs 'domains:../shared/data/pacs_84.zip?size=24' sketch 250

if missing incremental-omniglot; then
  $genmeta train protonet --data omniglot --augment affine --quarter-turns --width 32 --ways 30-60 --shots 1-3 \
    --queries 2 --tasks-per-batch 1 --steps 2500 --lr 0.004 --validate-every 500 --validate-tasks 100 --threads 1 \
    --resume --run $runs/protonet
  $genmeta train hypernet --scenario incremental --generate rows --set inner_steps=0 --data omniglot --augment affine \
    --quarter-turns --init $runs/protonet --width 32 --ways 10-40 --shots 1-5 --queries 2 --tasks-per-batch 2 \
    --steps 600 --lr 0.001 --validate-every 300 --validate-tasks 60 --threads 1 --resume --run $runs/hypernet
  (cd $runs && score incremental-omniglot ./hypernet ./protonet --scenario incremental --data omniglot \
    --base-classes 200 --base-shots 15 --sessions 20 --ways 5 --shots 5 --queries 5 --streams 10)
fi

! missing task-sequence-digits || $python tools/task_sequence.py results/task-sequence-digits/results.json

if missing multitask-visual; then
  glyphs='glyphs?size=32&color=rgb' scenes='scenes?size=32' steps=600
  mkdir -p $runs/multitask
  (
    cd $runs/multitask
    train() {  # RUN VISION DATA STEPS VALIDATE_EVERY OPTIONS...
      $genmeta train hypernet --scenario multitask --vision "$2" --data "$3" --ways 3 --shots 1 --queries 3 \
        --tasks-per-batch 4 --width 16 --set inner_steps=0 --lr 0.004 --steps "$4" --validate-every "$5" \
        --validate-tasks 30 --threads 1 --resume --run "$1" "${@:6}"
    }
    train shared classification,segmentation,detection "$glyphs+$scenes" $steps 300
    for kind in classification segmentation detection; do
      data=$scenes
      [ $kind = classification ] && data=$glyphs
      train $kind $kind "$data" $((steps / 3)) 100
      train small-$kind $kind "$data" $((steps / 3)) 100 --set context=48 --set hidden=104
    done
    score multitask-visual ./shared ./classification+./segmentation+./detection \
      ./small-classification+./small-segmentation+./small-detection --scenario multitask --data "$glyphs+$scenes" \
      --ways 3 --shots 1 --queries 3 --tasks 200 --adapt-steps 0
  )
fi

! missing pareto-two-digits || $python tools/pareto.py results/pareto-two-digits/results.json
$python tools/scenario_pictures.py
