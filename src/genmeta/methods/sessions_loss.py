"""Trains rows to be appended: the classes of an episode arrive in sessions, and queries are asked among all of them."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from genmeta.core.errors import UsageError
from genmeta.core.types import ROWS, Examples, Logs, Task
from genmeta.methods.meta_learner import MetaLearner
from genmeta.methods.objectives import Loss, Objective


class SessionsLoss(Objective):
    """``Σ_T L_Q([G(S₀); G(S₁); …])``: rows of each session are written from that session alone, then joined.

    In ordinary episodes the rows of all classes are written together and may lean on each other; rows that are
    appended to older ones may not. The sessions of an episode are drawn anew each time: a base of about half the
    classes, then sessions of 1 to ``most`` classes.

    Args:
        most: classes of a session that is not the base.
    """

    def __init__(self, most: int = 5) -> None:
        super().__init__()
        self.most = most

    def losses(self, meta_learner: MetaLearner, task: Task, rng: torch.Generator) -> Iterator[Loss]:
        if meta_learner.spec.shared or meta_learner.writer is not None or meta_learner.samples != 1:
            raise UsageError(
                "Sessions of classes share one network, so only rows can be written for them. Use --generate rows and "
                "a method that writes one start, such as hypernet."
            )
        groups = _groups(task.ways, self.most, rng)
        for chunk in meta_learner.chunks(task):
            written, cost, base = [], torch.zeros(chunk.n_tasks), None
            for group in groups:
                support = _of_classes(chunk.support, group)
                start = meta_learner.start(support, len(group), rng, samples=1, row_base=base)
                base = base or meta_learner.later(support, len(group))
                written.append(start.weights[ROWS])
                cost = cost.to(start.cost) + start.cost / len(groups)
            features, _ = meta_learner.learner.features(chunk.query.images)
            outputs = meta_learner.vision.outputs(features, torch.cat(written, 1))
            query_loss = meta_learner.vision.loss(outputs, chunk.query.targets)
            share = chunk.n_tasks / task.n_tasks
            logs: Logs = {"loss": query_loss.detach().mean(), **meta_learner.vision.logs(outputs, chunk.query.targets)}
            yield Loss((query_loss + cost).mean() * share, logs, share)


def _groups(ways: int, most: int, rng: torch.Generator) -> list[range]:
    """Class numbers cut into a base of about half of them and sessions of 1 to ``most``."""
    ends = [max(1, ways // 2)]
    while ends[-1] < ways:
        ends.append(min(ways, ends[-1] + int(torch.randint(1, most + 1, (), generator=rng))))
    return [range(a, b) for a, b in zip([0, *ends[:-1]], ends, strict=True)]


def _of_classes(examples: Examples, group: range) -> Examples:
    """The examples of some classes, numbered from 0. Every task has equally many of each class."""
    numbers = examples.labels
    inside = (numbers >= group[0]) & (numbers <= group[-1])
    where: Tensor = inside.int().argsort(dim=1, descending=True, stable=True)[:, : int(inside[0].sum())]
    rows = torch.arange(len(where), device=where.device)[:, None]
    return Examples(examples.images[rows, where], numbers[rows, where] - group[0])
