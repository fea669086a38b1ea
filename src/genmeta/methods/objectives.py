"""What trains a meta-learner: objectives yield losses to back-propagate, one chunk of tasks at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from genmeta.core.errors import unknown
from genmeta.core.types import ROWS, Examples, Logs, Task
from genmeta.methods.meta_learner import MetaLearner
from genmeta.tasks import TaskDistribution


class Loss(NamedTuple):
    """A loss to back-propagate now.

    Attributes:
        value: scalar.
        logs: numbers worth a line in the log; averaged over the parts of a step, weighted by ``share``.
        share: fraction of the meta-batch this part stands for.
        player: whose optimiser steps on it: ``learner``, or a name from :meth:`Objective.players`.
        closes: the player's optimiser steps right after this part. The learner's steps at the end of the meta-step in
            any case.
    """

    value: Tensor
    logs: Logs
    share: float
    player: str = "learner"
    closes: bool = False


@dataclass(frozen=True)
class Setting:
    """What an objective may know of the training it serves.

    Attributes:
        sources: the training tasks, one distribution per data set.
        seed: of the run.
        directory: the run directory, for what an objective wants to keep between resumptions; ``None`` where another
            process of the run keeps it.
    """

    sources: tuple[TaskDistribution, ...]
    seed: int
    directory: Path | None

    @property
    def n_classes(self) -> int:
        """Training classes of all sources, quarter turns included."""
        return sum(source.n_classes for source in self.sources)


class PlayerConfig(NamedTuple):
    """An optimiser beside the learner's: Adam with these settings."""

    parameters: list[nn.Parameter]
    lr: float
    betas: tuple[float, float] = (0.5, 0.9)


class Objective(nn.Module, ABC):
    """Trains a meta-learner; owns what only training needs (a classifier over all training classes, a critic)."""

    @property
    def averaging(self) -> float:
        """Decay of the average of the meta-learner's weights that is validated and kept; 0 for the weights as are."""
        return 0.0

    def players(self) -> dict[str, PlayerConfig]:
        """Parameters of this module that another optimiser moves (a critic's): name -> parameters and learning rate."""
        return {}

    def begin(self, step: int, steps: int) -> None:
        """Tells, before :meth:`losses`, which of how many meta-steps is next; for weights that change over training."""

    @abstractmethod
    def losses(self, meta_learner: MetaLearner, task: Task, rng: torch.Generator) -> Iterator[Loss]:
        """Losses whose gradients add up to that of one meta-step; back-propagate each before taking the next."""


class QueryLoss(Objective):
    """``Σ_T L_Q(U_k(G(S); S)) / T`` plus the generator's own cost.

    Args:
        on: ``last`` scores the adapted weights; ``both`` the mean of the generated start and the adapted weights, so
            that a start is good before and after its steps; ``all`` the mean over every step (multi-step loss,
            Antoniou et al., "How to train your MAML", 2019, https://arxiv.org/abs/1810.09502).
        kl_weight: weight of the cost.
    """

    MODES = ("last", "both", "all")

    def __init__(self, on: str = "last", kl_weight: float = 1.0) -> None:
        super().__init__()
        if on not in self.MODES:
            raise unknown("query loss", on, self.MODES)
        self.on, self.kl_weight = on, kl_weight

    def losses(self, meta_learner: MetaLearner, task: Task, rng: torch.Generator) -> Iterator[Loss]:
        steps = meta_learner.inner_steps
        at = {"last": (steps,), "both": tuple(sorted({0, steps})), "all": tuple(range(steps + 1))}[self.on]
        for chunk in meta_learner.chunks(task):
            outputs, start, _ = meta_learner.answers(chunk, steps, rng, at=at, differentiable=True)
            targets = chunk.query.targets
            pooled = {step: meta_learner.pooled(values, chunk.n_tasks) for step, values in outputs.items()}
            query_loss = torch.stack([meta_learner.vision.loss(pooled[step], targets) for step in at]).mean(0)
            share = chunk.n_tasks / task.n_tasks
            cost = meta_learner.pooled_cost(start)
            value = (query_loss + self.kl_weight * cost).mean() * share
            logs: Logs = {"loss": query_loss.detach().mean(), **meta_learner.vision.logs(pooled[steps], targets)}
            yield Loss(value, logs, share)


class Displacement(Objective):
    """Reptile: moves the start towards where the inner loop went, ``gradient = θ₀ − θ_k``.

    Nichol et al., "On first-order meta-learning algorithms", 2018 (https://arxiv.org/abs/1803.02999). The inner loop
    sees support and query images together: Reptile needs no held-out part.
    """

    def losses(self, meta_learner: MetaLearner, task: Task, rng: torch.Generator) -> Iterator[Loss]:
        for chunk in meta_learner.chunks(task):
            chunk = chunk._replace(support=chunk.support.joined(chunk.query))
            start = meta_learner.start(chunk.support, chunk.ways, chunk.noise(rng))

            def loss(weights: dict[str, Tensor], examples: Examples = chunk.support) -> Tensor:
                features, _ = meta_learner.learner.features(examples.images, weights)
                return meta_learner.vision.loss(meta_learner.vision.outputs(features, weights[ROWS]), examples.targets)

            end = meta_learner.adapter.adapt(start, loss, meta_learner.inner_steps, differentiable=False)[-1]
            share = chunk.n_tasks / task.n_tasks
            total = sum(
                ((value - end[name]).detach() * value).sum() / (value[:, :, 0].numel() if name == ROWS else len(value))
                for name, value in start.weights.items()
            )
            with torch.no_grad():
                features, _ = meta_learner.learner.features(chunk.support.images, end)
                outputs, targets = meta_learner.vision.outputs(features, end[ROWS]), chunk.support.targets
                logs: Logs = {
                    "loss": meta_learner.vision.loss(outputs, targets).mean(),
                    **meta_learner.vision.logs(outputs, targets),
                }
            yield Loss(total * share, logs, share)  # type: ignore[arg-type]


class Supervised(Objective):
    """Ordinary classification over all training classes at once: the pretraining of a fine-tuning baseline.

    Args:
        feature_size: ``D``.
        n_classes: training classes, quarter turns included.
    """

    def __init__(self, feature_size: int, n_classes: int) -> None:
        super().__init__()
        self.classifier = nn.Linear(feature_size, n_classes)

    def losses(self, meta_learner: MetaLearner, task: Task, rng: torch.Generator) -> Iterator[Loss]:
        for chunk in meta_learner.chunks(task):
            both = chunk.support.joined(chunk.query)
            features, _ = meta_learner.learner.features(both.images)
            evidence = meta_learner.vision.labelled(features, both.targets, chunk.ways)
            if evidence.membership is None:
                raise TypeError("pretraining needs labels")
            # of all training classes, those of the task: what a location may be shared among
            log_chances = torch.log_softmax(self.classifier(evidence.values), -1)
            ids = chunk.class_ids[:, None].expand_as(evidence.membership)
            value = -(evidence.membership * log_chances.gather(2, ids)).sum() / evidence.membership.sum().clamp_min(1)
            right = (evidence.membership * (ids == log_chances.argmax(-1, keepdim=True))).sum()
            logs: Logs = {"loss": value.detach(), "accuracy": right / evidence.membership.sum().clamp_min(1)}
            value = value + meta_learner.vision.shared_loss(features, both.targets).mean()
            share = chunk.n_tasks / task.n_tasks
            yield Loss(value * share, logs, share)
