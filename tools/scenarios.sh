#!/usr/bin/env bash
# Trains and scores every row of the tables in docs/scenarios.md, or of the parts that are named:
#
#     tools/scenarios.sh [emoji styles rotated pacs labelled omniglot online caltech blind corrected sequence
#         multitask datasets pareto]
#
# Finished runs are reused, begun ones resumed, results that stand already are left alone (remove results/NAME to make
# them again). Sets of ../shared/data that are not there are passed over. Some hours on one core.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
genmeta=${GENMETA:-$PWD/.venv/bin/genmeta}
results=${RESULTS:-$PWD/results}
runs=runs/scenarios
data=../shared/data
mkdir -p $runs
ln -sfn "$PWD/../shared" "$runs/shared"  # one spelling of a data set, seen from here and from a part's folder

every="emoji styles rotated pacs labelled omniglot online caltech blind corrected sequence multitask datasets pareto"
parts=" ${*:-$every} "
wanted() { [[ $parts == *" $1 "* ]]; }
missing() { [ ! -f "$results/$1/results.json" ]; }
train() { $genmeta train "$@" --threads 1 --resume; }
score() {  # NAME ARGUMENTS...: a comparison of runs below the current folder
  local name=$1
  shift
  $genmeta compare "$@" --threads 1 --out "$results/$name"
}

# -- domains ----------------------------------------------------------------------------------------------------------

methods="erm mldg tent domain-film"
after=0,5       # steps that are scored, where a method takes any
own="erm mldg"  # rows whose norms look at each image alone; the others take the statistics of a domain's images
domains() {  # NAME DATA HELD_OUT QUERIES STEPS PARTS OPTIONS...: tent before its steps is arm-bn; parts to rehearse on
  missing "$1" || return 0
  mkdir -p "$runs/$1"
  (
    cd "$runs/$1"
    for method in $methods; do
      norm=batch
      [[ " $own " == *" $method "* ]] && norm=group
      train $method --scenario domain --data "$2" --hold-out "$3" --norm $norm --shots 20 --steps "$5" \
        --validate-every $(($5 / 2)) --validate-tasks 40 "${@:7}" --run $method
    done
    score "$1" $(printf './%s ' $methods) --scenario domain --data "$2" --shots 20 --queries "$4" --tasks 20 \
      --adapt-steps $after --rehearse "$6"
  )
}

small=(--width 32 --queries 20 --lr 0.004)
# three groups of three vendors, each held out in its turn; not rehearsed, which would take three times as long
vendors=(openmoji,fluent-emoji-high-contrast,emojione-v1 emojione,noto,fluent-emoji twemoji,noto-v1,fluent-emoji-flat)
emoji="domains:$data/emoji9_64_rgba.zip?size=20&classes=110"
if wanted emoji && [ -f $data/emoji9_64_rgba.zip ]; then
  for group in 0 1 2; do
    domains domains-emoji-$((group + 1)) "$emoji" "${vendors[$group]}" 40 800 0 "${small[@]}" --tasks-per-batch 6 \
      --augment style
  done
fi

slanted=$(printf 'turn%s-slant30-bold-negative,' 0 45 90 135 180 225 270 315)
! wanted styles || domains domains-glyph-styles 'glyph-styles?size=20' "${slanted%,}" 50 1500 2 "${small[@]}" \
  --tasks-per-batch 4

digits='rotated-digits?size=16' outermost='0 degrees,75 degrees'
! wanted rotated || domains domains-rotated-digits "$digits" "$outermost" 40 600 2 "${small[@]}" \
  --tasks-per-batch 4

# domain-film too keeps the statistics that the network came with, and writes on top of them
if wanted pacs && [ -f $data/pacs_84.zip ]; then
  for domain in photo art_painting cartoon sketch; do
    own="erm mldg domain-film" after=0 domains domains-pacs-$domain "domains:$data/pacs_84.zip?size=64" $domain 40 40 0 \
      --queries 12 --tasks-per-batch 3 --lr 0.0003 --learner efficientnet-lite0
  done
fi

