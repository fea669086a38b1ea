"""The class-incremental scenario: sessions of new classes arrive one by one, and none is ever shown again.

After each session a learner is asked for all classes it has met so far. Scores follow Tao et al., "Few-shot
class-incremental learning", 2020 (https://arxiv.org/abs/2004.10956), and Chaudhry et al., "Riemannian walk for
incremental learning", 2018 (https://arxiv.org/abs/1801.10112) for forgetting.
"""

from __future__ import annotations

import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from genmeta.core.errors import DivergenceWarning
from genmeta.core.randomness import seeded
from genmeta.engine.progress import ProgressBar
from genmeta.engine.scores import Interval, paired
from genmeta.tasks.sessions import IncrementalTasks, Session, Stream


class IncrementalLearner(ABC):
    """Is shown sessions one by one, and answers for every class it has met.

    What it may keep of a session's images is its own affair, but it has to say: :attr:`memory_images`.
    """

    @abstractmethod
    def learn(self, session: Session, rng: torch.Generator) -> None:
        """Takes the session's classes in; they get the next free class numbers."""

    @abstractmethod
    def answer(self, images: Tensor) -> Tensor:
        """Logits ``[N K]`` for images ``[N C H W]`` over the ``K`` classes met so far."""

    @property
    @abstractmethod
    def rows(self) -> Tensor:
        """Class rows ``[K R]`` so far."""

    @property
    @abstractmethod
    def bytes_per_class(self) -> float:
        """What is stored for each class, rows and remembered images, in bytes."""

    @property
    def memory_images(self) -> int:
        """Number of images kept of earlier sessions."""
        return 0


@dataclass(frozen=True)
class IncrementalScores:
    """Scores over ``E`` streams of ``S + 1`` sessions.

    Attributes:
        accuracy: ``[E S+1]`` on all classes met so far, after each session, fraction in [0, 1].
        by_session: ``[E S+1 S+1]``: after session ``i``, on the classes of session ``j``; ``nan`` for ``j > i``.
        seconds: ``[E S]`` to take a session in, from images, the base session left out (``[1 S]`` where one stream was
            timed).
        bytes_per_class: stored for each class.
        memory_images: images kept of earlier sessions, at most.
        by_order: ``[E O 2]``: average and last accuracy of each stream's classes and images in ``O`` orders of its
            sessions after the base; ``O`` is 1 where no other order was scored.
    """

    accuracy: np.ndarray
    by_session: np.ndarray
    seconds: np.ndarray
    bytes_per_class: float
    memory_images: int
    by_order: np.ndarray

    @property
    def average(self) -> np.ndarray:
        """``[E]`` mean over sessions of the accuracy on all classes so far."""
        return self.accuracy.mean(1)

    @property
    def drop(self) -> np.ndarray:
        """``[E]`` accuracy after the base session less that after the last."""
        return self.accuracy[:, 0] - self.accuracy[:, -1]

    @property
    def forgetting(self) -> np.ndarray:
        """``[E]`` mean over earlier sessions of (best accuracy so far on its classes − accuracy at the end).

        Classes met later compete for the same images, so this is above 0 even where no old row changes.
        """
        if self.by_session.shape[1] < 2:
            return np.zeros(len(self.accuracy))
        before = self.by_session[:, :-1, :-1]
        return (np.nanmax(before, axis=1) - self.by_session[:, -1, :-1]).mean(1)

    @property
    def harmonic_mean(self) -> np.ndarray:
        """``[E]`` harmonic mean, at the end, of the accuracy on base classes and on all later ones."""
        old = self.by_session[:, -1, 0]
        if self.by_session.shape[1] < 2:
            return old
        new = self.by_session[:, -1, 1:].mean(1)
        return 2 * old * new / np.maximum(old + new, 1e-12)

    def summary(self) -> dict[str, object]:
        """Plain numbers; accuracies in percent, times in milliseconds."""
        named = {
            "average": self.average,
            "last": self.accuracy[:, -1],
            "drop": self.drop,
            "forgetting": self.forgetting,
            "harmonic_mean": self.harmonic_mean,
        }
        scores = {name: Interval.of(100 * values).rounded() for name, values in named.items()}
        orders = self.by_order.shape[1]
        spread = 100 * (self.by_order.max(1) - self.by_order.min(1))
        return {
            **scores,
            "orders": {
                "scored": orders,
                "average_spread": Interval.of(spread[:, 0]).rounded() if orders > 1 else None,
                "last_spread": Interval.of(spread[:, 1]).rounded() if orders > 1 else None,
            },
            "accuracy_after_session": [Interval.of(100 * column).rounded() for column in self.accuracy.T],
            "session_ms": round(1000 * float(np.median(self.seconds)), 2) if self.seconds.size else None,
            "bytes_per_class": round(self.bytes_per_class),
            "memory_images": self.memory_images,
        }


