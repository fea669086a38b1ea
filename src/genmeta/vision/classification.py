"""Classification: an image has one class, a row is a linear classifier's weights and bias."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from genmeta.core import batching
from genmeta.core.types import Tokens
from genmeta.vision.base import VisualTask


class Classification(VisualTask):
    """``logits = w · h + b`` and cross-entropy; ``R = D + 1``."""

    def row_length(self, feature_size: int) -> int:
        return feature_size + 1

    def outputs(self, features: Tensor, rows: Tensor) -> Tensor:
        return batching.class_logits(features, rows)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        losses = F.cross_entropy(outputs.flatten(0, 1), targets.flatten(), reduction="none")
        return losses.view(targets.shape).mean(1)

    def tokens(self, features: Tensor, targets: Tensor | None, ways: int) -> Tokens:
        return Tokens(features, None if targets is None else F.one_hot(targets, ways).to(features.dtype))
