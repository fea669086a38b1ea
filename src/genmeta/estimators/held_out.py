"""What a few labelled images say of a model fitted to them: each is predicted by a model that has not seen it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from genmeta.estimators.fitting import adapt, logits
from genmeta.methods import MetaLearner

#: Fits at most; with up to this many images a class, one of each class is left out at a time.
MOST_FOLDS = 5


class HeldOut(NamedTuple):
    """Predictions for support images, each by a model fitted without it.

    Attributes:
        which: ``[M]`` which support images; those that are the only one of their class cannot be left out.
        targets: ``[M]`` their classes.
        logits: adaptation steps -> ``[M K]`` log-probabilities.
    """

    which: np.ndarray
    targets: Tensor
    logits: dict[int, Tensor]

    def accuracy(self, step: int) -> float:
        """Fraction that is right after some step; ``nan`` where nothing could be left out."""
        if not len(self.which):
            return float("nan")
        return (self.logits[step].argmax(-1) == self.targets).double().mean().item()

    def loss(self, step: int) -> float:
        """Mean negative log-likelihood in nats; ``nan`` where nothing could be left out."""
        if not len(self.which):
            return float("nan")
        return -self.logits[step].gather(1, self.targets[:, None]).mean().item()

    def trace(self) -> list[dict[str, float]]:
        """Accuracy and loss after every step."""
        return [
            {"step": step, "accuracy": self.accuracy(step), "loss": self.loss(step)} for step in sorted(self.logits)
        ]


def nothing(ways: int, steps: int) -> HeldOut:
    """No predictions at all, where none are asked for."""
    none = torch.empty(0, ways, dtype=torch.float64)
    return HeldOut(np.empty(0, np.int64), torch.empty(0, dtype=torch.int64), dict.fromkeys(range(steps + 1), none))


def folds(targets: np.ndarray, most: int = MOST_FOLDS) -> np.ndarray:
    """``[N]`` the fold that each image is left out in, −1 for never; a class never loses all its images at once."""
    fold = np.full(len(targets), -1)
    counts = np.bincount(targets)
    n_folds = min(int(counts.max(initial=0)), most)
    for label in np.flatnonzero(counts > 1):
        where = np.flatnonzero(targets == label)
        fold[where] = np.arange(len(where)) % n_folds
    return fold


def hold_out(
    meta_learner: MetaLearner, images: np.ndarray, targets: np.ndarray, ways: int, steps: int, seed: int
) -> HeldOut:
    """Predicts every image that can be left out, at every step.

    Args:
        meta_learner: from a checkpoint.
        images: ``[N H W C]`` uint8.
        targets: ``[N]`` class numbers.
        ways: number of classes ``K``.
        steps: of adaptation.
        seed: of the generators' noise.
    """
    fold = folds(targets)
    at = tuple(range(steps + 1))
    index: list[np.ndarray] = [np.empty(0, np.int64)]
    said: dict[int, list[Tensor]] = {step: [torch.empty(0, ways, dtype=torch.float64)] for step in at}
    for number in range(int(fold.max(initial=-1)) + 1):
        out = np.flatnonzero(fold == number)
        kept = fold != number
        adapted = adapt(meta_learner, images[kept], targets[kept], ways, steps, seed, at=at)
        for step in at:
            said[step].append(logits(meta_learner, adapted, images[out], step))
        index.append(out)
    where = np.concatenate(index)
    return HeldOut(where, torch.from_numpy(targets[where]), {step: torch.cat(parts) for step, parts in said.items()})
