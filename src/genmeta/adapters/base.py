"""What every adapter is: the way from a start to adapted weights."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from torch import Tensor

from genmeta.core.types import Start, Weights

#: The support loss of each task, ``[T]`` nats, at given weights.
SupportLoss = Callable[[Weights], Tensor]


class Adapter(ABC):
    """Moves the weights of every task of a batch along its own support loss."""

    @abstractmethod
    def adapt(self, start: Start, loss: SupportLoss, steps: int, *, differentiable: bool) -> list[Weights]:
        """The trajectory ``θ₀ … θ_steps``, ``steps + 1`` entries.

        Args:
            start: θ₀ and α.
            loss: support loss of each task.
            steps: how many, 0 or more. Zero steps is the identity.
            differentiable: keep the graph, so that the trajectory can be differentiated with respect to the start.
        """
