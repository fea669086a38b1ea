"""Generators that work in standardised coordinates, each with mean 0 and spread 1 over a bank of weights."""

from __future__ import annotations

from abc import abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor, nn

from genmeta.generators.base import Gradient, ParameterGenerator, Written


class StandardisedGenerator(ParameterGenerator):
    """Writes ``mean + std · u`` with ``u ~ p(u | c)``; mean and spread of each coordinate are set from a bank.

    Weights differ in spread by orders of magnitude (a bias and a weight, say); without standardisation the largest
    coordinates rule every loss on weights. Mean and spread are saved with the generator.
    """

    def __init__(self, context_size: int, length: int) -> None:
        super().__init__(context_size, length)
        self.register_buffer("mean", torch.zeros(length))
        self.register_buffer("std", torch.ones(length))

    def set_statistics(self, mean: Float[Tensor, " P"], std: Float[Tensor, " P"]) -> None:
        """Sets the mean and the spread that ``u`` is measured in."""
        self.get_buffer("mean").copy_(mean)
        self.get_buffer("std").copy_(std)

    def standardise(self, values: Float[Tensor, "B P"]) -> Float[Tensor, "B P"]:
        """``u = (values − mean) / std``."""
        return (values - self.get_buffer("mean")) / self.get_buffer("std")

    def restore(self, standardised: Float[Tensor, "B P"]) -> Float[Tensor, "B P"]:
        """The inverse of :meth:`standardise`."""
        return self.get_buffer("mean") + self.get_buffer("std") * standardised

    @abstractmethod
    def draw(self, context: Float[Tensor, "B C"], rng: torch.Generator) -> Float[Tensor, "B P"]:
        """One ``u`` per context vector."""

    def forward(self, context: Tensor, rng: torch.Generator) -> Written:
        return Written(self.restore(self.draw(context, rng)), context.new_zeros(context.shape[0]))


class FittedGenerator(StandardisedGenerator):
    """A generator that can be fitted to weights directly: it has a likelihood, or a bound or stand-in for one."""

    @abstractmethod
    def fit(
        self,
        standardised: Float[Tensor, "B P"],
        context: Float[Tensor, "B C"],
        rng: torch.Generator,
        gradient: Gradient = torch.zeros_like,
    ) -> Float[Tensor, " B"]:
        """What to minimise over the generator's parameters so that it draws such ``u`` for such contexts.

        Args:
            standardised: ``u`` of each row of the bank.
            context: of each row.
            rng: noise.
            gradient: of the support loss with respect to the *values*, for generators that are guided by it.
        """


def perceptron(
    inputs: int, hidden: int, outputs: int, last_scale: float = 1.0, last_bias: bool = True
) -> nn.Sequential:
    """Two hidden layers; the last one's initial weights times ``last_scale``, its initial bias zero if it has one."""
    last = nn.Linear(hidden, outputs, bias=last_bias)
    if last_bias:
        nn.init.zeros_(last.bias)
    last.weight.data.mul_(last_scale)
    return nn.Sequential(nn.Linear(inputs, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(), last)
