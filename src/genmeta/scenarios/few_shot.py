"""The few-shot scenario: methods on the same list of episodes, with paired differences."""

from __future__ import annotations

import dataclasses
import datetime
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from genmeta.core.errors import UsageError
from genmeta.core.settings import EvaluationConfig, TrainConfig
from genmeta.engine import Evaluation, Interval, Trained, evaluate, fit_temperatures, paired, steps_to_reach, train
from genmeta.engine.run_directory import git_commit
from genmeta.engine.runtime import command_line, machine
from genmeta.engine.seen_classes import learned_from, warn_of_seen_classes
from genmeta.engine.task_sources import make_tasks, open_data, warn_of_skipped
from genmeta.methods.fine_tuning import with_fine_tuning
from genmeta.tasks import TaskDistribution
from genmeta.vision import DomainClassification
from genmeta.vision.shared_maps import MULTITASK

#: Visual task of a checkpoint -> the scenario that it comes from, where that has tasks of its own.
_OTHER_TASKS = {DomainClassification.name: "domain", MULTITASK: "multitask"}
#: Accuracies whose steps and seconds a result file gives.
LEVELS = (0.5, 0.7, 0.8, 0.9, 0.95)


def open_tasks(trained: Trained, config: EvaluationConfig, split: str = "") -> TaskDistribution:
    """The episodes of ``config`` (or of another split), with images of the shape that a checkpoint's learner reads.

    A learner that gives maps reads images of any size, so there the data spec may name another.

    Raises:
        UsageError: a checkpoint of a scenario whose tasks are other ones, or data that it cannot read.
    """
    if scenario := _OTHER_TASKS.get(trained.vision):
        raise UsageError(
            f"This checkpoint of {trained.method!r} was trained with --scenario {scenario}, whose tasks are no "
            f"few-shot episodes: score it with --scenario {scenario}."
        )
    learner = trained.meta_learner.learner.config
    data = open_data(
        config.data,
        trained.vision,
        size=learner.size,
        channels=learner.channels,
        download=config.download,
        on_bad_image=config.on_bad_image,
    )
    warn_of_skipped(data)
    expected = (learner.channels, learner.size, learner.size)
    same = data.image_shape[0] == learner.channels if trained.meta_learner.learner.gives == "map" else False
    if not same and data.image_shape != expected:
        raise UsageError(
            f"The checkpoint reads images of shape {expected}, but {config.data!r} has {data.image_shape}. "
            "Leave size and color out of the data spec, or use a checkpoint trained at that size."
        )
    if config.split != "train":
        warn_of_seen_classes(learned_from(trained.config), data, (split or config.split,), "The checkpoint")
    return make_tasks(
        data,
        trained.vision,
        split or config.split,
        ways=config.ways,
        shots=config.shots,
        queries=config.queries,
        quarter_turns=config.quarter_turns,
        min_images=config.min_images,
    )


def score(trained: Trained, config: EvaluationConfig, *, progress: bool = True) -> Evaluation:
    """Scores one checkpoint."""
    meta_learner, temperatures = trained.meta_learner, None
    if config.fine_tune:
        meta_learner = with_fine_tuning(meta_learner, config.fine_tune, config.fine_tune_lr)
    if config.calibration_tasks:
        temperatures = fit_temperatures(
            meta_learner,
            open_tasks(trained, config, "val"),
            n_tasks=config.calibration_tasks,
            steps=config.steps,
            seed=config.seed,
            samples=config.samples,
        )
    return evaluate(
        meta_learner,
        open_tasks(trained, config),
        n_tasks=config.tasks,
        steps=config.steps,
        seed=config.seed,
        samples=config.samples,
        temperatures=temperatures,
        progress=progress,
        title=f"{trained.method} on {config.data}",
    )


@dataclass(frozen=True)
class Comparison:
    """Methods side by side on the same episodes.

    Attributes:
        trained: method -> checkpoint.
        evaluations: method -> scores.
        config: the episodes.
    """

    trained: Mapping[str, Trained]
    evaluations: Mapping[str, Evaluation]
    config: EvaluationConfig

    @property
    def reference(self) -> str:
        """The method that paired differences refer to: training from scratch if it is there, else the first."""
        return "scratch" if "scratch" in self.evaluations else next(iter(self.evaluations))

    def as_json(self) -> dict[str, Any]:
        """The documented, stable object of ``genmeta compare --json``; see ``docs/result-files.md``."""
        last = self.config.steps[-1]
        base = self.evaluations[self.reference][last].accuracy
        methods = {}
        for name, evaluation in self.evaluations.items():
            methods[name] = {
                **describe_training(self.trained[name]),
                "scores": {str(step): scores.summary() for step, scores in evaluation.items()},
                "reached": {str(level): _reached(evaluation, level) for level in LEVELS},
                "paired_difference": {
                    str(step): paired(scores.accuracy, base).rounded() for step, scores in evaluation.items()
                },
            }
        return {
            "schema": "genmeta.comparison/1",
            **provenance(),
            "episodes": dataclasses.asdict(self.config),
            "reference": {"method": self.reference, "adapt_steps": last},
            "methods": methods,
            "over_seeds": over_seeds(self.trained, self.evaluations),
        }


