"""Trains and scores what docs/segmentation.md shows: ``python tools/segmentation.py RUNS [SET ...]``.

Trainings, and the scores of each method on each set of episodes, are kept in RUNS and not made again. Then
``results/segmentation-SET/results.json`` is written for every set that is complete.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

from genmeta.core.files import write_json
from genmeta.core.settings import EvaluationConfig, TrainConfig
from genmeta.data import open_scenes
from genmeta.engine import Interval, StepScores, evaluate, load, paired, train
from genmeta.engine.runtime import keep_freed_memory, use_threads
from genmeta.scenarios import provenance
from genmeta.scenarios.few_shot import describe_training, open_tasks
from genmeta.scenarios.pixel_forest import evaluate_forest
from genmeta.tasks import SegmentationTasks

ROOT = Path(__file__).parents[1]
REAL = "../shared/data"
SCRATCH, FOREST = "scratch", "random forest"

#: Every training starts from the learner of "base", a prototype network, and goes on for as many meta-steps.
BASE_STEPS, STEPS = 240, 40
METHODS: dict[str, dict[str, Any]] = {
    "base": {"method": "protonet", "steps": BASE_STEPS, "lr": 0.004},
    "hypernet": {},
    "meta-sgd-hn": {},
    "protonet": {},
    "maml": {"options": {"first_order": True, "inner_steps": 3}},
    "versa": {},
    "maml-gan": {"options": {"bank_tasks": 16, "bank_labels": 6}},
    SCRATCH: {"options": {"inner_rule": "adam", "inner_lr": 0.01}},
}
EMOJI = f"scenes:{REAL}/emoji9_64_rgba.zip?class=file"
FOLDER = f"masks:{REAL}/segmentation"
#: Name -> episodes. Real sets are never trained on; there, few methods and few episodes of five labelled images.
SETS: dict[str, EvaluationConfig] = {
    "scenes-1shot": EvaluationConfig("scenes", ways=3, shots=1, queries=2, tasks=200, adapt_steps="0,1,5,10"),
    "emoji-1shot": EvaluationConfig(
        EMOJI, ways=3, shots=1, queries=2, tasks=200, adapt_steps="0,1,5,10", on_bad_image="skip"
    ),
    "scenes-5shot": EvaluationConfig("scenes", ways=3, shots=5, queries=2, tasks=200, adapt_steps="0,1,5,10"),
    "nuclei": EvaluationConfig(
        f"{FOLDER}/dsb2018_nuclei_256.zip?instances=yes&size=96", ways=1, shots=5, tasks=30, adapt_steps="0,10,50"
    ),
    "membranes": EvaluationConfig(
        f"{FOLDER}/em_membrane_256.zip?background=1&size=96&test=1&val=0", ways=1, shots=5, tasks=30,
        adapt_steps="0,10,50",
    ),
    "camvid": EvaluationConfig(
        f"{FOLDER}/camvid_240.zip?background=none&ignore=11&size=96", ways=5, shots=5, tasks=30, adapt_steps="0,10,50"
    ),
    "emoji-5shot": EvaluationConfig(
        EMOJI, ways=3, shots=5, queries=2, tasks=200, adapt_steps="0,1,5,10", on_bad_image="skip"
    ),
}  # fmt: skip
ON_REAL = ("hypernet", "meta-sgd-hn", "protonet", SCRATCH, FOREST)


def training(name: str, runs: Path, data: str) -> TrainConfig:
    """How a method is trained."""
    settings = {"method": name, "steps": STEPS, **METHODS[name]}
    return TrainConfig(
        data=data,
        run=str(runs / name),
        vision="segmentation",
        ways="3",
        shots="1-3",
        queries=2,
        tasks_per_batch=4,
        width=16,
        validate_every=settings["steps"],
        validate_tasks=4,
        init="" if name in ("base", SCRATCH) else str(runs / "base"),
        threads=1,
        **settings,
    )


def score(name: str, config: EvaluationConfig, runs: Path) -> dict[str, Any]:
    """Scores of one method on one set of episodes, with those of every episode."""
    if name == FOREST:
        source = open_scenes(config.data, size=64, channels=3, on_bad_image=config.on_bad_image)
        tasks = SegmentationTasks(source, config.split, ways=config.ways, shots=config.shots, queries=config.queries)
        return {"scores": {"0": numbers(evaluate_forest(tasks, n_tasks=config.tasks, seed=config.seed))}}
    trained = load(runs / name)
    # ten times the steps for training from scratch, which needs them; on real sets others have as many
    extra = (100,) if name == SCRATCH else ()
    found = evaluate(
        trained.meta_learner,
        open_tasks(trained, config),
        n_tasks=config.tasks,
        steps=sorted({*config.steps, *extra}),
        seed=config.seed,
        time_tasks=2,
    )
    return {
        **describe_training(trained),
        "scores": {str(step): numbers(scores) for step, scores in found.items()},
    }


def numbers(scores: StepScores) -> dict[str, Any]:
    """A summary, with the main score of every episode for paired differences."""
    return {**scores.summary(), "every_episode": scores.accuracy.tolist()}


def assemble(name: str, found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The result file of a set: every method, and paired differences to every baseline's best number of steps."""
    each = {
        method: {step: np.array(scores["every_episode"]) for step, scores in entry["scores"].items()}
        for method, entry in found.items()
    }
    best = {
        method: max(steps, key=lambda step: steps[step].mean())
        for method, steps in each.items()
        if method in (SCRATCH, FOREST, "protonet", "maml")
    }
    methods = {}
    for method, entry in found.items():
        scores = {
            step: {key: value for key, value in one.items() if key != "every_episode"}
            for step, one in entry["scores"].items()
        }
        differences = {
            f"{other} after {step}": {
                mine: {"mean": round(gap.mean, 3), "ci95": round(gap.half_width, 3)}
                for mine, values in each[method].items()
                for gap in [paired(values, each[other][step])]
            }
            for other, step in best.items()
            if other != method
        }
        methods[method] = {**entry, "scores": scores, "paired_difference_to": differences}
    return {
        "schema": "genmeta.segmentation/1",
        **provenance(),
        "command": f"python tools/segmentation.py RUNS {name}",
        "episodes": dataclasses.asdict(SETS[name]),
        "methods": methods,
    }


def main() -> None:
    """Trains, scores, writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path)
    parser.add_argument("sets", nargs="*", help=f"of {', '.join(SETS)}; all by default")
    arguments = parser.parse_args()
    keep_freed_memory()
    use_threads(1)
    for name in METHODS:
        train(training(name, arguments.runs, "scenes"), resume=True, progress=False)
        print("trained", name, flush=True)
    for name in arguments.sets or SETS:
        config, found = SETS[name], {}
        for method in ON_REAL if config.data.startswith("masks") else [*(m for m in METHODS if m != "base"), FOREST]:
            kept = arguments.runs / "scores" / name / f"{method}.json"
            if not kept.exists():
                write_json(kept, score(method, config, arguments.runs))
            found[method] = json.loads(kept.read_text(encoding="utf-8"))
            shown = {
                step: str(Interval.of(100 * np.array(one["every_episode"])))
                for step, one in found[method]["scores"].items()
            }
            print(name, method, shown, flush=True)
        write_json(ROOT / "results" / f"segmentation-{name}" / "results.json", assemble(name, found))


if __name__ == "__main__":
    main()
