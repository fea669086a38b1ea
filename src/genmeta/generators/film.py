"""FiLM from the task context: scales and shifts near one and zero, with a learned strength for each.

Requeima, Gordon, Bronskill, Nowozin and Turner, "Fast and flexible multi-task classification using conditional neural
adaptive processes" (CNAPs), 2019 (https://arxiv.org/abs/1906.07697).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from genmeta.generators.base import ParameterGenerator, Written
from genmeta.generators.standardised import perceptron


class FiLMGenerator(ParameterGenerator):
    """``γ = 1 + r_γ ⊙ g(c)``, ``β = r_β ⊙ b(c)``; cost ``penalty · Σ r²``.

    One network writes ``g`` and ``b`` of all layers. The 1 and the 0 are the base's own scales and shifts, which are
    learned. Deviations: no auto-regressive context from lower layers; one network for all layers.

    Args:
        context_size: ``C``.
        length: ``P``, number of scales and shifts.
        hidden: width of the hidden layers.
        penalty: cost of a strength ``r``.
        strength: ``r`` before training.
    """

    def __init__(
        self, context_size: int, length: int, hidden: int = 256, penalty: float = 1e-3, strength: float = 0.1
    ) -> None:
        super().__init__(context_size, length)
        self.penalty = penalty
        self.network = perceptron(context_size, hidden, length)
        self.strength = nn.Parameter(torch.full((length,), strength))

    def forward(self, context: Tensor, rng: torch.Generator) -> Written:
        values = self.strength * self.network(context)
        return Written(values, (self.penalty * self.strength.square().sum()).expand(context.shape[0]))
