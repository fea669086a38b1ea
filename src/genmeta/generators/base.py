"""What every generator is: p(w | c), a distribution of weight vectors given a context vector."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from genmeta.core.types import Context, Start, Weights

#: Written values ``[B P]`` -> the gradient of the support loss with respect to them, ``[B P]``, as plain numbers.
Gradient = Callable[[Tensor], Tensor]


class Written(NamedTuple):
    """A sample of weights.

    Attributes:
        values: ``[B P]`` standardised coordinates: the weights are ``base + scale · values``.
        cost: ``[B]`` nats, what the sample cost (a KL divergence, a squared norm); trained down with the query loss.
    """

    values: Float[Tensor, "B P"]
    cost: Float[Tensor, " B"]


class ParameterGenerator(nn.Module, ABC):
    """Writes ``P`` weights from a context vector; never sees an image, a label or the kind of visual task.

    Row ``b`` of the output depends on row ``b`` of the context and on the noise of row ``b`` alone.

    Args:
        context_size: ``C``, length of the context vector.
        length: ``P``, how many weights to write.
    """

    def __init__(self, context_size: int, length: int) -> None:
        super().__init__()
        self.context_size, self.length = context_size, length

    @abstractmethod
    def forward(self, context: Float[Tensor, "B C"], rng: torch.Generator) -> Written:
        """Draws one weight vector per context vector; noise comes from ``rng`` alone."""


class PosteriorGenerator(ParameterGenerator):
    """A generator with a latent that in training is drawn given more evidence than it will have in use."""

    @abstractmethod
    def match(self, context: Float[Tensor, "B C"], evidence: Float[Tensor, "B C"], rng: torch.Generator) -> Written:
        """As :meth:`forward`, with the latent drawn given ``evidence``; the cost holds its divergence from the prior.

        Args:
            context: of the support set.
            evidence: of the support and the query set.
            rng: noise.
        """


class StartWriter(nn.Module, ABC):
    """Rewrites a whole start: particles, a Gaussian over all written weights, or weights decoded from a latent.

    For families that a :class:`ParameterGenerator` cannot express, because the draws of a task differ by more than
    noise, or because adaptation moves something other than the weights.
    """

    def shared(self, weights: Weights, samples: int) -> Weights:
        """The shared tensors ``[T*S *shape]`` of every draw where they are known before the rows; by default as given.

        Rows in closed form are then computed on the features of their own draw.
        """
        return weights

    @abstractmethod
    def forward(self, start: Start, context: Context | None, rng: torch.Generator) -> Start:
        """The new start.

        Args:
            start: the base of every written weight, ``S = start.samples`` times for each task.
            context: of the support set, repeated likewise; ``None`` without an encoder.
            rng: noise.
        """


class GuidedGenerator(ParameterGenerator):
    """A generator that looks at the gradient of the support loss while it draws.

    The support loss couples the rows of a task, so here row ``b`` of the output may depend on the other rows of its
    own task.
    """

    @abstractmethod
    def guided(self, context: Float[Tensor, "B C"], rng: torch.Generator, gradient: Gradient) -> Written:
        """As :meth:`forward`, with ``gradient`` to ask on the way."""

    def forward(self, context: Float[Tensor, "B C"], rng: torch.Generator) -> Written:
        """Draws without guidance: the gradient is taken to be zero."""
        return self.guided(context, rng, torch.zeros_like)
