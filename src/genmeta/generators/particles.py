"""Particles: a few learned starts in place of one, the same for every task.

Yoon, Kim, Dia, Kim, Bengio and Ahn, "Bayesian model-agnostic meta-learning", 2018 (https://arxiv.org/abs/1806.03836).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from genmeta.core.errors import UsageError
from genmeta.core.spec import ParamSpec
from genmeta.core.types import ROWS, Context, Start, Weights
from genmeta.generators.base import StartWriter


class Particles(StartWriter):
    """``θ^m = base + u_m`` for shared tensors, ``row_k^m = base_k ⊙ (1 + v_m)`` for rows, ``u`` and ``v`` learned.

    Deviation: the paper learns the rows of each class number. Here a particle has one ``v_m`` for all classes, so that
    any number of classes can be served in any order; it multiplies, since what is *added* to the rows of all classes
    alike cancels in the softmax.

    Args:
        spec: the written weights.
        count: number of particles ``M``.
        spread: standard deviation of ``v``, and of ``u`` in units of a tensor's initial spread, before training.
    """

    def __init__(self, spec: ParamSpec, count: int, spread: float) -> None:
        super().__init__()
        if count < 1:
            raise UsageError(f"There must be 1 particle or more, got {count}.")
        self.count = count
        self.names = [name for name, _ in spec.shared]
        self.row_factors = nn.Parameter(spread * torch.randn(count, spec.row_length))
        self.offsets = nn.ParameterList(
            spread * (1.0 if len(shape) == 1 else (2.0 / shape[1:].numel()) ** 0.5) * torch.randn(count, *shape)
            for shape in (torch.Size(shape) for _, shape in spec.shared)
        )

    def begin_at(self, starts: Sequence[Mapping[str, Tensor]]) -> None:
        """Puts particle ``m`` at the shared tensors ``starts[m]``, the first of which is the base.

        Rows stay as they come. Networks that were trained apart differ by more than a spread about one of them.
        """
        with torch.no_grad():
            self.row_factors.zero_()
            for name, offset in zip(self.names, self.offsets, strict=True):
                for m, start in enumerate(starts):
                    offset[m] = start[name] - starts[0][name]

    def shared(self, weights: Weights, samples: int) -> Weights:
        """The shared tensors of the first ``samples`` particles for each task.

        Raises:
            UsageError: there are fewer particles.
        """
        self._check(samples)
        moved = dict(weights)
        for name, offset in zip(self.names, self.offsets, strict=True):
            moved[name] = weights[name] + self._each(offset, samples, len(weights[name]) // samples)
        return moved

    def forward(self, start: Start, context: Context | None, rng: torch.Generator) -> Start:
        """The rows of the first ``S = start.samples`` particles for each task.

        Raises:
            UsageError: there are fewer particles than ``S``.
        """
        self._check(start.samples)
        rows = start.weights[ROWS]
        factors = self._each(self.row_factors, start.samples, len(rows) // start.samples)
        return start._replace(weights={**start.weights, ROWS: rows * (1 + factors[:, None, :])})

    def _check(self, samples: int) -> None:
        if samples > self.count:
            raise UsageError(
                f"This model has {self.count} particles, so it cannot give {samples} samples. "
                f"Ask for {self.count} or fewer, or train it with more particles."
            )

    @staticmethod
    def _each(values: Tensor, samples: int, n_tasks: int) -> Tensor:
        """``[M ...]`` to ``[T*S ...]``, the draws of a task in a row."""
        return values[:samples].expand(n_tasks, samples, *values.shape[1:]).flatten(0, 1)
