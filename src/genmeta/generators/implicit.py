"""The implicit generator: noise and context through a network, the generator of a generative adversarial network.

Goodfellow et al., "Generative adversarial nets", 2014 (https://arxiv.org/abs/1406.2661); conditional: Mirza and
Osindero, 2014 (https://arxiv.org/abs/1411.1784). Weights from noise: Ratzlaff and Li, "HyperGAN", 2019
(https://arxiv.org/abs/1901.11058). It only draws; what trains it (a critic, a query loss) lives elsewhere.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from genmeta.core.randomness import normal
from genmeta.generators.standardised import StandardisedGenerator, perceptron


class ImplicitGenerator(StandardisedGenerator):
    """``u = G(c, z)`` with ``z ~ N(0, I)``, cut at ``±truncation`` in evaluation.

    Truncation trades diversity for quality: Brock et al., "Large scale GAN training", 2019
    (https://arxiv.org/abs/1809.11096).

    Args:
        context_size: ``C``.
        length: ``P``.
        noise: length of ``z``.
        hidden: width of the hidden layers.
        truncation: where ``z`` is cut in evaluation; 0 gives ``z = 0``, a single deterministic draw.
    """

    def __init__(
        self, context_size: int, length: int, noise: int = 16, hidden: int = 256, truncation: float = 1.5
    ) -> None:
        super().__init__(context_size, length)
        self.noise, self.truncation = noise, truncation
        # no last bias: that is the bank's mean, and for class rows a common vector that changes no prediction
        self.network = perceptron(context_size + noise, hidden, length, last_scale=0.1, last_bias=False)

    def latent(self, context: Tensor, rng: torch.Generator) -> Float[Tensor, "B Z"]:
        """Noise for each row of ``context``: normal in training, truncated normal in evaluation."""
        z = normal((context.shape[0], self.noise), context, rng)
        if self.training:
            return z
        # the same quantile of the truncated distribution, so one draw is one number in either mode
        mass = math.erf(self.truncation / math.sqrt(2))
        quantile = torch.erf(z / math.sqrt(2)) * mass
        return math.sqrt(2) * torch.erfinv(quantile)

    def at(self, context: Float[Tensor, "B C"], z: Float[Tensor, "B Z"]) -> Float[Tensor, "B P"]:
        """``G(c, z)``."""
        return self.network(torch.cat([context, z], -1))

    def draw(self, context: Tensor, rng: torch.Generator) -> Tensor:
        return self.at(context, self.latent(context, rng))
