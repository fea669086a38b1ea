"""Particles: a few learned starts in place of one, the same for every task.

Yoon, Kim, Dia, Kim, Bengio and Ahn, "Bayesian model-agnostic meta-learning", 2018 (https://arxiv.org/abs/1806.03836).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from genmeta.core.errors import UsageError
from genmeta.core.spec import ParamSpec
from genmeta.core.types import ROWS, Context, Start
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

    def forward(self, start: Start, context: Context | None, rng: torch.Generator) -> Start:
        """The first ``S = start.samples`` particles for each task.

        Raises:
            UsageError: there are fewer particles than ``S``.
        """
        if start.samples > self.count:
            raise UsageError(
                f"This model has {self.count} particles, so it cannot give {start.samples} samples. "
                f"Ask for {self.count} or fewer, or train it with more particles."
            )
        n_tasks = start.weights[ROWS].shape[0] // start.samples
        weights = dict(start.weights)
        for name, offset in zip(self.names, self.offsets, strict=True):
            weights[name] = weights[name] + self._each(offset, start.samples, n_tasks)
        factors = self._each(self.row_factors, start.samples, n_tasks)
        weights[ROWS] = weights[ROWS] * (1 + factors[:, None, :])
        return start._replace(weights=weights)

    @staticmethod
    def _each(values: Tensor, samples: int, n_tasks: int) -> Tensor:
        """``[M ...]`` to ``[T*S ...]``, the draws of a task in a row."""
        return values[:samples].expand(n_tasks, samples, *values.shape[1:]).flatten(0, 1)
