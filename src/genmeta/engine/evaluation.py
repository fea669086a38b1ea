"""Scores with confidence intervals over a seeded list of episodes, the same list for every method."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genmeta.core.errors import UsageError
from genmeta.core.randomness import seeded
from genmeta.core.types import Examples, Task
from genmeta.engine.progress import ProgressBar
from genmeta.methods import MetaLearner
from genmeta.tasks import TaskDistribution

#: Bins of the expected calibration error.
BINS = 15


@dataclass(frozen=True)
class Interval:
    """A mean and the half-width of its 95 % confidence interval over episodes, ``1.96 σ / √n``."""

    mean: float
    half_width: float

    @classmethod
    def of(cls, values: np.ndarray) -> Interval:
        """From one value per episode. A single episode has no interval: ``nan``."""
        spread = float(values.std(ddof=1)) if len(values) > 1 else float("nan")
        return cls(float(values.mean()), 1.96 * spread / len(values) ** 0.5)

    def __str__(self) -> str:
        return f"{self.mean:.2f} ± {self.half_width:.2f}"


@dataclass(frozen=True)
class StepScores:
    """Scores after some number of adaptation steps.

    Attributes:
        accuracy: ``[E]`` of each episode, a fraction in [0, 1].
        nll: ``[E]`` mean negative log-likelihood of the true class, nats per query image.
        confidence: ``[Q]`` largest probability of each query image of all episodes.
        correct: ``[Q]`` whether it was right.
        seconds: median time per task to generate the start and take the steps, one task at a time; ``nan`` if it was
            not measured.
    """

    accuracy: np.ndarray
    nll: np.ndarray
    confidence: np.ndarray
    correct: np.ndarray
    seconds: float

    @property
    def ece(self) -> float:
        """Expected calibration error, pooled over all query images of all episodes, 15 equal bins, in [0, 1]."""
        return calibration_error(self.confidence, self.correct)

    def summary(self) -> dict[str, Any]:
        """Plain numbers: accuracies in percent."""
        accuracy, nll = Interval.of(100 * self.accuracy), Interval.of(self.nll)
        return {
            "accuracy": round(accuracy.mean, 3),
            "accuracy_ci95": round(accuracy.half_width, 3),
            "nll": round(nll.mean, 4),
            "nll_ci95": round(nll.half_width, 4),
            "ece": round(100 * self.ece, 3),
            "adaptation_ms": round(1000 * self.seconds, 3),
        }


#: Adaptation steps -> scores.
Evaluation = dict[int, StepScores]


def calibration_error(confidence: np.ndarray, correct: np.ndarray) -> float:
    """``Σ_b |B_b| / n · |accuracy(B_b) − confidence(B_b)|`` over equal-width bins of confidence.

    Naeini et al., "Obtaining well calibrated probabilities using Bayesian binning", 2015.
    """
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gap = np.bincount(bins, weights=correct.astype(float) - confidence, minlength=BINS)
    return float(np.abs(gap).sum() / len(confidence))


def episodes(tasks: TaskDistribution, start: int, stop: int, seed: int) -> Task:
    """Episodes ``start..stop-1`` of the list called ``seed``; episode ``i`` does not depend on how they are batched."""
    drawn = [tasks.sample(1, rng=seeded(seed, "episode", i)) for i in range(start, stop)]
    if len({(task.ways, task.support.images.shape[1]) for task in drawn}) > 1:
        raise UsageError("Evaluation needs fixed ways and shots, such as ways=5 and shots=1, not ranges.")

    def together(parts: list[Examples]) -> Examples:
        return Examples(torch.cat([p.images for p in parts]), torch.cat([p.targets for p in parts]))

    support, query = together([t.support for t in drawn]), together([t.query for t in drawn])
    return Task(support, query, drawn[0].ways, torch.cat([t.class_ids for t in drawn]))


def evaluate(
    meta_learner: MetaLearner,
    tasks: TaskDistribution,
    *,
    n_tasks: int = 600,
    steps: Sequence[int] = (0, 1, 5),
    seed: int = 0,
    samples: int = 0,
    time_tasks: int = 10,
    progress: bool = False,
    title: str = "evaluating",
) -> Evaluation:
    """Adapts to episodes and scores their queries after given numbers of steps.

    Predictions are inductive: each query image is classified on its own. With several samples of the start, the
    probabilities are averaged.

    Args:
        meta_learner: what to score.
        tasks: with fixed ways and shots.
        n_tasks: number of episodes ``E``.
        steps: after how many adaptation steps to score.
        seed: names the list of episodes; equal seeds give equal episodes for every method.
        samples: draws ``S`` of the start for each task; 0 for the method's own number.
        time_tasks: episodes to time one by one; 0 for none.
        progress: show a bar.
        title: of the bar.

    Raises:
        UsageError: no episodes, or no steps or negative ones.
    """
    steps = tuple(sorted(set(steps)))
    if n_tasks < 1 or not steps or steps[0] < 0:
        raise UsageError(f"Evaluation needs 1 or more tasks and steps of 0 or more, got {n_tasks} and {steps}.")
    meta_learner.eval()
    samples = samples or meta_learner.samples
    device = meta_learner.scales.device
    probabilities: dict[int, list[Tensor]] = {step: [] for step in steps}
    targets: list[Tensor] = []
    batch = meta_learner.chunks(episodes(tasks, 0, 1, seed))[0]
    images = batch.support.images.shape[1] + batch.query.images.shape[1]
    size = meta_learner.tasks_per_chunk or max(1, 960 // (images * samples))
    with torch.no_grad(), ProgressBar(title, n_tasks, show=progress) as bar:
        for at in range(0, n_tasks, size):
            task = episodes(tasks, at, min(at + size, n_tasks), seed).to(device)
            rng = seeded(seed, "start", at)
            outputs, *_ = meta_learner.answers(task, steps[-1], rng, at=steps, samples=samples)
            for step, logits in outputs.items():
                pooled = meta_learner.pooled(logits.double(), task.n_tasks)
                probabilities[step].append(torch.log_softmax(pooled, -1).cpu())
            targets.append(task.query.targets.cpu())
            bar.update(at + task.n_tasks)
    truth = torch.cat(targets)
    seconds = _time(meta_learner, tasks, steps, seed, time_tasks, samples)
    return {step: _scores(torch.cat(parts), truth, seconds[step]) for step, parts in probabilities.items()}


def _scores(log_probabilities: Tensor, truth: Tensor, seconds: float) -> StepScores:
    nll = -log_probabilities.gather(-1, truth[..., None])[..., 0]
    confidence, guess = log_probabilities.max(-1)
    correct = guess == truth
    return StepScores(
        accuracy=correct.double().mean(1).numpy(),
        nll=nll.mean(1).numpy(),
        confidence=confidence.exp().flatten().numpy(),
        correct=correct.flatten().numpy(),
        seconds=seconds,
    )


def _time(
    meta_learner: MetaLearner, tasks: TaskDistribution, steps: Sequence[int], seed: int, count: int, samples: int
) -> dict[int, float]:
    if count < 1:
        return dict.fromkeys(steps, float("nan"))
    took: dict[int, list[float]] = {step: [] for step in steps}
    for i in range(count + 1):
        task = episodes(tasks, i, i + 1, seed).to(meta_learner.scales.device)
        one = task._replace(query=Examples(task.query.images[:, :1], task.query.targets[:, :1]))
        for step in steps:
            began = time.perf_counter()
            with torch.no_grad():
                answers, *_ = meta_learner.answers(one, step, seeded(seed, "time", i), samples=samples)
                answers[step].sum().item()  # waits for the device
            if i:  # the first is a warm-up
                took[step].append(time.perf_counter() - began)
    return {step: float(np.median(times)) for step, times in took.items()}


def paired(first: np.ndarray, second: np.ndarray) -> Interval:
    """The difference ``first − second`` episode by episode, in percent points, with its confidence interval."""
    if first.shape != second.shape:
        raise UsageError(f"Paired scores need the same episodes, got {first.shape} and {second.shape}.")
    return Interval.of(100 * (first - second))


def steps_to_reach(evaluation: Evaluation, accuracy: float) -> tuple[int, float] | None:
    """The fewest scored steps whose mean accuracy is at least ``accuracy``, and their seconds; ``None`` if none is."""
    for step in sorted(evaluation):
        if evaluation[step].accuracy.mean() >= accuracy:
            return step, evaluation[step].seconds
    return None
