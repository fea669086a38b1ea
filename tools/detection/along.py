"""Prototypes and generators after as many meta-steps: ``python tools/detection/along.py RUNS [NAME ...]``.

A NAME is a training, or ``scores``; all by default. Trainings go on where they were interrupted. Every row that is
trained is scored on the study's episodes of painted scenes, three times as many of unseen scripts, where the rows are
to be told apart, and the base with rows that are shorter and longer than prototypes. What is scored is kept in RUNS.
``results/body-along/results.json`` holds the scores.
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
#: A detector's loss is a tenth of nats, and so must be what a written weight costs; rows of prototypes are some 30
#: long, so what is written on them begins at 1.
WRITING: dict[str, Any] = {"penalty": 1e-6, "row_scale": 1.0}
#: For the start alone, without steps.
START = {"first_order": True, **WRITING, "inner_steps": 0, "inner_lr": 0.01, "row_lr": 0.1}
#: Rows alone are written and moved, so steps cost next to nothing and are differentiated through.
STEPS = {"generate": "rows", "counts": True, **WRITING, "inner_steps": 5, "row_lr": 0.5}
FIRST = {**settings.METHODS["base"], "init": "", "steps": 3000}
#: Name -> what differs from the study's trainings; ``init`` names the row whose learner it starts from.
TRAININGS: dict[str, dict[str, Any]] = {
    "base": FIRST,
    "hypernet from the first step": {**FIRST, "method": "hypernet", "options": START},
    "protonet": {"init": "base", "steps": 1200},
    "hypernet": {"init": "base", "steps": 1200, "options": START},
    "protonet, longer": {"method": "protonet", "init": "protonet", "steps": 1200, "shots": "1-5"},
    # at a rate that does not undo what the body has annealed to
    "protonet, longest": {"method": "protonet", "init": "protonet, longer", "steps": 300, "shots": "1-5", "lr": 0.0005},
    # on a body that stays as it is, so that it differs in what is written
    "meta-sgd-hn": {
        "init": "protonet, longer", "steps": 300, "shots": "1-5", "lr": 0.003, "freeze_learner": True, "options": STEPS,
    },
}  # fmt: skip
#: Row -> prototypes after as many meta-steps, and on the same body.
AGAINST = {
    "hypernet from the first step": ("base",),
    "hypernet": ("protonet",),
    "meta-sgd-hn": ("protonet, longest", "protonet, longer"),
}
#: After how many steps a row is scored.
AFTER = {"meta-sgd-hn": (0, 1, 5)}
#: Lengths of the base's rows, of that of prototypes.
LENGTHS = (0.7, 1.5)
SETS = {
    name: dataclasses.replace(config, tasks=600) if name.startswith("scripts") else config
    for name, config in settings.SETS.items()
    if not settings.is_real(name)
}


def folder(row: str, runs: Path) -> Path:
    """Where a row is trained."""
    return runs / row.replace(",", "").replace(" ", "-")


def training(row: str, runs: Path) -> TrainConfig:
    """How a row is trained."""
    given = {"method": row, **TRAININGS[row]}
    if given["init"]:
        given["init"] = str(folder(given["init"], runs))
    ordinary = settings.training("protonet", runs)
    return dataclasses.replace(ordinary, run=str(folder(row, runs)), validate_every=given["steps"], **given)


def of_length(base: MetaLearner, share: float) -> MetaLearner:
    """The base with another temperature of its prototypes."""
    if not isinstance(base.row_base, PrototypeRow):
        raise TypeError("the base is a prototype network")
    with torch.no_grad():
        base.row_base.log_temperature += float(np.log(share))
    return base


def scored(it: MetaLearner, config: EvaluationConfig, steps: tuple[int, ...]) -> dict[str, list[float]]:
    """Steps -> AP50 of every episode."""
    source = open_scenes(config.data, size=64, channels=3, on_bad_image="skip")
    tasks = DetectionTasks(source, config.split, ways=config.ways, shots=config.shots, queries=config.queries)
    found = evaluate(it, tasks, n_tasks=config.tasks, steps=steps, seed=config.seed, time_tasks=0)
    return {str(step): np.round(found[step].accuracy, 4).tolist() for step in steps}


def answers(row: str, name: str, runs: Path) -> dict[str, np.ndarray]:
    """Steps -> AP50 of every episode of a set, kept in a file."""
    kept = runs / "along" / name / f"{folder(row, runs).name}.json"
    if not kept.exists():
        if row in TRAININGS:
            found = scored(load(folder(row, runs)).meta_learner, SETS[name], AFTER.get(row, (0,)))
        else:
            base = of_length(load(runs / "base").meta_learner, float(row.split()[2]))
            found = scored(base, dataclasses.replace(settings.SETS[name], tasks=200), (0,))
        write_json(kept, found)
    return {step: np.array(values) for step, values in json.loads(kept.read_text(encoding="utf-8")).items()}


def described(name: str, rows: list[str], runs: Path) -> dict[str, Any]:
    """The rows of a set, each after some numbers of steps, less what it is held against."""
    lengths = [f"base, rows {share} times as long" for share in LENGTHS]
    each = {row: answers(row, name, runs) for row in (*rows, *lengths)}
    out: dict[str, Any] = {}
    for row, found in each.items():
        others = ("base",) if row in lengths else AGAINST.get(row, ())
        out[row] = {
            step: {
                "ap50": Interval.of(100 * values).rounded(),
                "episodes": len(values),
                "less": {other: paired(values, each[other]["0"][: len(values)]).rounded() for other in others},
            }
            for step, values in found.items()
        }
    return out


def main() -> None:
    """Trains, scores, writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path)
    names = (*TRAININGS, "scores")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(names)}; all by default")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(names):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    runs, wanted = arguments.runs, arguments.names or names
    keep_freed_memory()
    use_threads(1)
    for row in (row for row in TRAININGS if row in wanted):
        train(training(row, runs), resume=True, progress=False)
        print("trained", row, flush=True)
    if "scores" not in wanted:
        return
    rows = [row for row in TRAININGS if (folder(row, runs) / "model.safetensors").exists()]
    sets: dict[str, Any] = {}
    for name in SETS:
        sets[name] = described(name, rows, runs)
        for row, found in sets[name].items():
            print(name, row, found, flush=True)
    content = {
        "schema": "genmeta.along/2",
        **provenance(),
        "command": "python tools/detection/along.py RUNS",
        "episodes": {name: dataclasses.asdict(SETS[name]) for name in SETS},
        "trained": {row: describe_training(load(folder(row, runs))) for row in rows},
        "sets": sets,
    }
    FILE.parent.mkdir(parents=True, exist_ok=True)
    write_json(FILE, content)


if __name__ == "__main__":
    main()
