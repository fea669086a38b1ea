"""Scores of visual tasks whose outputs are maps: scored batch by batch, since all maps at once would not fit."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from genmeta.core.types import Task
from genmeta.engine.workers import in_turn
from genmeta.methods import MetaLearner
from genmeta.vision import Scores

#: Scores of single classes are kept where the data have no more classes than this.
FEW_CLASSES = 40


class MapScores(NamedTuple):
    """Scores of all episodes after some number of steps.

    Attributes:
        scores: of the average over draws.
        first: ``[E]`` main score of the first draw alone; ``None`` with one draw.
        by_class: name -> mean main score.
        diverged: number of episodes with an answer that is not finite.
    """

    scores: Scores
    first: np.ndarray | None
    by_class: dict[str, float]
    diverged: int


class Tally:
    """Collects the scores of batches of episodes.

    Args:
        meta_learner: what answers.
        samples: draws of each task, which are averaged.
    """

    def __init__(self, meta_learner: MetaLearner, samples: int) -> None:
        self._vision, self._samples = meta_learner.vision, samples
        self._parts: list[Scores] = []
        self._first: list[np.ndarray] = []
        self._ids: list[Tensor] = []
        self._diverged: list[int] = []

    def add(self, outputs: Tensor, task: Task) -> None:
        """Scores ``[T*S ...]`` outputs for the queries of a batch."""
        pooled = self._vision.pooled(outputs, task.n_tasks)
        self._diverged.append(int((~pooled.isfinite()).flatten(1).any(1).sum()))
        self._parts.append(self._vision.scores(pooled, task.query.targets))
        if self._samples > 1:
            # what a single draw is worth, beside the average of all
            self._first.append(self._vision.scores(outputs[:: self._samples], task.query.targets).main)
        self._ids.append(task.class_ids.cpu())

    @classmethod
    def of(cls, tallies: Sequence[Tally]) -> Tally:
        """The tallies of several processes as one, batches in the order in which one process alone takes them."""
        joined = copy.copy(tallies[0])
        joined._parts = in_turn([tally._parts for tally in tallies])
        joined._first = in_turn([tally._first for tally in tallies])
        joined._ids = in_turn([tally._ids for tally in tallies])
        joined._diverged = in_turn([tally._diverged for tally in tallies])
        return joined

    def total(self, names: Sequence[str]) -> MapScores:
        """All of them; ``names`` of all classes, or none where single classes are not of interest."""
        parts, each = self._parts, [part.classes for part in self._parts if part.classes is not None]
        by_class: dict[str, float] = {}
        if each and names:
            values, ids = np.concatenate(each), torch.cat(self._ids).numpy()
            for k, name in enumerate(names):
                known = values[(ids == k) & ~np.isnan(values)]
                if len(known):
                    by_class[name] = float(known.mean())
        scores = Scores(
            main=np.concatenate([part.main for part in parts]),
            nll=np.concatenate([part.nll for part in parts]),
            confidence=np.concatenate([part.confidence for part in parts]),
            correct=np.concatenate([part.correct for part in parts]),
            extra={name: np.concatenate([part.extra[name] for part in parts]) for name in parts[0].extra},
        )
        first = np.concatenate(self._first) if self._first else None
        return MapScores(scores, first, by_class, sum(self._diverged))
