"""One meta-learner for several visual tasks: which of them it is at is told by a token and by how maps are read.

Everything else is one: learner, encoder, generators, step sizes. Survey: Vandenhende et al., "Multi-task learning for
dense prediction tasks", 2021 (https://arxiv.org/abs/2004.13379).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch

from genmeta.core.errors import UsageError
from genmeta.core.types import Targets, Task
from genmeta.encoders import TaskToken
from genmeta.methods.meta_learner import MetaLearner
from genmeta.methods.objectives import Loss, Objective, QueryLoss
from genmeta.vision.shared_maps import SHARED, SharedMaps, kind_of


def add_token(meta_learner: MetaLearner) -> None:
    """Puts a task token on the encoder, where there is one and visual tasks share a map."""
    encoder = meta_learner.encoder
    if isinstance(meta_learner.vision, SharedMaps) and encoder is not None:
        width = encoder.width
        if not isinstance(width, int):
            raise TypeError("an encoder says how wide its contexts are")
        meta_learner.encoder = TaskToken(encoder, width, len(SHARED))


def told(meta_learner: MetaLearner, kind: str) -> MetaLearner:
    """The same meta-learner, with the same parameters, told which visual task it is at.

    Args:
        meta_learner: one whose visual tasks share a map; any other comes back as it is.
        kind: name of the visual task.

    Raises:
        UsageError: it is a meta-learner of another visual task.
    """
    if not isinstance(meta_learner.vision, SharedMaps):
        if meta_learner.vision.name != kind:
            raise UsageError(
                f"A meta-learner of {meta_learner.vision.name} was asked for {kind}. Train one for several visual "
                "tasks with --scenario multitask --vision classification,segmentation,detection."
            )
        return meta_learner
    view = copy.copy(meta_learner)
    view._modules = dict(meta_learner._modules)
    view.vision = SHARED[kind]()
    if isinstance(meta_learner.encoder, TaskToken):
        view.encoder = meta_learner.encoder.told(list(SHARED).index(kind))
    return view


def facing(meta_learner: MetaLearner, targets: Targets) -> MetaLearner:
    """:func:`told` the visual task whose targets these are, where visual tasks share a map."""
    return told(meta_learner, kind_of(targets)) if isinstance(meta_learner.vision, SharedMaps) else meta_learner


class MultiTaskLoss(Objective):
    """The query loss of whichever visual task a batch is of.

    Args:
        ordinary: the method's own objective.

    Raises:
        UsageError: an objective that prepares itself for one visual task.
    """

    def __init__(self, ordinary: Objective) -> None:
        super().__init__()
        if type(ordinary) is not QueryLoss:
            raise UsageError(
                f"Several visual tasks are trained by their query losses alone, but this method is trained by "
                f"{type(ordinary).__name__}. Use one such as hypernet, protonet or maml."
            )
        self.ordinary = ordinary

    def losses(self, meta_learner: MetaLearner, task: Task, rng: torch.Generator) -> Iterator[Loss]:
        return self.ordinary.losses(facing(meta_learner, task.query.targets), task, rng)
