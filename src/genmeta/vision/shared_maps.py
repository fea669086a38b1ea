"""Three visual tasks read off one map of features, so that one network serves them all.

A segmenter reads a vector for each cell, a detector four box channels besides, and a classifier the mean vector of the
whole image; rows have one length in all three, so one generator writes them.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from torch import Tensor

from genmeta.core import batching
from genmeta.core.types import Boxes, Logs, Targets, Tokens
from genmeta.vision.base import Scores, VisualTask
from genmeta.vision.classification import Classification
from genmeta.vision.detection import Detection
from genmeta.vision.segmentation import Segmentation

#: The name that checkpoints of all three carry.
MULTITASK = "multitask"


class SharedMaps(VisualTask):
    """A visual task as it is where it shares a map with others: an ordinary one behind :meth:`seen`.

    Attributes:
        kind: name of the ordinary visual task.
    """

    name, learner, reads, extra_channels = MULTITASK, Detection.learner, "map", Detection.extra_channels
    kind: ClassVar[str]
    ordinary: ClassVar[type[VisualTask]]

    def __init__(self) -> None:
        self._ordinary = self.ordinary()

    @abstractmethod
    def seen(self, features: Tensor) -> Tensor:
        """What the ordinary visual task is shown of a map ``[T N h w D+4]``."""

    def row_length(self, feature_size: int) -> int:
        return self._ordinary.row_length(feature_size)

    def outputs(self, features: Tensor, rows: Tensor, read: Tensor | None = None) -> Tensor:
        return self._ordinary.outputs(self.seen(features), rows, read)

    def loss(self, outputs: Tensor, targets: Targets) -> Tensor:
        return self._ordinary.loss(outputs, targets)

    def tokens(self, features: Tensor, targets: Targets | None, ways: int) -> Tokens:
        return self._ordinary.tokens(self.seen(features), targets, ways)

    def locations(self, features: Tensor) -> Tensor:
        return self._ordinary.locations(self.seen(features))

    def labelled(self, features: Tensor, targets: Targets, ways: int) -> Tokens:
        return self._ordinary.labelled(self.seen(features), targets, ways)

    def shared_loss(self, features: Tensor, targets: Targets) -> Tensor:
        return self._ordinary.shared_loss(self.seen(features), targets)

    def pooled(self, outputs: Tensor, n_tasks: int) -> Tensor:
        return self._ordinary.pooled(outputs, n_tasks)

    def logs(self, outputs: Tensor, targets: Targets) -> Logs:
        return self._ordinary.logs(outputs, targets)

    def scores(self, outputs: Tensor, targets: Targets) -> Scores:
        return self._ordinary.scores(outputs, targets)


class SharedClassification(SharedMaps):
    """Classification by the mean feature of an image, of unit length again."""

    kind, score, ordinary = Classification.name, Classification.score, Classification

    def seen(self, features: Tensor) -> Tensor:
        return batching.unit(features[..., : -self.extra_channels].mean((2, 3)))


class SharedSegmentation(SharedMaps):
    """Segmentation of a map; the box channels are left aside."""

    kind, score, ordinary = Segmentation.name, Segmentation.score, Segmentation

    def seen(self, features: Tensor) -> Tensor:
        return features[..., : -self.extra_channels]


class SharedDetection(SharedMaps):
    """Detection on a map, box channels and all."""

    kind, score, ordinary = Detection.name, Detection.score, Detection

    def seen(self, features: Tensor) -> Tensor:
        return features


#: Visual task -> how it reads a shared map; the order is that of task tokens.
SHARED: dict[str, type[SharedMaps]] = {
    shared.kind: shared for shared in (SharedClassification, SharedSegmentation, SharedDetection)
}


def kind_of(targets: Targets) -> str:
    """The visual task whose targets these are."""
    if isinstance(targets, Boxes):
        return Detection.name
    return Classification.name if targets.ndim == 2 else Segmentation.name
