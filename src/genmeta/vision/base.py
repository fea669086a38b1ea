"""What outputs mean: the only place where classification, segmentation and detection differ."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from jaxtyping import Float
from torch import Tensor

from genmeta.core.types import Logs, Targets, Tokens


@dataclass(frozen=True)
class Scores:
    """How good outputs are, of a batch of tasks. Outputs that are not finite are wrong answers, without confidence.

    Attributes:
        main: ``[T]`` the visual task's main score, a fraction in [0, 1]; higher is better.
        nll: ``[T]`` mean negative log-likelihood in nats of each answer (``nan`` where outputs give none).
        confidence: ``[Q]`` largest probability of each answer, all tasks together; may be empty.
        correct: ``[Q]`` whether it was right.
        extra: name -> ``[T]`` further scores; ``nan`` where a task has nothing to score.
        classes: ``[T K]`` the main score of each class, ``nan`` for a class that is not scored; ``None`` for none.
    """

    main: np.ndarray
    nll: np.ndarray
    confidence: np.ndarray
    correct: np.ndarray
    extra: Mapping[str, np.ndarray] = field(default_factory=dict)
    classes: np.ndarray | None = None


class VisualTask(ABC):
    """Turns features and class rows into outputs, and outputs and targets into a loss and scores.

    Features are what the learner gives: a vector ``[T N D]`` for each image, or a map ``[T N h w D]``, perhaps with
    further channels behind the ``D`` that belong to no class.

    Attributes:
        name: as commands spell it.
        reads: what the learner must give, ``vector`` or ``map``.
        extra_channels: channels behind the features that the learner must give too.
        learner: the learner that is used if none is named.
        score: name of the main score.
    """

    name: ClassVar[str]
    reads: ClassVar[str] = "vector"
    extra_channels: ClassVar[int] = 0
    learner: ClassVar[str]
    score: ClassVar[str]

    @abstractmethod
    def row_length(self, feature_size: int) -> int:
        """Length ``R`` of a class's row for features of ``D`` numbers."""

    @abstractmethod
    def outputs(self, features: Tensor, rows: Float[Tensor, "T K R"], read: Tensor | None = None) -> Tensor:
        """Raw outputs, ``[T N K]`` logits for classification.

        Args:
            features: as the learner gives them.
            rows: of the classes.
            read: ``[T L K]``, added to the logits at each of :meth:`locations`.
        """

    @abstractmethod
    def loss(self, outputs: Tensor, targets: Targets) -> Float[Tensor, " T"]:
        """Loss of each task in nats, averaged over its examples."""

    @abstractmethod
    def tokens(self, features: Tensor, targets: Targets | None, ways: int) -> Tokens:
        """The support evidence in brief, for encoders and closed forms (no membership without targets)."""

    @abstractmethod
    def locations(self, features: Tensor) -> Float[Tensor, "T L D"]:
        """Every place that a row is applied to, in a row."""

    @abstractmethod
    def labelled(self, features: Tensor, targets: Targets, ways: int) -> Tokens:
        """Every location and the shares of the classes in it, for rows that are fitted to many labels."""

    @abstractmethod
    def shared_loss(self, features: Tensor, targets: Targets) -> Float[Tensor, " T"]:
        """The part of :meth:`loss` that no row takes part in: what the channels behind the features say; or zeros."""

    @abstractmethod
    def pooled(self, outputs: Float[Tensor, "TS ..."], n_tasks: int) -> Float[Tensor, "T ..."]:
        """One prediction from the samples of each task, in the form of :meth:`outputs`."""

    @abstractmethod
    def logs(self, outputs: Tensor, targets: Targets) -> Logs:
        """A number or two for the log of meta-training, as tensors; cheap."""

    @abstractmethod
    def scores(self, outputs: Tensor, targets: Targets) -> Scores:
        """Scores of pooled outputs."""
