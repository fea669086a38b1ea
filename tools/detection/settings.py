"""What the tables of docs/detection.md are made of: trainings, rows and episodes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from genmeta.core.settings import EvaluationConfig, TrainConfig

REAL = "../shared/data"
EMOJI = f"scenes:{REAL}/emoji9_64_rgba.zip?class=file"
#: Training classes of both, in turns; the scripts and emoji of the tables are others.
TRAINED_ON = f"scenes+{EMOJI}"
#: Emoji of three sizes on photos: of a scene with fewer cells the objects are larger.
ON_PHOTOS = "+".join(f"{EMOJI}&backgrounds={REAL}/caltech101_84.zip&grid={cells}" for cells in (1, 2, 4))
#: Where learning rates for the real sets are chosen.
PHOTO_CHOICE = f"{EMOJI}&backgrounds={REAL}/caltech101_84.zip&grid=2"

#: The base is a prototype network; everything else starts from its learner and goes on for as many meta-steps.
BASE_STEPS, STEPS = 4000, 200
METHODS: dict[str, dict[str, Any]] = {
    # more ways than the tables ask for: every image then tells more classes apart at the same price
    "base": {"method": "protonet", "ways": "5-7", "shots": "1-3", "steps": BASE_STEPS, "lr": 0.005},
    "hypernet": {"options": {"first_order": True, "inner_steps": 3}},
    "protonet": {},
    "meta-sgd-hn": {"options": {"first_order": True, "inner_steps": 3}},
    "versa": {},
    "maml": {"options": {"first_order": True}},
    "maml-gan": {"options": {"bank_tasks": 32, "bank_labels": 6}},
    # a second network on other tasks and from other weights, so that particles begin at two that differ
    "base-2": {"method": "protonet", "ways": "5-7", "shots": "1-3", "steps": BASE_STEPS, "lr": 0.005, "seed": 1},
    "protonet-2": {"method": "protonet", "init": "base-2", "seed": 1},
    "bmaml": {
        "init": "base,base-2",
        "options": {"generate": "all", "particles": 2, "inner_steps": 0, "inner_lr": 0.001, "row_lr": 0.1},
    },
    # for photos: ImageNet's features under a pyramid of our own
    "photo": {
        "method": "hypernet",
        "data": ON_PHOTOS,
        "learner": "efficientnet-lite0-fpn",
        "width": 0,
        "size": 112,
        "ways": "1-4",
        "shots": "1-3",
        "queries": 2,
        "steps": 800,
        "lr": 0.003,
        "init": "",
        "options": {"first_order": True},
    },
}
TWO = "two protonets, averaged"
SCRATCH, LONG, HEAD = "scratch", "scratch, ten times the steps", "fine-tuned head"
TEMPLATES, ADAM = "template matching", "photo, Adam"
#: The generated start of painted scenes, from which Adam moves the whole network.
EVERY = "hypernet, every weight"
BASELINES = ("protonet", TWO, "maml", HEAD, SCRATCH, LONG, TEMPLATES)
#: Rows that no training has a part in.
WITHOUT_BASE = (SCRATCH, LONG, TEMPLATES)
#: Episodes of training from scratch and of template matching, the first ones: slow, and so far behind that they tell.
SCRATCH_TASKS, TEMPLATE_TASKS = 60, 200
#: Learning rates of Adam among which rows without meta-trained step sizes choose, on validation tasks.
RATES = (0.001, 0.003, 0.01, 0.03)
VALIDATION_TASKS, PHOTO_VALIDATION_TASKS = 16, 8


BASES = ("base", "base-2")


def training(name: str, runs: Path) -> TrainConfig:
    """How a method is trained."""
    settings = {"method": name, "steps": STEPS, "init": "base", **METHODS[name]}
    settings["init"] = "" if name in BASES else ",".join(str(runs / one) for one in settings["init"].split(",") if one)
    return TrainConfig(
        **{
            "data": TRAINED_ON,
            "run": str(runs / name),
            "vision": "detection",
            "learner": "fpn",
            "ways": "3-4",
            "shots": "1-4",
            "queries": 3,
            "tasks_per_batch": 4,
            "width": 32,
            "lr": 0.002,
            "validate_every": settings["steps"],
            "validate_tasks": 40,
            "threads": 1,
            "on_bad_image": "skip",
            **settings,
        }
    )


def _painted(data: str, shots: int, tasks: int = 200) -> EvaluationConfig:
    steps = "0,1,5,10" if shots == 1 else "0,1,5"
    return EvaluationConfig(data, ways=3, shots=shots, queries=3, tasks=tasks, adapt_steps=steps, on_bad_image="skip")


def _photos(name: str, ways: int) -> EvaluationConfig:
    return EvaluationConfig(
        f"coco:{REAL}/detection/{name}.zip", ways=ways, shots=5, queries=10, tasks=20, adapt_steps="0,10,50"
    )


#: Name -> episodes. Real sets are never trained on.
SETS: dict[str, EvaluationConfig] = {
    # on unseen scripts rows are near each other, and told apart by more episodes
    "scripts-3w1s": _painted("scenes", 1, 400),
    "scripts-3w5s": _painted("scenes", 5, 400),
    "emoji-3w1s": _painted(EMOJI, 1),
    "emoji-3w5s": _painted(EMOJI, 5),
    "raccoon": _photos("raccoon", 1),
    "blood-cells": _photos("bccd", 3),
    "cards": _photos("cards", 6),
}
_NO_ROWS = (*BASES, "protonet-2", "photo")
_ON_PAINTED = (*(name for name in METHODS if name not in _NO_ROWS), TWO, HEAD, SCRATCH, TEMPLATES)
_ON_ONE_SHOT = (*_ON_PAINTED[:-1], LONG, TEMPLATES)
_ON_REAL = ("photo", ADAM, EVERY, HEAD, SCRATCH, TEMPLATES)


def is_real(name: str) -> bool:
    """Whether a set is of photos."""
    return SETS[name].data.startswith("coco:")


def episodes_of(row: str, name: str) -> int:
    """On how many episodes of a set a row is scored."""
    most = SCRATCH_TASKS if row in (SCRATCH, LONG) else TEMPLATE_TASKS if row == TEMPLATES else SETS[name].tasks
    return min(SETS[name].tasks, most)


def rows_of(name: str) -> tuple[str, ...]:
    """The rows of a set."""
    if is_real(name):
        return _ON_REAL
    return _ON_ONE_SHOT if SETS[name].shots == 1 else _ON_PAINTED
