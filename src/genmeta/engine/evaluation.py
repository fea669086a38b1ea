"""Adapts to a seeded list of episodes, the same list for every method, and scores their queries."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from genmeta.core.errors import DivergenceWarning, UsageError
from genmeta.core.randomness import seeded
from genmeta.core.types import ROWS, Task, concatenate
from genmeta.engine.calibration import fit_temperature, scaled
from genmeta.engine.embedding import embedded
from genmeta.engine.map_evaluation import FEW_CLASSES, Tally
from genmeta.engine.progress import ProgressBar
from genmeta.engine.runtime import check_precision
from genmeta.engine.scores import CalibratedScores, DrawScores, Evaluation, StepScores
from genmeta.engine.workers import ALONE, Workers, in_turn
from genmeta.methods import MetaLearner
from genmeta.methods.diversity import centred, diversity
from genmeta.methods.meta_learner import image_weight
from genmeta.tasks import TaskDistribution

#: Episodes whose generated rows are kept to measure how diverse they are.
DIVERSITY_TASKS = 64


def episodes(tasks: TaskDistribution, start: int, stop: int, seed: int) -> Task:
    """Episodes ``start..stop-1`` of the list called ``seed``; episode ``i`` does not depend on how they are batched."""
    drawn = [tasks.sample(1, rng=seeded(seed, "episode", i)) for i in range(start, stop)]
    if len({(task.ways, task.support.images.shape[1]) for task in drawn}) > 1:
        raise UsageError("Evaluation needs fixed ways and shots, such as ways=5 and shots=1, not ranges.")
    support, query = concatenate([t.support for t in drawn]), concatenate([t.query for t in drawn])
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
    temperatures: Mapping[int, float] | None = None,
    progress: bool = False,
    title: str = "evaluating",
    workers: Workers = ALONE,
) -> Evaluation:
    """Adapts to episodes and scores their queries after given numbers of steps.

    Predictions are inductive: each query image is answered on its own. With several samples of the start, the
    probabilities are averaged, and those of the first draw alone are scored beside them.

    Args:
        meta_learner: what to score.
        tasks: with fixed ways and shots.
        n_tasks: number of episodes ``E``.
        steps: after how many adaptation steps to score.
        seed: names the list of episodes; equal seeds give equal episodes for every method.
        samples: draws ``S`` of the start for each task; 0 for the method's own number.
        time_tasks: episodes to time one by one; 0 for none.
        temperatures: step -> temperature, see :func:`fit_temperatures`; scores after scaling are added.
        progress: show a bar.
        title: of the bar.
        workers: the processes that share the episodes; each returns the scores of all.

    Raises:
        UsageError: no episodes, or no steps or negative ones.
    """
    steps = tuple(sorted(set(steps)))
    if n_tasks < 1 or not steps or steps[0] < 0:
        raise UsageError(f"Evaluation needs 1 or more tasks and steps of 0 or more, got {n_tasks} and {steps}.")
    check_precision(meta_learner)
    samples = samples or meta_learner.samples
    seconds = _time(meta_learner, tasks, steps, seed, time_tasks, samples)
    if meta_learner.vision.reads == "map":
        return _map_scores(meta_learner, tasks, n_tasks, steps, seed, samples, progress, title, seconds, workers)
    answered = _answer(meta_learner, tasks, n_tasks, steps, seed, samples, progress, title, workers)
    return {step: _scores(answered[step], seconds[step], (temperatures or {}).get(step)) for step in steps}


def _map_scores(
    meta_learner: MetaLearner,
    tasks: TaskDistribution,
    n_tasks: int,
    steps: tuple[int, ...],
    seed: int,
    samples: int,
    progress: bool,
    title: str,
    seconds: Mapping[int, float],
    workers: Workers,
) -> Evaluation:
    meta_learner.eval()
    device = meta_learner.scales.device
    tallies = {step: Tally(meta_learner, samples) for step in steps}
    one = episodes(tasks, 0, 1, seed)
    images = (one.support.images.shape[1] + one.query.images.shape[1]) * image_weight(meta_learner, one) * samples
    size = meta_learner.tasks_per_chunk or max(1, 960 // images)
    with torch.no_grad(), ProgressBar(title, n_tasks, show=progress) as bar:
        for at in range(size * workers.rank, n_tasks, size * workers.size):
            task = episodes(tasks, at, min(at + size, n_tasks), seed).to(device)
            outputs, *_ = meta_learner.answers(task, steps[-1], seeded(seed, "start", at), at=steps, samples=samples)
            for step, values in outputs.items():
                tallies[step].add(values, task)
            bar.update(at + task.n_tasks)
    names = [tasks.class_name(k) for k in range(tasks.n_classes)] if tasks.n_classes <= FEW_CLASSES else []
    out: Evaluation = {}
    for step, tally in tallies.items():
        total = Tally.of(workers.gather(tally)).total(names)
        warn_of_divergence(step, total.diverged, n_tasks)
        scores, extra = total.scores, dict(total.scores.extra)
        if total.first is not None:
            extra["single_draw"] = total.first
        out[step] = StepScores(
            scores.main,
            scores.nll,
            scores.confidence,
            scores.correct,
            seconds[step],
            metric=meta_learner.vision.score,
            extra=extra,
            classes=total.by_class,
        )
    return out


def fit_temperatures(
    meta_learner: MetaLearner,
    tasks: TaskDistribution,
    *,
    n_tasks: int = 100,
    steps: Sequence[int] = (0, 1, 5),
    seed: int = 0,
    samples: int = 0,
) -> dict[int, float]:
    """The temperature that predicts the queries of some tasks best, for each number of steps.

    Args:
        meta_learner: whose predictions to scale.
        tasks: not those to be scored, e.g. of validation classes.
        n_tasks: number of episodes.
        steps: after how many adaptation steps.
        seed: names the list of episodes.
        samples: draws of the start for each task; 0 for the method's own number.

    Raises:
        UsageError: a visual task other than classification.
    """
    if meta_learner.vision.reads != "vector":
        raise UsageError(f"A temperature is fitted to classification, not to {meta_learner.vision.name}: leave it out.")
    steps, samples = tuple(sorted(set(steps))), samples or meta_learner.samples
    answered = _answer(meta_learner, tasks, n_tasks, steps, seed, samples, progress=False, title="")
    return {step: fit_temperature(found.log_probabilities, found.truth) for step, found in answered.items()}


class _Answers(NamedTuple):
    """Predictions for the queries of all episodes after some number of steps.

    Attributes:
        log_probabilities: ``[E N K]`` of the average over draws.
        truth: ``[E N]``.
        first: ``[E N K]`` log-probabilities of the first draw; ``None`` with one draw.
        second: ``[E N]`` what the second draw answers.
        rows: ``[S E K R]`` written rows of the first episodes, centred over classes.
    """

    log_probabilities: Tensor
    truth: Tensor
    first: Tensor | None = None
    second: Tensor | None = None
    rows: Tensor | None = None


def _answer(
    meta_learner: MetaLearner,
    tasks: TaskDistribution,
    n_tasks: int,
    steps: tuple[int, ...],
    seed: int,
    samples: int,
    progress: bool,
    title: str,
    workers: Workers = ALONE,
) -> dict[int, _Answers]:
    meta_learner.eval()
    device = meta_learner.scales.device
    parts: dict[int, list[_Answers]] = {step: [] for step in steps}
    batch = meta_learner.chunks(episodes(tasks, 0, 1, seed))[0]
    images = batch.support.images.shape[1] + batch.query.images.shape[1]
    tasks = embedded(meta_learner, tasks, n_tasks * images) or tasks
    # draws that write rows alone share the features of their task
    copies = samples if meta_learner.spec.shared else 1
    size = meta_learner.tasks_per_chunk or max(1, 960 // (images * copies))
    with torch.no_grad(), ProgressBar(title, n_tasks, show=progress) as bar:
        for at in range(size * workers.rank, n_tasks, size * workers.size):
            task = episodes(tasks, at, min(at + size, n_tasks), seed).to(device)
            rng = seeded(seed, "start", at)
            outputs, _, trajectory = meta_learner.answers(task, steps[-1], rng, at=steps, samples=samples)
            for step, logits in outputs.items():
                pooled = meta_learner.pooled(logits.double(), task.n_tasks)
                found = _Answers(torch.log_softmax(pooled, -1).cpu(), task.query.labels.cpu())
                if samples > 1:
                    each = torch.log_softmax(logits.double(), -1).unflatten(0, (-1, samples)).cpu()
                    rows = None
                    if at < DIVERSITY_TASKS:
                        rows = centred(trajectory[step][ROWS].flatten(0, 1), task.ways)
                        rows = rows.unflatten(0, (task.n_tasks, samples, task.ways)).transpose(0, 1).cpu()
                    found = found._replace(first=each[:, 0], second=each[:, 1].argmax(-1), rows=rows)
                parts[step].append(found)
            bar.update(at + task.n_tasks)
    answered = {step: _joined(found) for step, found in _gathered(workers, parts).items()}
    for step, found in answered.items():
        warn_of_divergence(step, int(found.log_probabilities.isnan().flatten(1).any(1).sum()), n_tasks)
    return answered


def warn_of_divergence(step: int, diverged: int, n_tasks: int) -> None:
    """Says how many tasks of an evaluation have answers that are not finite, if any."""
    if diverged:
        warnings.warn(
            f"After {step} steps of adaptation {diverged} of {n_tasks} tasks have answers that are not finite: the "
            "inner loop diverged. They count as wrong. Lower the method's inner_lr, or take fewer steps.",
            DivergenceWarning,
            stacklevel=4,
        )


def _gathered(workers: Workers, parts: dict[int, list[_Answers]]) -> dict[int, list[_Answers]]:
    """The batches of all processes, in the order in which one process alone takes them."""
    everyone = workers.gather(parts)
    return {step: in_turn([found[step] for found in everyone]) for step in parts}


def _joined(parts: list[_Answers]) -> _Answers:
    log_probabilities, truth = (torch.cat([part[i] for part in parts]) for i in (0, 1))  # type: ignore[misc]
    if parts[0].first is None:
        return _Answers(log_probabilities, truth)
    first, second = (torch.cat([part[i] for part in parts]) for i in (2, 3))  # type: ignore[misc]
    rows = torch.cat([part.rows for part in parts if part.rows is not None], 1)
    return _Answers(log_probabilities, truth, first, second, rows)


def _scores(found: _Answers, seconds: float, temperature: float | None) -> StepScores:
    accuracy, nll, confidence, correct = _judged(found.log_probabilities, found.truth)
    draws = calibrated = None
    if found.first is not None and found.second is not None and found.rows is not None:
        single, single_nll, *_ = _judged(found.first, found.truth)
        disagreement = (found.first.argmax(-1) != found.second).double().mean().item()
        draws = DrawScores(single, single_nll, disagreement, diversity(found.rows))
    if temperature is not None:
        _, scaled_nll, scaled_confidence, _ = _judged(scaled(found.log_probabilities, temperature), found.truth)
        calibrated = CalibratedScores(temperature, scaled_nll, scaled_confidence)
    return StepScores(accuracy, nll, confidence, correct, seconds, draws, calibrated)


def _judged(log_probabilities: Tensor, truth: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Accuracy and likelihood of each episode, confidence and correctness of each query image.

    Where probabilities are not finite, adaptation has diverged: wrong, with no confidence at all.
    """
    diverged = log_probabilities.isnan().any(-1)
    log_probabilities = log_probabilities.masked_fill(diverged[..., None], -math.inf)
    nll = -log_probabilities.gather(-1, truth[..., None])[..., 0]
    confidence, guess = log_probabilities.max(-1)
    correct = (guess == truth) & ~diverged
    accuracy = correct.double().mean(1).numpy()
    return accuracy, nll.mean(1).numpy(), confidence.exp().flatten().numpy(), correct.flatten().numpy()


def _time(
    meta_learner: MetaLearner, tasks: TaskDistribution, steps: Sequence[int], seed: int, count: int, samples: int
) -> dict[int, float]:
    if count < 1:
        return dict.fromkeys(steps, float("nan"))
    took: dict[int, list[float]] = {step: [] for step in steps}
    for i in range(count + 1):
        task = episodes(tasks, i, i + 1, seed).to(meta_learner.scales.device)
        one = task._replace(query=task.query.only(0, 1))
        for step in steps:
            began = time.perf_counter()
            with torch.no_grad():
                answers, *_ = meta_learner.answers(one, step, seeded(seed, "time", i), samples=samples)
                answers[step].sum().item()  # waits for the device
            if i:  # the first is a warm-up
                took[step].append(time.perf_counter() - began)
    return {step: float(np.median(times)) for step, times in took.items()}