labelled() {  # NAME OF DATA HELD_OUT QUERIES STEPS OPTIONS...: beside the networks of part OF, which need no labels
  missing "$1" || return 0
  (
    cd "$runs/$2"
    train domain-film --scenario domain --data "$3" --hold-out "$4" --norm batch --labelled --shots 20 --steps "$6" \
      --validate-every $(($6 / 2)) --validate-tasks 40 "${@:7}" --run domain-film-labelled
    score "$1" ./erm ./tent ./domain-film-labelled --scenario domain --data "$3" --labelled --shots 20 --queries "$5" \
      --tasks 20 --adapt-steps 0,5
  )
}
if wanted labelled; then
  labelled domains-rotated-digits-labelled domains-rotated-digits "$digits" "$outermost" 40 600 \
    "${small[@]}" --tasks-per-batch 4
  [ ! -f $data/emoji9_64_rgba.zip ] || labelled domains-emoji-labelled domains-emoji-3 "$emoji" "${vendors[2]}" 40 800 \
    "${small[@]}" --tasks-per-batch 6 --augment style
fi

# -- classes in sessions ----------------------------------------------------------------------------------------------

# penalties of corrections were chosen on validation characters and, where the data are of another kind than those that
# were learned from, on signs
rows=(--generate rows --set inner_steps=0 --set row_base=within)
omniglot_rows() {
  train protonet --data omniglot --augment affine --quarter-turns --width 32 --ways 30-60 --shots 1-3 --queries 2 \
    --tasks-per-batch 1 --steps 2500 --lr 0.004 --validate-every 500 --validate-tasks 100 --run $runs/protonet
  train hypernet --scenario incremental "${rows[@]}" --set penalty=0.1 --data omniglot --augment affine \
    --quarter-turns --init $runs/protonet --width 32 --ways 10-40 --shots 1-5 --queries 2 --tasks-per-batch 2 \
    --steps 600 --lr 0.001 --validate-every 300 --validate-tasks 60 --run $runs/hypernet
}
if wanted omniglot && missing incremental-omniglot; then
  omniglot_rows
  (cd $runs && score incremental-omniglot ./hypernet ./protonet --scenario incremental --data omniglot \
    --base-classes 200 --base-shots 15 --sessions 20 --ways 5 --shots 5 --queries 5 --streams 10 --orders 3)
fi
if wanted online && missing incremental-online; then
  omniglot_rows
  (cd $runs && score incremental-online ./hypernet ./protonet --scenario incremental --data omniglot --base-classes 20 \
    --base-shots 5 --sessions 100 --ways 1 --shots 5 --queries 5 --streams 4 --orders 1)
fi

# the generator learns from emoji, so that no class of the photos is one it has seen
photo_rows() {  # PENALTY STEPS VALIDATE_EVERY
  train hypernet --scenario incremental "${rows[@]}" --set penalty="$1" --learner efficientnet-lite0 --freeze-learner \
    --data "folder:$data/emoji9_64_rgba.zip?class=file&size=64" --min-images 7 --ways 10-60 --shots 1-5 --queries 2 \
    --tasks-per-batch 4 --steps "$2" --lr 0.001 --validate-every "$3" --validate-tasks 60 --run hypernet
}
photo_streams() {  # NAME ORDERS SEED
  score "$1" ./hypernet --scenario incremental --data "folder:$data/caltech101_84.zip?val=0&test=1" --base-classes 60 \
    --base-shots 15 --sessions 8 --ways 5 --shots 5 --queries 5 --streams 10 --orders "$2" --seed "$3"
}
if wanted caltech && missing incremental-caltech && [ -f $data/caltech101_84.zip ]; then
  mkdir -p $runs/incremental-caltech
  (cd $runs/incremental-caltech && photo_rows 100 100 100 && photo_streams incremental-caltech 2 0)
fi
# its penalty was set after a look at those streams: others, which nothing was set by
if wanted blind && missing incremental-caltech-blind && [ -f $data/caltech101_84.zip ]; then
  mkdir -p $runs/incremental-caltech
  (cd $runs/incremental-caltech && photo_rows 100 100 100 && photo_streams incremental-caltech-blind 1 1)
