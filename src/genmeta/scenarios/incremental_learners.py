"""Incremental learners: rows that a meta-learner writes and appends, and what they are compared with."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from genmeta.core import batching
from genmeta.core.errors import UsageError
from genmeta.core.types import ROWS
from genmeta.generators import RowBase
from genmeta.learners import Learner
from genmeta.methods import MetaLearner
from genmeta.scenarios.incremental import IncrementalLearner
from genmeta.tasks.sessions import Session

#: Images of one pass through the network.
BATCH = 500


class WrittenRows(IncrementalLearner):
    """A meta-learner writes the rows of each session's classes; they are appended, and no old row changes.

    What later rows are built on may be read from the base session (:meth:`~genmeta.methods.MetaLearner.later`): a
    metric is then kept, and no image.

    Shared weights cannot differ by session (all classes answer on the same features), so the meta-learner has to write
    rows alone. With ``protonet`` this is the nearest class mean on its features (Mensink et al., "Distance-based image
    classification", 2013).

    Raises:
        UsageError: the meta-learner writes shared weights, draws several starts, or has a batch norm, for which each
            session would need statistics of its own.
    """

    def __init__(self, meta_learner: MetaLearner) -> None:
        if meta_learner.spec.shared or meta_learner.samples != 1 or meta_learner.writer is not None:
            raise UsageError(
                "Classes that come in sessions need one set of rows on features that all sessions share, but this "
                "method writes more than that. Train it with --generate rows, or use protonet, ridge or hypernet."
            )
        if meta_learner.learner.needs_support_statistics:
            raise UsageError(
                "Classes that come in sessions are answered on features that all sessions share, but batch norm has "
                "other statistics in each. Train with --norm group."
            )
        self._meta_learner = meta_learner.eval()
        self._rows: list[Tensor] = []
        self._base: RowBase | None = None

    def learn(self, session: Session, rng: torch.Generator) -> None:
        with torch.no_grad():
            start = self._meta_learner.start(session.support, session.ways, rng, samples=1, row_base=self._base)
            if self._base is None:
                self._base = self._meta_learner.later(session.support, session.ways)
        self._rows.append(start.weights[ROWS][0])

    def answer(self, images: Tensor) -> Tensor:
        learner, vision = self._meta_learner.learner, self._meta_learner.vision
        return in_batches(lambda part: vision.outputs(learner.features(part[None])[0], self.rows[None])[0], images)

    @property
    def rows(self) -> Tensor:
        return torch.cat(self._rows)

    @property
    def bytes_per_class(self) -> float:
        kept = 0 if self._base is None else sum(it.numel() * it.element_size() for it in self._base.buffers())
        return float(self._rows[0][0].numel() * self._rows[0].element_size() + kept / len(self.rows))


class Finetuning(IncrementalLearner):
    """Trains a softmax classifier on each session's images as they come: what forgetting looks like.

    With a memory it also trains on images kept of earlier sessions (replay): Chaudhry et al., "On tiny episodic
    memories in continual learning", 2019 (https://arxiv.org/abs/1902.10486).

    Args:
        learner: pretrained network; a copy is used.
        memory: images kept of each class; 0 for none.
        steps: Adam steps on each session, of up to 128 images.
        lr: learning rate of the classifier, whose logits are ``SCALE`` times a product with features of length 1.
        body_lr: learning rate of the network; 0 to leave it as it is.

    Raises:
        UsageError: a setting is out of range.
    """

    SCALE = 16.0

    def __init__(
        self, learner: Learner, *, memory: int = 0, steps: int = 100, lr: float = 0.01, body_lr: float = 0.0
    ) -> None:
        if memory < 0 or steps < 1 or lr <= 0 or body_lr < 0:
            raise UsageError(
                "Fine-tuning needs memory and body_lr of 0 or more, steps of 1 or more and lr above 0, got "
                f"memory={memory}, body_lr={body_lr}, steps={steps}, lr={lr}."
            )
        self._learner = copy.deepcopy(learner).eval().requires_grad_(body_lr > 0)
        self._memory, self._steps, self._lr, self._body_lr = memory, steps, lr, body_lr
        self._kept: list[tuple[Tensor, Tensor]] = []
        self._rows = torch.zeros(0, learner.feature_size + 1)

    def learn(self, session: Session, rng: torch.Generator) -> None:
        known = len(self._rows)
        new = (session.support.images[0], session.support.labels[0] + known)
        images, targets = (torch.cat(parts) for parts in zip(*self._kept, new, strict=True))
        rows = torch.cat([self._rows, torch.zeros(session.ways, self._rows.shape[1])]).requires_grad_()
        groups = [{"params": [rows], "lr": self._lr}]
        frozen = None
        if self._body_lr:
            groups.append({"params": list(self._learner.parameters()), "lr": self._body_lr})
        else:
            frozen = in_batches(self._features, images)
        optimiser = torch.optim.Adam(groups)
        for _ in range(self._steps):
            batch = torch.randperm(len(images), generator=rng)[:128]
            features = self._features(images[batch]) if frozen is None else frozen[batch]
            loss = F.cross_entropy(self._logits(features, rows), targets[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        self._rows = rows.detach()
        if self._memory:
            picked = [(new[1] == k).nonzero()[: self._memory, 0] for k in range(known, len(self._rows))]
            where = torch.cat(picked)
            self._kept.append((new[0][where], new[1][where]))

    def answer(self, images: Tensor) -> Tensor:
        return in_batches(lambda part: self._logits(self._features(part), self._rows), images)

    def _features(self, images: Tensor) -> Tensor:
        return self._learner.features(images[None])[0][0]

    def _logits(self, features: Tensor, rows: Tensor) -> Tensor:
        return self.SCALE * batching.class_logits(features[None], rows[None])[0]

    @property
    def rows(self) -> Tensor:
        return self._rows

    @property
    def bytes_per_class(self) -> float:
        # an image is kept as it came from the camera, a byte for each of its numbers
        images = sum(kept.numel() for kept, _ in self._kept) / max(len(self._rows), 1)
        return float(self._rows.shape[1] * self._rows.element_size() + images)

    @property
    def memory_images(self) -> int:
        return sum(len(kept) for kept, _ in self._kept)


def in_batches(answer: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """``answer`` of all ``images`` ``[N C H W]``, a bounded number at a time, without a graph."""
    with torch.no_grad():
        return torch.cat([answer(part) for part in images.split(BATCH)])
