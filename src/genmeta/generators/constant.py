"""The constant generator: the same start for every task. With it the general loop is MAML, Reptile, ANIL, Meta-SGD."""

from __future__ import annotations

import torch
from torch import Tensor

from genmeta.generators.base import ParameterGenerator, Written


class ConstantGenerator(ParameterGenerator):
    """Writes zeros, that is: the base, whatever the context.

    The constant that MAML learns *is* the base (the learner's own tensors and the row base), so this generator has
    no parameters of its own.
    """

    def forward(self, context: Tensor, rng: torch.Generator) -> Written:
        return Written(context.new_zeros(context.shape[0], self.length), context.new_zeros(context.shape[0]))
