"""Task sequences: tasks come one after the other, and are asked for again at the end.

Three questions of rising difficulty (van de Ven and Tolias, "Three scenarios for continual learning", 2019,
https://arxiv.org/abs/1904.07734): the task is told; it is not told, and which of its classes is asked; the class
among all classes of all tasks is asked.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from genmeta.core.errors import DataError
from genmeta.core.randomness import numpy_rng, seeded
from genmeta.data.classes import ImageClasses
from genmeta.engine.scores import Interval
from genmeta.methods.continual import ContinualConfig, ContinualHypernetwork

#: Of each class's images, the share kept for scoring.
HELD_OUT = 0.2


@dataclass(frozen=True)
class SequenceScores:
    """Accuracies on held-out images of all tasks after the last task, a fraction in [0, 1], one value a seed.

    Attributes:
        task_known: which of the told task's classes.
        domain: which class of its task, the task not told.
        class_incremental: which class of all, the task not told.
        first_task: ``task_known`` on the first task alone; what forgetting shows in first.
        inferred: how often the task was inferred rightly.
    """

    task_known: np.ndarray
    domain: np.ndarray
    class_incremental: np.ndarray
    first_task: np.ndarray
    inferred: np.ndarray

    def summary(self) -> dict[str, dict[str, float]]:
        """Means over seeds in percent, with 95 % confidence intervals over seeds."""
        return {
            name: {"mean": round(i.mean, 3), "ci95": round(i.half_width, 3)}
            for name, values in vars(self).items()
            for i in [Interval.of(100 * values)]
        }


def score_sequence(
    data: ImageClasses, config: ContinualConfig, *, seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
) -> SequenceScores:
    """Learns the classes of a data set ``config.classes`` at a time, in an order drawn from the seed, and scores.

    Raises:
        DataError: the classes do not divide into tasks.
    """
    count = len(data.class_names)
    if count % config.classes or count < 2 * config.classes:
        raise DataError(
            f"{count} classes of {data.name!r} do not make two or more tasks of {config.classes}: change classes."
        )
    each = [_one(data, config, seed) for seed in seeds]
    return SequenceScores(*(np.array(values) for values in zip(*each, strict=True)))


def _one(data: ImageClasses, config: ContinualConfig, seed: int) -> tuple[float, ...]:
    random = numpy_rng(seeded(seed, "sequence"))
    order = random.permutation(len(data.class_names)).reshape(-1, config.classes)
    model = ContinualHypernetwork(config, seeded(seed, "hypernetwork"))
    images, tasks, labels = [], [], []
    for number, classes in enumerate(order):
        shown, targets = [], []
        for label, k in enumerate(classes):
            where = random.permutation(np.arange(data.offsets[k], data.offsets[k + 1]))
            kept = round(HELD_OUT * len(where))
            pixels = torch.from_numpy(data.images[where]).float().div(255).flatten(1)
            images.append(pixels[:kept])
            tasks.append(torch.full((kept,), number))
            labels.append(torch.full((kept,), label))
            shown.append(pixels[kept:])
            targets.append(torch.full((len(where) - kept,), label))
        model.learn(torch.cat(shown), torch.cat(targets))
    return _scores(model, torch.cat(images), torch.cat(tasks), torch.cat(labels))


def _scores(model: ContinualHypernetwork, images: Tensor, tasks: Tensor, labels: Tensor) -> tuple[float, ...]:
    logits = model.answers(images)  # [T N K]
    own = logits[tasks, torch.arange(len(tasks))].argmax(-1)
    best, answered = logits.max(-1)  # under each task
    inferred = best.argmax(0)
    answered = answered.gather(0, inferred[None])[0]
    right = answered == labels
    values = (
        own == labels,
        right,
        right & (inferred == tasks),
        (own == labels)[tasks == 0],
        inferred == tasks,
    )
    return tuple(float(v.double().mean()) for v in values)
