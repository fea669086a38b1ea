"""Compares detectors on the same episodes: checkpoints, training from scratch, a fine-tuned head, template matching.

``python tools/detection/compare.py --name scenes-3w1s --data scenes --shots 1 --run hypernet=RUN --run maml=RUN ...``
writes ``results/detection-NAME/results.json`` (``genmeta.comparison/1`` with ``ap50_of_episode``, so that any two rows
can be compared episode by episode). Rows that are there already are kept, so an interrupted comparison goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from template_matching import Settings, template_matching

from genmeta.core.files import write_text
from genmeta.core.randomness import seeded
from genmeta.core.types import Boxes, Task
from genmeta.data import open_scenes
from genmeta.engine import evaluate, load
from genmeta.engine.evaluation import episodes
from genmeta.engine.scores import Interval
from genmeta.learners import LearnerConfig, build_learner
from genmeta.methods import MetaLearner, build_method
from genmeta.scenarios.few_shot import describe_training, provenance
from genmeta.tasks import DetectionTasks
from genmeta.vision import Detection
from genmeta.vision.average_precision import BoxSet, average_precision

#: Learning rates of Adam among which the baselines that train on the support set choose, on validation tasks.
RATES = (0.001, 0.003, 0.01, 0.03)
VALIDATION_TASKS = 12


def main() -> None:
    """Scores the rows that are missing and writes the result file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", required=True)
    parser.add_argument("--data", required=True, help="data spec")
    parser.add_argument("--validation", default="scenes", help="data whose val split settings are chosen on")
    parser.add_argument("--split", default="test")
    parser.add_argument("--ways", type=int, default=3)
    parser.add_argument("--shots", type=int, default=1)
    parser.add_argument("--queries", type=int, default=3)
    parser.add_argument("--tasks", type=int, default=200)
    parser.add_argument("--steps", default="0,1,5,10")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--run", action="append", default=[], metavar="ROW=RUN", help="a row from a run directory")
    parser.add_argument("--body", help="run whose body the fine-tuned head stands on, and whose learner scratch has")
    parser.add_argument("--ten-times", action="store_true", help="scratch takes ten times the steps too")
    parser.add_argument("--rate", type=float, default=0.0, help="learning rate of the baselines; 0 chooses the best")
    parser.add_argument("--template", action="store_true", help="add template matching")
    options = parser.parse_args()
    path = Path("results") / f"detection-{options.name}" / "results.json"
    for row, make in rows(options).items():
        if row not in _rows(path):
            print(row, flush=True)
            scored = make()
            # read again: another process may have added rows meanwhile
            _write(path, options, {**_rows(path), row: {**scored, "scored_at": provenance()}})


