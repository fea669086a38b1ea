"""Class-incremental streams: a base session of many classes, then sessions of a few new ones, never seen again.

The protocol of few-shot class-incremental learning: Tao et al., "Few-shot class-incremental learning", 2020
(https://arxiv.org/abs/2004.10956).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from genmeta.core.errors import DataError, UsageError, unknown
from genmeta.core.randomness import numpy_rng
from genmeta.core.types import Examples
from genmeta.data.classes import ImageClasses
from genmeta.tasks.classification import SPLITS
from genmeta.tasks.embedding import Embed, Embedding, Features


class Session(NamedTuple):
    """What an incremental learner is shown at one time, and only then.

    Attributes:
        support: images ``[1 N C H W]`` (or features ``[1 N D]``) and targets ``[1 N]``, numbered ``0..ways-1`` within
            the session.
        ways: number of new classes.
    """

    support: Examples
    ways: int


class Stream(NamedTuple):
    """One draw of classes, of their order and of their images.

    Attributes:
        sessions: the base session, then the others. A learner is handed them one by one.
        query_images: ``[N C H W]`` (or features ``[N D]``), of no session; for whoever keeps score.
        query_targets: ``[N]`` classes numbered in the order in which they come, the base classes first.
    """

    sessions: tuple[Session, ...]
    query_images: Tensor
    query_targets: Tensor

    @property
    def seen(self) -> tuple[int, ...]:
        """Number of classes that have come by the end of each session."""
        return tuple(int(n) for n in np.cumsum([session.ways for session in self.sessions]))

    def reordered(self, order: Sequence[int]) -> Stream:
        """The same classes and images, with the sessions after the base in another order.

        Args:
            order: numbers of those sessions, from 0, as they shall come.

        Raises:
            UsageError: a session is missing or comes twice.
        """
        if sorted(order) != list(range(len(self.sessions) - 1)):
            raise UsageError(f"An order names each of the {len(self.sessions) - 1} further sessions once, got {order}.")
        places = [0, *(at + 1 for at in order)]
        starts = [0, *self.seen]
        numbers = torch.cat([torch.arange(starts[at], starts[at + 1]) for at in places])  # old numbers, in new order
        targets = torch.argsort(numbers)[self.query_targets]
        where = torch.argsort(targets, stable=True)
        return Stream(tuple(self.sessions[at] for at in places), self.query_images[where], targets[where])


class IncrementalTasks:
    """Deals out streams from the classes of one split.

    Args:
        data: images by class.
        split: whose classes; one for all sessions, so that the whole stream is unseen in meta-training, or ``train``
            for the base session with ``new_split`` for the others.
        base_classes: classes of the base session.
        base_shots: images of each of them; a class that has fewer gives all but its queries.
        sessions: further sessions.
        ways: new classes of each.
        shots: images of each new class.
        queries: images of each class kept for scoring.
        new_split: split of the new classes; by default the base session's.

    Raises:
        DataError: too few classes or images.
    """

    def __init__(
        self,
        data: ImageClasses,
        split: str = "test",
        *,
        base_classes: int = 60,
        base_shots: int = 15,
        sessions: int = 8,
        ways: int = 5,
        shots: int = 5,
        queries: int = 5,
        new_split: str = "",
    ) -> None:
        for name in (split, new_split or split):
            if name not in SPLITS:
                raise unknown("split", name, SPLITS)
        least = {"base_classes": base_classes, "base_shots": base_shots, "ways": ways, "shots": shots}
        for what, value in {**least, "queries": queries}.items():
            if value < 1:
                raise UsageError(f"{what} must be 1 or more, got {value}.")
        if sessions < 0:
            raise UsageError(f"sessions must be 0 or more, got {sessions}.")
        self.data, self.base_classes, self.base_shots = data, base_classes, base_shots
        self.n_sessions, self.ways, self.shots, self.queries = sessions, ways, shots, queries
        counts = data.counts()
        enough = {name: [k for k in data.splits[name] if counts[k] >= shots + queries] for name in SPLITS}
        self._base, self._new = np.asarray(enough[split]), np.asarray(enough[new_split or split])
        self._apart = bool(new_split) and new_split != split
        self._embedding: Embedding | None = None
        new = sessions * ways
        for name, need, have in (
            ((split, base_classes, len(self._base)), (new_split, new, len(self._new)))
            if self._apart
            else ((split, base_classes + new, len(self._base)),)
        ):
            if have < need:
                raise DataError(
                    f"The stream needs {need} classes of split {name!r} with {shots + queries} images each, but "
                    f"{data.name!r} has {have}. Lower base_classes, sessions, ways, shots or queries."
                )

    def embedded(self, embed: Embed, known: Features | None = None) -> IncrementalTasks:
        """The same streams, with feature vectors in place of images, each image embedded once.

        Args:
            embed: how images become features.
            known: features that are known already; those of further classes are added when they are first drawn.
        """
        tasks = copy.copy(self)
        tasks._embedding = Embedding(self.data, embed, {} if known is None else known)
        return tasks

    def sample(self, rng: torch.Generator) -> Stream:
        """Draws classes, their order and their images; the same ``rng`` state gives the same stream."""
        random = numpy_rng(rng)
        base, new = random.permutation(self._base), self._new
        chosen = base[: self.base_classes]
        rest = random.permutation(new if self._apart else base[self.base_classes :])[: self.n_sessions * self.ways]
        groups = rest.reshape(self.n_sessions, self.ways)
        sessions = [self._session(chosen, self.base_shots, random)]
        sessions += [self._session(group, self.shots, random) for group in groups]
        queries = np.concatenate([kept for _, kept in sessions])
        targets = torch.arange(len(chosen) + len(rest)).repeat_interleave(self.queries)
        return Stream(tuple(session for session, _ in sessions), self._pixels(queries), targets)

    def _session(self, classes: np.ndarray, shots: int, random: np.random.Generator) -> tuple[Session, np.ndarray]:
        shown, targets, kept = [], [], []
        for number, k in enumerate(classes):
            order = self.data.offsets[k] + random.permutation(int(self.data.counts()[k]))
            kept.append(order[: self.queries])
            shown.append(order[self.queries : self.queries + shots])
            targets.append(torch.full((len(shown[-1]),), number))
        support = Examples(self._pixels(np.concatenate(shown))[None], torch.cat(targets)[None])
        return Session(support, len(classes)), np.concatenate(kept)

    def _pixels(self, where: np.ndarray) -> Tensor:
        if self._embedding is not None:
            classes = np.searchsorted(self.data.offsets, where, "right") - 1
            order = where - self.data.offsets[classes]
            return self._embedding(classes[None], np.zeros_like(classes)[None], order[None, :, None])[0, :, 0]
        return torch.from_numpy(self.data.images[where]).permute(0, 3, 1, 2).float().div_(255)
