"""Classification with a label set that all tasks share, where a task's support images may have no labels."""

from __future__ import annotations

import torch
from torch import Tensor

from genmeta.core.types import IGNORE, Boxes, Logs, Targets, Tokens
from genmeta.vision.base import Scores, VisualTask
from genmeta.vision.classification import Classification


class DomainClassification(VisualTask):
    """Cross-entropy where an image has a label, the entropy of the prediction where it has none (``IGNORE``).

    The entropy is what test-time adaptation descends without labels: Wang, Shelhamer, Liu, Olshausen, Darrell, "Tent:
    fully test-time adaptation by entropy minimization", 2021 (https://arxiv.org/abs/2006.10726). Logits are
    ``16 (w · h + b)``: features have length 1, and the rows are learned by ordinary steps.
    """

    name, learner, score = "domain-classification", "conv4", "accuracy"
    SCALE = 16.0

    def __init__(self) -> None:
        self._labelled = Classification()

    def row_length(self, feature_size: int) -> int:
        return self._labelled.row_length(feature_size)

    def outputs(self, features: Tensor, rows: Tensor, read: Tensor | None = None) -> Tensor:
        return self._labelled.outputs(features, self.SCALE * rows, read)

    def loss(self, outputs: Tensor, targets: Targets) -> Tensor:
        numbers = _numbers(targets)
        known, logs = numbers != IGNORE, torch.log_softmax(outputs, -1)
        told = -logs.gather(-1, numbers.clamp_min(0)[..., None])[..., 0]
        entropy = -(logs.exp() * logs).sum(-1)
        return torch.where(known, told, entropy).mean(1)

    def tokens(self, features: Tensor, targets: Targets | None, ways: int) -> Tokens:
        if targets is not None and bool((_numbers(targets) == IGNORE).all()):
            targets = None
        return self._labelled.tokens(features, targets, ways)

    def locations(self, features: Tensor) -> Tensor:
        return self._labelled.locations(features)

    def labelled(self, features: Tensor, targets: Targets, ways: int) -> Tokens:
        return self.tokens(features, targets, ways)

    def shared_loss(self, features: Tensor, targets: Targets) -> Tensor:
        return self._labelled.shared_loss(features, targets)

    def pooled(self, outputs: Tensor, n_tasks: int) -> Tensor:
        return self._labelled.pooled(outputs, n_tasks)

    def logs(self, outputs: Tensor, targets: Targets) -> Logs:
        return self._labelled.logs(outputs, targets)

    def scores(self, outputs: Tensor, targets: Targets) -> Scores:
        return self._labelled.scores(outputs, targets)


def _numbers(targets: Targets) -> Tensor:
    if isinstance(targets, Boxes):
        raise TypeError("classification reads class numbers, not boxes")
    return targets
