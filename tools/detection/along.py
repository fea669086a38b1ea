"""What prototypes and a hypernetwork gain from as many further meta-steps, both with the body trained along.

``python tools/detection/along.py RUNS`` trains a shorter base than ``study.py`` does and both rows on it, and scores
them, the base, and the base with rows that are shorter and longer than prototypes, on the study's episodes of painted
scenes, without a step. ``results/body-along/results.json`` holds the scores.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import settings
import torch

from genmeta.core.files import write_json
from genmeta.core.settings import EvaluationConfig, TrainConfig
from genmeta.data import open_scenes
from genmeta.engine import Interval, evaluate, load, paired, train
from genmeta.engine.runtime import keep_freed_memory, use_threads
from genmeta.generators import PrototypeRow
from genmeta.methods import MetaLearner
from genmeta.scenarios import provenance
from genmeta.scenarios.few_shot import describe_training
from genmeta.tasks import DetectionTasks

FILE = Path(__file__).parents[2] / "results" / "body-along" / "results.json"
BASE_STEPS, STEPS = 3000, 1200
#: A detector's loss is a tenth of nats, and so must be what a written weight costs; rows of prototypes are some 30
#: long, so what is written on them begins at 1. For the start alone, without steps.
WRITING = {
    "first_order": True,
    "penalty": 1e-6,
    "row_scale": 1.0,
    "inner_steps": 0,
    "inner_lr": 0.01,
    "row_lr": 0.1,
}
OPTIONS: dict[str, dict[str, Any]] = {"protonet": {}, "hypernet": WRITING}
#: Lengths of the base's rows, of that of prototypes.
LENGTHS = (0.7, 1.5)
SETS = tuple(name for name in settings.SETS if not settings.is_real(name))


def training(row: str, runs: Path) -> TrainConfig:
    """How a row is trained."""
    steps = BASE_STEPS if row == "base" else STEPS
    given = {"options": OPTIONS[row]} if row in OPTIONS else {}
    return dataclasses.replace(settings.training(row, runs), steps=steps, validate_every=steps, **given)


def of_length(base: MetaLearner, share: float) -> MetaLearner:
    """The base with another temperature of its prototypes."""
    if not isinstance(base.row_base, PrototypeRow):
        raise TypeError("the base is a prototype network")
    with torch.no_grad():
        base.row_base.log_temperature += float(np.log(share))
    return base


def scored(it: MetaLearner, config: EvaluationConfig) -> np.ndarray:
    """AP50 of every episode, without a step."""
    source = open_scenes(config.data, size=64, channels=3, on_bad_image="skip")
    tasks = DetectionTasks(source, config.split, ways=config.ways, shots=config.shots, queries=config.queries)
    return np.array(evaluate(it, tasks, n_tasks=config.tasks, steps=(0,), seed=config.seed, time_tasks=0)[0].accuracy)


def main() -> None:
    """Trains, scores, writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path)
    runs = parser.parse_args().runs
    keep_freed_memory()
    use_threads(1)
    for row in ("base", *OPTIONS):
        train(training(row, runs), resume=True, progress=False)
        print("trained", row, flush=True)
    made = {row: load(runs / row) for row in ("base", *OPTIONS)}
    rows = {row: trained.meta_learner for row, trained in made.items()}
    for share in LENGTHS:
        rows[f"base, rows {share} times as long"] = of_length(load(runs / "base").meta_learner, share)
    sets: dict[str, Any] = {}
    for name in SETS:
        kept = runs / "along" / f"{name}.json"
        if not kept.exists():
            write_json(kept, {row: np.round(scored(it, settings.SETS[name]), 4).tolist() for row, it in rows.items()})
        each = {row: np.array(values) for row, values in json.loads(kept.read_text(encoding="utf-8")).items()}
        sets[name] = {}
        for row, values in each.items():
            against = "protonet" if row in OPTIONS else "base"
            gap = {} if row == against else {f"less_{against}": paired(values, each[against]).rounded()}
            sets[name][row] = {"ap50": Interval.of(100 * values).rounded(), **gap}
            print(name, row, sets[name][row], flush=True)
    content = {
        "schema": "genmeta.along/1",
        **provenance(),
        "command": "python tools/detection/along.py RUNS",
        "episodes": {name: dataclasses.asdict(settings.SETS[name]) for name in SETS},
        "trained": {row: describe_training(trained) for row, trained in made.items()},
        "sets": sets,
    }
    FILE.parent.mkdir(parents=True, exist_ok=True)
    write_json(FILE, content)


if __name__ == "__main__":
    main()
