"""What adaptation leaves, and the features it remembers on the way."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from genmeta.core.batching import Patches
from genmeta.core.types import Start, Tokens, Weights
from genmeta.learners import Learner, Statistics


class State(NamedTuple):
    """Weights after some step, and what answering under them needs beside them.

    Attributes:
        weights: written tensors and class rows, name -> ``[T*S ...]``.
        statistics: of the support set's norms, for batch norm; else ``None``.
        tokens: support evidence, for a reader; else ``None``.
    """

    weights: Weights
    statistics: Statistics | None
    tokens: Tokens | None


class Adapted(NamedTuple):
    """What adaptation leaves.

    Attributes:
        states: step -> state, at the steps asked for.
        start: where adaptation began, its cost with what adapting a latent cost.
        trajectory: ``θ₀ … θ_steps``.
        share: draws that share the features of their task.
    """

    states: dict[int, State]
    start: Start
    trajectory: list[Weights]
    share: int


class FeatureMemory:
    """Features of one set of images, recomputed only when a shared tensor has changed since the last call.

    Rows-only adaptation therefore embeds each image once, however many steps follow; and where kernels move, the
    patches of the first convolution are cut out once.
    """

    def __init__(self, learner: Learner, images: Tensor, names: tuple[str, ...]) -> None:
        self._learner, self._images, self._names = learner, images, names
        self._patches: Patches = {}
        self._of: tuple[Tensor | None, ...] | None = None
        self._result: tuple[Tensor, Statistics] | None = None

    def features(self, weights: Weights, statistics: Statistics | None, graph: bool) -> tuple[Tensor, Statistics]:
        """Features and norm statistics under ``weights``; ``graph`` keeps the way back to the learner's own weights."""
        of = tuple(weights.get(name) for name in self._names)
        same = self._result is not None and all(a is b for a, b in zip(of, self._of or (), strict=True))
        # statistics change with the support pass, which changes with the same tensors
        if not same or self._result is None:
            moving = any(tensor is not None and tensor.requires_grad for tensor in of)
            with torch.set_grad_enabled(torch.is_grad_enabled() and (graph or moving)):
                self._result = self._learner.features(self._images, weights, statistics, self._patches)
            self._of = of
        return self._result
