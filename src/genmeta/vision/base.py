"""What outputs mean: the only place where classification, segmentation and detection differ."""

from __future__ import annotations

from abc import ABC, abstractmethod

from jaxtyping import Float
from torch import Tensor

from genmeta.core.types import Tokens


class VisualTask(ABC):
    """Turns features and class rows into outputs, and outputs and targets into a loss and scores."""

    @abstractmethod
    def row_length(self, feature_size: int) -> int:
        """Length ``R`` of a class's row for features of ``D`` numbers."""

    @abstractmethod
    def outputs(self, features: Float[Tensor, "T N D"], rows: Float[Tensor, "T K R"]) -> Tensor:
        """Raw outputs, ``[T N K]`` logits for classification."""

    @abstractmethod
    def loss(self, outputs: Tensor, targets: Tensor) -> Float[Tensor, " T"]:
        """Loss of each task in nats, averaged over its examples."""

    @abstractmethod
    def tokens(self, features: Float[Tensor, "T N D"], targets: Tensor | None, ways: int) -> Tokens:
        """The support evidence: feature vectors and the classes they speak for (none without targets)."""