def compare(
    runs: Mapping[str, TrainConfig],
    episodes: Sequence[EvaluationConfig],
    *,
    ready: Mapping[str, Trained] | None = None,
    progress: bool = True,
) -> list[Comparison]:
    """Trains what is missing and scores every method on the same episodes.

    Args:
        runs: method name (as the table shall show it) -> how it is trained. A finished run is reused, a begun one
            resumed.
        episodes: one comparison is made for each.
        ready: further rows that are scored as they are.
        progress: show progress bars.
    """
    trained = {
        **(ready or {}),
        **{name: train(config, resume=True, progress=progress) for name, config in runs.items()},
    }
    if not trained:
        raise UsageError("Nothing to compare: name at least one method.")
    return [
        Comparison(trained, {name: score(t, config, progress=progress) for name, t in trained.items()}, config)
        for config in episodes
    ]


def over_seeds(trained: Mapping[str, Trained], evaluations: Mapping[str, Evaluation]) -> dict[str, Any]:
    """Rows whose trainings differ by their seed alone, taken together.

    Returns:
        Name of the first such row -> ``rows``, ``seeds`` and, per number of steps, the mean of ``accuracy`` and
        ``nll`` over seeds, with the confidence interval over episodes (each episode's scores averaged over seeds) and
        the standard deviation over seeds (``_seed_std``).
    """
    groups: dict[str, list[str]] = {}
    for name, it in trained.items():
        if "seed" in it.config["training"]:  # that of photos, which a script trained, tells none
            groups.setdefault(_apart_from_seed(it), []).append(name)
    found = {}
    for names in (group for group in groups.values() if len(group) > 1):
        scores = {}
        for step in evaluations[names[0]]:
            accuracy, nll = (
                np.stack([getattr(evaluations[name][step], what) for name in names]) for what in ("accuracy", "nll")
            )
            scores[str(step)] = {**_spread("accuracy", 100 * accuracy, 3), **_spread("nll", nll, 4)}
        seeds = [trained[name].config["training"]["seed"] for name in names]
        found[names[0]] = {"rows": names, "seeds": seeds, "scores": scores}
    return found


def _apart_from_seed(trained: Trained) -> str:
    training = {k: v for k, v in trained.config["training"].items() if k not in ("seed", "run", "threads", "device")}
    return json.dumps([trained.method, trained.config["options"], training], sort_keys=True)


def _spread(name: str, values: np.ndarray, digits: int) -> dict[str, float]:
    """From ``[seeds E]``."""
    interval = Interval.of(values.mean(0))
    return {
        name: round(interval.mean, digits),
        f"{name}_ci95": round(interval.half_width, digits),
        f"{name}_seed_std": round(float(values.mean(1).std(ddof=1)), digits),
    }


def describe_training(trained: Trained) -> dict[str, Any]:
    """What a table says of how a checkpoint came about."""
    config = trained.config
    return {
        "method": config["method"],
        "options": config["options"],
        "learner": config["learner"],
        "parameters": trained.parameters,
        "generator_parameters": _beyond_learner(trained),
        "training_steps": config.get("result", {}).get("steps"),
        "training_seconds": config.get("result", {}).get("seconds"),
        "training_cpu_seconds": config.get("result", {}).get("cpu_seconds"),
        "training": config["training"],
        "trained_at": config["provenance"],
    }


def _beyond_learner(trained: Trained) -> int:
    """Parameters that the learner alone would not have: generator, encoder, row base, step sizes."""
    return trained.parameters - sum(p.numel() for p in trained.meta_learner.learner.parameters())


def provenance() -> dict[str, Any]:
    """Command, commit, machine and time of a result file."""
    return {
        "command": command_line(),
        "commit": git_commit(Path(__file__).parent),
        "machine": machine(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def _reached(evaluation: Evaluation, level: float) -> dict[str, float | int] | None:
    """The fewest scored steps to a mean accuracy of ``level`` and their milliseconds."""
    found = steps_to_reach(evaluation, level)
    return None if found is None else {"steps": found[0], "adaptation_ms": round(1000 * found[1], 3)}
