"""An average of the weights over the last meta-steps, to validate, keep and use in place of the last ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


class WeightAverage(nn.Module):
    """``w̄ ← d w̄ + (1 − d) w`` after each meta-step, with ``d = min(decay, (1 + s) / (10 + s))`` after ``s`` of them.

    The weights of two players circle around a balance that their average is nearer to; the rule of Karras et al.,
    "Progressive growing of GANs", 2018 (https://arxiv.org/abs/1710.10196), and of Ho et al., "Denoising diffusion
    probabilistic models", 2020 (https://arxiv.org/abs/2006.11239). The smaller ``d`` of the first steps lets short
    trainings forget where they began. Buffers are not averaged.

    Args:
        module: whose trainable parameters to average.
        decay: ``d``; 0 keeps no average.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        super().__init__()
        self._module, self.decay = [module], decay  # in a list: no part of this module's own state
        self._taken_in = -1
        self._names = [name for name, p in module.named_parameters() if p.requires_grad] if decay else []
        for at, name in enumerate(self._names):
            self.register_buffer(f"average{at}", module.get_parameter(name).detach().clone())

    def _pairs(self) -> Iterator[tuple[nn.Parameter, torch.Tensor]]:
        for at, name in enumerate(self._names):
            yield self._module[0].get_parameter(name), self.get_buffer(f"average{at}")

    @torch.no_grad()
    def update(self, steps: int) -> None:
        """Takes in the weights after ``steps`` meta-steps; once, however often that step is computed."""
        if steps == self._taken_in:
            return
        self._taken_in = steps
        decay = min(self.decay, (1 + steps) / (10 + steps))
        for parameter, average in self._pairs():
            average.lerp_(parameter, 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The module has the averaged weights while this lasts."""
        own = [parameter.detach().clone() for parameter, _ in self._pairs()]
        with torch.no_grad():
            for parameter, average in self._pairs():
                parameter.copy_(average)
        try:
            yield
        finally:
            with torch.no_grad():
                for (parameter, _), value in zip(self._pairs(), own, strict=True):
                    parameter.copy_(value)
