"""How each row is scored: checkpoints as they are; baselines at the learning rate that is best on validation tasks."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import settings
import torch
from template_matching import Settings, template_matching

from genmeta.core.files import write_json
from genmeta.core.randomness import seeded
from genmeta.core.settings import EvaluationConfig
from genmeta.core.types import Boxes, Task
from genmeta.data import open_scenes
from genmeta.engine import Interval, evaluate, load
from genmeta.engine.evaluation import episodes
from genmeta.generators import Particles, PrototypeRow
from genmeta.learners import LearnerConfig, build_learner
from genmeta.methods import MetaLearner, build_method
from genmeta.methods.fine_tuning import with_fine_tuning
from genmeta.scenarios.few_shot import describe_training
from genmeta.tasks import DetectionTasks
from genmeta.vision import Detection
from genmeta.vision.average_precision import BoxSet, average_precision


def score(row: str, name: str, runs: Path) -> dict[str, Any]:
    """Scores of a row on a set of episodes, with AP50 of every episode."""
    config, real = settings.SETS[name], settings.is_real(name)
    size = settings.METHODS["photo"]["size"] if real else 64
    config = dataclasses.replace(config, tasks=settings.episodes_of(row, name))
    if row == settings.TEMPLATES:
        return _templates(config, size)
    if row in settings.METHODS:
        trained = load(runs / row)
        # particles were trained for their start; steps on all their weights take longer than all other rows together
        steps = (0,) if row == "bmaml" else config.steps
        return {**describe_training(trained), **_scored(trained.meta_learner, config, size, steps)}
    steps = config.steps
    if row == settings.TWO:
        return {"method": row, **_scored(_both(runs), config, size, (0,))}
    if row == settings.LONG:
        steps = (10 * steps[-1],)
    make = _maker(row, runs, real)
    rate = _best_rate(row, make, runs, real)
    about: dict[str, Any] = {"method": row}
    if row == settings.EVERY:
        about = describe_training(load(runs / "hypernet"))
    return {**about, "options": {"inner_lr": rate}, **_scored(make(rate), config, size, steps)}


def _both(runs: Path) -> MetaLearner:
    """Both prototype networks as two particles that nothing has trained together, each at its own temperature."""
    one, two = (load(runs / name).meta_learner for name in ("protonet", "protonet-2"))
    options = {"generate": "all", "particles": 2, "inner_steps": 0}
    both = build_method("bmaml", one.learner, vision=Detection(), options=options)
    if not (isinstance(both.writer, Particles) and isinstance(one.row_base, PrototypeRow)):
        raise TypeError("particles of prototype networks")
    both.writer.begin_at([it.learner.own_weights() for it in (one, two)])
    both.row_base = one.row_base
    with torch.no_grad():
        # rows of prototypes are as long as the temperature says
        both.writer.row_factors[1] = (two.row_base.log_temperature - one.row_base.log_temperature).exp() - 1
    return both.eval()


def _maker(row: str, runs: Path, real: bool) -> Callable[[float], MetaLearner]:
    """A baseline, or the generated start under Adam, for a learning rate."""
    if row in (settings.SCRATCH, settings.LONG):
        base = settings.training("base", runs)
        config = LearnerConfig(base.learner, width=base.width, channels=3, size=64, extra=Detection.extra_channels)
        blank = build_learner(config, seeded(0, "scratch"))
        return lambda rate: build_method("scratch", blank, vision=Detection(), options=_adam(rate))
    if row == settings.EVERY:
        generated = load(runs / "hypernet").meta_learner
        return lambda rate: with_fine_tuning(generated, "all", rate)
    trained = load(runs / ("photo" if real else "base")).meta_learner
    if row == settings.ADAM:
        return lambda rate: with_fine_tuning(trained, "film", rate)  # what a hypernetwork writes
    return lambda rate: build_method(
        "finetune", trained.learner, vision=Detection(), options={"generate": "head", **_adam(rate)}
    )


def _adam(rate: float) -> dict[str, Any]:
    return {"inner_lr": rate, "inner_rule": "adam"}


def _best_rate(row: str, make: Callable[[float], MetaLearner], runs: Path, real: bool) -> float:
    """The learning rate that is best on validation tasks after as many steps as are scored; kept in a file."""
    if row in (settings.SCRATCH, settings.LONG):
        row, real = settings.SCRATCH, False  # slow and far behind: chosen once
    kept = runs / "scores" / "rates" / f"{row.replace(' ', '-')}-{'photos' if real else 'painted'}.json"
    if not kept.exists():
        config = settings.SETS["raccoon" if real else "scripts-3w1s"]
        data = settings.PHOTO_CHOICE if real else "scenes"
        size = settings.METHODS["photo"]["size"] if real else 64
        tasks = _open(data, "val", 3, config, size)
        count = settings.PHOTO_VALIDATION_TASKS if real else settings.VALIDATION_TASKS
        steps = config.steps[-1]
        found = {
            rate: float(
                evaluate(make(rate), tasks, n_tasks=count, steps=(steps,), seed=1, time_tasks=0)[steps].accuracy.mean()
            )
            for rate in settings.RATES
        }
        write_json(kept, {"ap50_by_rate": found, "best": max(found, key=lambda rate: found[rate])})
    return float(json.loads(kept.read_text(encoding="utf-8"))["best"])


def _open(data: str, split: str, ways: int, config: EvaluationConfig, size: int) -> DetectionTasks:
    source = open_scenes(data, size=size, channels=3, on_bad_image="skip")
    return DetectionTasks(source, split, ways=ways, shots=config.shots, queries=config.queries)


def _scored(meta_learner: MetaLearner, config: EvaluationConfig, size: int, steps: tuple[int, ...]) -> dict[str, Any]:
    tasks = _open(config.data, config.split, config.ways, config, size)
    began = time.process_time()
    found = evaluate(meta_learner, tasks, n_tasks=config.tasks, steps=steps, seed=config.seed, time_tasks=0)
    seconds = (time.process_time() - began) / config.tasks
    return {
        "scores": {str(step): scores.summary() for step, scores in found.items()},
        "ap50_of_episode": {str(step): np.round(scores.accuracy, 4).tolist() for step, scores in found.items()},
        # generating, all steps, and answering and scoring the queries after each number of them
        "cpu_seconds_per_task": round(seconds, 3),
    }


def _templates(config: EvaluationConfig, size: int) -> dict[str, Any]:
    choices = [Settings(colour, either) for colour in (False, True) for either in (False, True)]
    if config.data.startswith("coco:"):
        best = Settings(colour=True, either=False)  # objects keep their colours on photos
    else:
        validation = _open(config.data, "val", config.ways, config, size)
        tried = {choice: _matched(validation, choice, settings.VALIDATION_TASKS, 1)[0].mean() for choice in choices}
        best = max(choices, key=lambda choice: tried[choice])
    tasks = _open(config.data, config.split, config.ways, config, size)
    ap50, ap, seconds = _matched(tasks, best, config.tasks, config.seed)
    main, strict = Interval.of(100 * ap50), Interval.of(100 * ap)
    summary = {
        "ap50": round(main.mean, 3),
        "ap50_ci95": round(main.half_width, 3),
        "ap": round(strict.mean, 3),
        "ap_ci95": round(strict.half_width, 3),
    }
    return {
        "method": settings.TEMPLATES,
        "options": best._asdict(),
        "scores": {"0": summary},
        "ap50_of_episode": {"0": np.round(ap50, 4).tolist()},
        "cpu_seconds_per_task": round(seconds, 3),
    }


def _matched(tasks: DetectionTasks, how: Settings, count: int, seed: int) -> tuple[np.ndarray, np.ndarray, float]:
    """AP50 and AP of each episode, and the mean of the seconds that an episode takes."""
    ap50, ap, began = [], [], time.process_time()
    for i in range(count):
        task: Task = episodes(tasks, i, i + 1, seed)
        found = template_matching(task.support, task.query, task.ways - 1, how)
        if not isinstance(task.query.targets, Boxes):
            raise TypeError("detection tasks have boxes")
        boxes, labels = (leaf[0].numpy() for leaf in task.query.targets)
        truth = [BoxSet(b, k - (k > 0)) for b, k in zip(boxes, labels, strict=True)]
        one = average_precision(truth, found, task.ways - 1)
        ap50.append(np.nan_to_num(one.ap50))
        ap.append(np.nan_to_num(one.ap))
    return np.array(ap50), np.array(ap), (time.process_time() - began) / count