fi
# what the penalty that serves Omniglot does to them
if wanted corrected && [ -f $data/caltech101_84.zip ] && [ -f $data/gtsrb_32_3pertrack.zip ]; then
  mkdir -p $runs/incremental-corrected
  (
    cd $runs/incremental-corrected
    photo_rows 0.1 600 200
    ! missing incremental-caltech-corrected || photo_streams incremental-caltech-corrected 5 0
    ! missing incremental-signs-corrected || score incremental-signs-corrected ./hypernet --scenario incremental \
      --data "folder:$data/gtsrb_32_3pertrack.zip?val=0&test=1&size=64" --base-classes 23 --base-shots 15 \
      --sessions 4 --ways 5 --shots 5 --queries 5 --streams 6 --seed 7
  )
fi

! { wanted sequence && missing task-sequence-digits; } ||
  $python tools/task_sequence.py results/task-sequence-digits/results.json

# -- several tasks ----------------------------------------------------------------------------------------------------

# scenes of emoji, two cells along each side: a glyph of so small a scene has strokes of a pixel, which a map of half the
# resolution does not tell apart in so few steps
if wanted multitask && missing multitask-visual && [ -f $data/emoji9_64_rgba.zip ]; then
  glyphs='glyphs?size=32&color=rgb' scenes="scenes:$data/emoji9_64_rgba.zip?class=file&size=32&grid=2" steps=1500
  mkdir -p $runs/multitask
  (
    cd $runs/multitask
    visual() {  # RUN VISION DATA STEPS OPTIONS...
      train hypernet --scenario multitask --vision "$2" --data "$3" --ways 3 --shots 1 --queries 3 \
        --tasks-per-batch 4 --width 16 --set inner_steps=0 --lr 0.004 --steps "$4" --validate-every $(($4 / 4)) \
        --validate-tasks 60 --on-bad-image skip --run "$1" "${@:5}"
    }
    visual shared classification,segmentation,detection "$glyphs+$scenes" $steps
    for kind in detection segmentation classification; do
      of=$scenes
      [ $kind = classification ] && of=$glyphs
      visual $kind $kind "$of" $((steps / 3))
      visual small-$kind $kind "$of" $((steps / 3)) --set context=48 --set hidden=104
      # the network is what is large: as large together as the shared one leaves next to nothing for a generator
      visual tiny-$kind $kind "$of" $((steps / 3)) --set context=8 --set hidden=8
    done
    score multitask-visual ./shared ./classification+./segmentation+./detection \
      ./small-classification+./small-segmentation+./small-detection \
      ./tiny-classification+./tiny-segmentation+./tiny-detection --scenario multitask \
      --data "$glyphs+$scenes" --ways 3 --shots 1 --queries 3 --tasks 200 --adapt-steps 0 --on-bad-image skip
  )
fi

if wanted datasets && missing multitask-datasets && [ -f $data/gtsrb_32_3pertrack.zip ]; then
  characters='glyphs?size=28&color=rgb' signs="folder:$data/gtsrb_32_3pertrack.zip?size=28"
  photos="folder:$data/caltech101_84.zip?size=28" emoji="folder:$data/emoji9_64_rgba.zip?class=file&size=28" steps=1600
  mkdir -p $runs/datasets
  (
    cd $runs/datasets
    sets() {  # RUN DATA STEPS OPTIONS...
      train hypernet --data "$2" --ways 5 --shots 1 --queries 4 --min-images 6 --tasks-per-batch 4 --width 32 \
        --set inner_steps=0 --lr 0.004 --steps "$3" --validate-every $(($3 / 4)) --validate-tasks 60 --run "$1" "${@:4}"
    }
    all="$characters+$signs+$photos+$emoji"
    sets shared "$all" $steps
    for name in characters signs photos emoji; do
      sets $name "${!name}" $((steps / 4))
      sets small-$name "${!name}" $((steps / 4)) --set context=56 --set hidden=96
    done
    score multitask-datasets ./shared ./characters+./signs+./photos+./emoji \
      ./small-characters+./small-signs+./small-photos+./small-emoji --scenario multitask --data "$all" --ways 5 \
      --shots 1 --queries 5 --min-images 6 --tasks 300 --adapt-steps 0
  )
fi

! { wanted pareto && missing pareto-two-digits; } || $python tools/pareto.py results/pareto-two-digits/results.json
$python tools/scenario_pictures.py