def _rows(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8"))["methods"]) if path.exists() else {}


def rows(options: argparse.Namespace) -> dict[str, Callable[[], dict[str, Any]]]:
    """Name of a row -> what scores it."""
    steps = tuple(int(step) for step in options.steps.split(","))
    made: dict[str, Callable[[], dict[str, Any]]] = {}
    for given in options.run:
        row, _, run = given.partition("=")
        made[row] = lambda run=run: _trained(run, options, steps)
    if options.body:
        made["finetuned-head"] = lambda: _finetuned(options, steps)
        made["scratch"] = lambda: _scratch(options, (*steps, 10 * steps[-1]) if options.ten_times else steps)
    if options.template:
        made["template-matching"] = lambda: _templates(options)
    return made


def _tasks(options: argparse.Namespace, learner: LearnerConfig, split: str = "") -> DetectionTasks:
    data = open_scenes(options.validation if split else options.data, size=learner.size, channels=learner.channels)
    return DetectionTasks(data, split or options.split, ways=_ways(options, bool(split)), shots=options.shots,
                          queries=options.queries)  # fmt: skip


def _ways(options: argparse.Namespace, validation: bool) -> int:
    return 3 if validation else int(options.ways)


def _trained(run: str, options: argparse.Namespace, steps: tuple[int, ...]) -> dict[str, Any]:
    trained = load(Path(run) / "model.safetensors")
    scores = _scored(trained.meta_learner, options, steps)
    return {**describe_training(trained), **scores}


def _finetuned(options: argparse.Namespace, steps: tuple[int, ...]) -> dict[str, Any]:
    """New rows from zero, trained by Adam on the body of a checkpoint."""
    learner = load(Path(options.body) / "model.safetensors").meta_learner.learner

    def make(rate: float) -> MetaLearner:
        return build_method("finetune", learner, vision=Detection(), options={"inner_lr": rate, "inner_rule": "adam"})

    rate = _best(make, options, learner.config, steps[-1])
    return {
        "method": "finetune",
        "options": {"inner_lr": rate},
        "body": options.body,
        **_scored(make(rate), options, steps),
    }


def _scratch(options: argparse.Namespace, steps: tuple[int, ...]) -> dict[str, Any]:
    """The same network with random weights, all of them trained by Adam on the support set."""
    config = load(Path(options.body) / "model.safetensors").meta_learner.learner.config

    def make(rate: float) -> MetaLearner:
        learner = build_learner(config, seeded(options.seed, "scratch"))
        return build_method("scratch", learner, vision=Detection(), options={"inner_lr": rate, "inner_rule": "adam"})

    rate = _best(make, options, config, steps[-1] // 2)
    return {"method": "scratch", "options": {"inner_lr": rate}, **_scored(make(rate), options, steps)}


def _best(
    make: Callable[[float], MetaLearner], options: argparse.Namespace, learner: LearnerConfig, steps: int
) -> float:
    """The learning rate that is best on validation tasks after so many steps, unless one is given."""
    if options.rate:
        return float(options.rate)
    tasks = _tasks(options, learner, "val")
    found = {}
    for rate in RATES:
        scores = evaluate(make(rate), tasks, n_tasks=VALIDATION_TASKS, steps=(steps,), seed=1, time_tasks=0)
        found[rate] = float(scores[steps].accuracy.mean())
    return max(found, key=lambda rate: found[rate])


def _scored(meta_learner: MetaLearner, options: argparse.Namespace, steps: tuple[int, ...]) -> dict[str, Any]:
    began = time.process_time()
    tasks = _tasks(options, meta_learner.learner.config)
    evaluation = evaluate(
        meta_learner, tasks, n_tasks=options.tasks, steps=steps, seed=options.seed, time_tasks=5, progress=False
    )
    return {
        "scores": {str(step): scores.summary() for step, scores in evaluation.items()},
        "ap50_of_episode": {str(step): np.round(scores.accuracy, 4).tolist() for step, scores in evaluation.items()},
        "evaluation_cpu_seconds": round(time.process_time() - began, 1),
    }


def _templates(options: argparse.Namespace) -> dict[str, Any]:
    size, channels = (int(os.environ.get("TEMPLATE_SIZE", "64")), 3)
    learner = LearnerConfig("unet", channels, size)
    choices = [Settings(colour, either) for colour in (False, True) for either in (False, True)]
    validation = _tasks(options, learner, "val")
    found = {choice: np.mean(_template_scores(validation, choice, VALIDATION_TASKS, 1)[0]) for choice in choices}
    best = max(choices, key=lambda choice: found[choice])
    ap50, ap, seconds = _template_scores(_tasks(options, learner), best, options.tasks, options.seed)
    main, strict = Interval.of(100 * ap50), Interval.of(100 * ap)
    summary = {"ap50": round(main.mean, 3), "ap50_ci95": round(main.half_width, 3), "ap": round(strict.mean, 3),
               "ap_ci95": round(strict.half_width, 3), "adaptation_ms": round(1000 * seconds, 1)}  # fmt: skip
    return {
        "method": "template-matching",
        "options": best._asdict(),
        "scores": {"0": summary},
        "ap50_of_episode": {"0": np.round(ap50, 4).tolist()},
    }


def _template_scores(
    tasks: DetectionTasks, settings: Settings, count: int, seed: int
) -> tuple[np.ndarray, np.ndarray, float]:
    """AP50 and AP of each episode, and the median of the seconds that an episode takes."""
    ap50, ap, seconds = [], [], []
    for i in range(count):
        task: Task = episodes(tasks, i, i + 1, seed)
        began = time.process_time()
        found = template_matching(task.support, task.query, task.ways - 1, settings)
        seconds.append(time.process_time() - began)
        assert isinstance(task.query.targets, Boxes)
        boxes, labels = (leaf[0].numpy() for leaf in task.query.targets)
        truth = [BoxSet(b, k - (k > 0)) for b, k in zip(boxes, labels, strict=True)]
        score = average_precision(truth, found, task.ways - 1)
        ap50.append(np.nan_to_num(score.ap50))
        ap.append(np.nan_to_num(score.ap))
    return np.array(ap50), np.array(ap), float(np.median(seconds))


def _write(path: Path, options: argparse.Namespace, methods: dict[str, Any]) -> None:
    asked = {key: value for key, value in vars(options).items() if key not in ("run", "body", "name")}
    command = {"command": shlex.join(["python", *sys.argv])}
    content = {"schema": "genmeta.comparison/1", **provenance(), **command, "episodes": asked, "methods": methods}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, _json(content) + "\n")


def _json(content: dict[str, Any]) -> str:
    """Indented, but a list of numbers on one line; what is not a number is null."""
    text = json.dumps(json.loads(json.dumps(content), parse_constant=lambda _: None), indent=1, ensure_ascii=False)
    lines, inside = [], False
    for line in text.split("\n"):
        stripped = line.strip()
        if inside:
            lines[-1] += stripped if stripped.startswith("]") else stripped + ("" if stripped[-1] != "," else " ")
            inside = not stripped.startswith("]")
        else:
            lines.append(line)
            inside = line.endswith("[")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
