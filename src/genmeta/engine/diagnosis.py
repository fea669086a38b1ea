"""What to say of tasks whose loss is not finite: which they are, and whether their inner loop diverged."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from genmeta.core.randomness import seeded
from genmeta.core.types import Task
from genmeta.methods import MetaLearner
from genmeta.tasks import TaskDistribution


def inner_losses(meta_learner: MetaLearner, task: Task) -> Tensor:
    """Support losses along the inner loop.

    Args:
        meta_learner: what adapts.
        task: a batch of ``T`` tasks.

    Returns:
        ``[k+1 T]`` nats, after 0 … ``k`` adaptation steps.
    """
    steps = meta_learner.inner_steps
    with torch.no_grad():
        # a query that is the support set: how well the adapted weights do on what they were adapted to
        outputs, *_ = meta_learner.answers(
            task._replace(query=task.support), steps, seeded("diagnosis"), at=tuple(range(steps + 1))
        )
        return torch.stack(
            [
                meta_learner.vision.loss(meta_learner.pooled(outputs[step], task.n_tasks), task.support.targets)
                for step in range(steps + 1)
            ]
        )


def verdict(losses: Sequence[float]) -> str:
    """What the support losses of one inner loop say of it; empty where it did what it should."""
    last = losses[-1]
    if len(losses) > 1 and not (math.isfinite(last) and last <= 2 * losses[0] + 1):
        shown = ", ".join(f"{loss:.3g}" for loss in losses[:6]) + (", ..." if len(losses) > 6 else "")
        return f"its inner loop diverged: the support loss went {shown}"
    return ""


def describe_fault(
    meta_learner: MetaLearner, task: Task, source: TaskDistribution, step: int, start: float, stop: float
) -> str:
    """Names the tasks between two fractions of a batch, with their classes, and tells of inner loops that diverged.

    Args:
        meta_learner: as it is now.
        task: the batch; ``task.first`` is its place in the meta-batch.
        source: where its classes have names.
        step: of the meta-training.
        start: fraction of the batch at which the tasks begin.
        stop: fraction of the batch at which they end.
    """
    first, last = round(start * task.n_tasks), max(round(stop * task.n_tasks), round(start * task.n_tasks) + 1)
    part = task.slice(first, last)
    told = []
    for i, losses in enumerate(inner_losses(meta_learner, part).T.tolist()):
        if text := verdict(losses):
            told.append(f"task {part.first + i}: {text}")
    numbers = f"task {part.first}" if part.n_tasks == 1 else f"tasks {part.first} to {part.first + part.n_tasks - 1}"
    names = ", ".join(source.class_name(int(c)) for c in part.class_ids[0])
    about = f"{numbers} of step {step} (classes {names}{', ...' if part.n_tasks > 1 else ''})"
    return about + (f" [{'; '.join(told)}]" if told else "")