def run_stream(learner: IncrementalLearner, stream: Stream, rng: torch.Generator) -> tuple[np.ndarray, list[float]]:
    """Shows a stream's sessions to a learner and scores it after each.

    An answer that is not finite counts as wrong, and is warned about.

    Returns:
        ``[S+1 S+1]`` accuracy after session ``i`` on the classes of session ``j``, ``nan`` for ``j > i``; and the
        seconds that each session took.
    """
    ends = (0, *stream.seen)
    scores = np.full((len(stream.sessions),) * 2, np.nan)
    seconds = []
    for at, session in enumerate(stream.sessions):
        seconds.append(_timed(learner, session, rng))
        met = stream.query_targets < ends[at + 1]
        truth = stream.query_targets[met]
        logits = learner.answer(stream.query_images[met])
        finite = logits.isfinite().all(1)
        if not finite.all():
            warnings.warn(
                f"After session {at} {int((~finite).sum())} of {len(truth)} answers are not finite: the learner "
                "diverged. They count as wrong. Lower its learning rate, or take fewer steps.",
                DivergenceWarning,
                stacklevel=2,
            )
        right = ((logits.argmax(1) == truth) & finite).double()
        for past in range(at + 1):
            own = (truth >= ends[past]) & (truth < ends[past + 1])
            scores[at, past] = float(right[own].mean())
    return scores, seconds


def score_incremental(
    make: Callable[[], IncrementalLearner],
    tasks: IncrementalTasks,
    *,
    streams: int = 10,
    seed: int = 0,
    progress: bool = False,
    title: str = "sessions",
    orders: int = 1,
    embedded: IncrementalTasks | None = None,
) -> IncrementalScores:
    """Scores a learner on a seeded list of streams; equal seeds give every learner equal streams.

    Args:
        make: a fresh learner for each stream.
        tasks: the protocol.
        streams: number ``E`` of streams; each draws other classes, another order and other images.
        seed: names the list.
        progress: show a bar.
        title: of the bar.
        orders: in how many orders of its sessions each stream is scored; all scores but
            :attr:`IncrementalScores.by_order` are those of the first.
        embedded: the same streams with features in place of images, where the learner leaves its network as it is.
            Then each image is embedded once for all streams; times and bytes are taken from the first stream's images.
    """
    every, seconds, others = [], [], []
    learner = make()
    with ProgressBar(title, streams * orders, show=progress) as bar:
        for index in range(streams):
            stream = (embedded or tasks).sample(seeded(seed, "stream", index))
            arrangements = [stream]
            for order in range(1, orders):
                shuffled = torch.randperm(tasks.n_sessions, generator=seeded(seed, "order", index, order))
                arrangements.append(stream.reordered(shuffled.tolist()))
            for number, arranged in enumerate(arrangements):
                learner = make()
                scores, took = run_stream(learner, arranged, seeded(seed, "rows", index))
                if number == 0:
                    every.append(scores)
                    seconds.append(took[1:])
                others.append(scores)
                bar.update(index * orders + number + 1)
    if embedded is not None:
        learner, rng, took = make(), seeded(seed, "rows", 0), []
        for session in tasks.sample(seeded(seed, "stream", 0)).sessions:
            took.append(_timed(learner, session, rng))
        seconds = [took[1:]]
    sizes = np.array([tasks.base_classes] + [tasks.ways] * tasks.n_sessions, dtype=float)
    weights = np.tril(np.ones((len(sizes), len(sizes)))) * sizes

    def after_session(by_session: np.ndarray) -> np.ndarray:
        return np.asarray(np.nansum(by_session * weights, 2) / weights.sum(1))

    by_session, all_orders = np.stack(every), after_session(np.stack(others))
    return IncrementalScores(
        accuracy=after_session(by_session),
        by_session=by_session,
        seconds=np.array(seconds),
        bytes_per_class=learner.bytes_per_class,
        memory_images=learner.memory_images,
        by_order=np.stack([all_orders.mean(1), all_orders[:, -1]], 1).reshape(streams, orders, 2),
    )


def _timed(learner: IncrementalLearner, session: Session, rng: torch.Generator) -> float:
    began = time.perf_counter()
    learner.learn(session, rng)
    return time.perf_counter() - began


def incremental_json(
    scores: Mapping[str, IncrementalScores], reference: str, protocol: Mapping[str, object]
) -> dict[str, object]:
    """The documented, stable object of an incremental comparison; see ``docs/result-files.md``."""
    base = scores[reference]
    return {
        "schema": "genmeta.incremental/1",
        "protocol": dict(protocol),
        "reference": reference,
        "methods": {
            name: {
                **each.summary(),
                "paired_difference": {
                    "average": paired(each.average, base.average).rounded(),
                    "forgetting": paired(each.forgetting, base.forgetting).rounded(),
                },
            }
            for name, each in scores.items()
        },
    }
