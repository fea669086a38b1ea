"""Classification: an image has one class, a row is a linear classifier's weights and bias."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from genmeta.core import batching
from genmeta.core.types import Boxes, Logs, Targets, Tokens
from genmeta.vision.base import Scores, VisualTask


class Classification(VisualTask):
    """``logits = w · h + b`` and cross-entropy; ``R = D + 1``."""

    name, learner, score = "classification", "conv4", "accuracy"

    def row_length(self, feature_size: int) -> int:
        return feature_size + 1

    def outputs(self, features: Tensor, rows: Tensor, read: Tensor | None = None) -> Tensor:
        logits = batching.class_logits(features, rows)
        return logits if read is None else logits + read

    def loss(self, outputs: Tensor, targets: Targets) -> Tensor:
        numbers = _numbers(targets)
        losses = F.cross_entropy(outputs.flatten(0, 1), numbers.flatten(), reduction="none")
        return losses.view(numbers.shape).mean(1)

    def tokens(self, features: Tensor, targets: Targets | None, ways: int) -> Tokens:
        return Tokens(features, None if targets is None else F.one_hot(_numbers(targets), ways).to(features.dtype))

    def locations(self, features: Tensor) -> Tensor:
        return features

    def labelled(self, features: Tensor, targets: Targets, ways: int) -> Tokens:
        return self.tokens(features, targets, ways)

    def shared_loss(self, features: Tensor, targets: Targets) -> Tensor:
        return features.new_zeros(len(features))

    def pooled(self, outputs: Tensor, n_tasks: int) -> Tensor:
        return batching.mean_probabilities(outputs, n_tasks)

    def logs(self, outputs: Tensor, targets: Targets) -> Logs:
        return {"accuracy": (outputs.argmax(-1) == _numbers(targets)).float().mean()}

    def scores(self, outputs: Tensor, targets: Targets) -> Scores:
        log_probabilities, truth = torch.log_softmax(outputs.double(), -1).cpu(), _numbers(targets).cpu()
        nll = -log_probabilities.gather(-1, truth[..., None])[..., 0]
        confidence, guess = log_probabilities.max(-1)
        correct = guess == truth
        return Scores(
            main=correct.double().mean(1).numpy(),
            nll=nll.mean(1).numpy(),
            confidence=confidence.exp().flatten().numpy(),
            correct=correct.flatten().numpy(),
        )


def _numbers(targets: Targets) -> Tensor:
    if isinstance(targets, Boxes):
        raise TypeError("classification reads class numbers, not boxes")
    return targets
