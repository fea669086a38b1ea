"""Rows from a latent of each class whose posterior is matched in training: a neural process that writes weights.

Garnelo et al., "Neural processes", 2018 (https://arxiv.org/abs/1807.01622); Kim et al., "Attentive neural processes",
2019 (https://arxiv.org/abs/1901.05761). Written weights in place of a decoder of query points: this library's own.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from genmeta.core.randomness import normal
from genmeta.generators.base import PosteriorGenerator, Written
from genmeta.generators.standardised import perceptron
from genmeta.generators.vae import gaussian_kl


class NeuralProcessGenerator(PosteriorGenerator):
    """``z ~ q(z | S) = N(μ(c), σ(c)²)``, ``w = decode(z, c)``; in training ``z ~ q(z | S ∪ Q)``.

    ``σ = 0.1 + 0.9 sigmoid(·)``, as in attentive neural processes. One network gives both distributions; the decoder
    sees the context of the support set in either case. Cost in training:
    ``Σ_d max(KL(q(z_d | S ∪ Q) ‖ q(z_d | S)), free_bits)``.

    Args:
        context_size: ``C``.
        length: ``P``.
        latent: length of ``z``.
        hidden: width of the decoder.
        free_bits: nats per latent coordinate that are not worth saving.
    """

    def __init__(
        self, context_size: int, length: int, latent: int = 32, hidden: int = 256, free_bits: float = 0.02
    ) -> None:
        super().__init__(context_size, length)
        self.free_bits = free_bits
        self.moments = nn.Linear(context_size, 2 * latent)
        self.decoder = perceptron(latent + context_size, hidden, length, last_scale=0.1, last_bias=False)

    def forward(self, context: Tensor, rng: torch.Generator) -> Written:
        return Written(self._draw(self._gaussian(context), context, rng), context.new_zeros(context.shape[0]))

    def match(self, context: Tensor, evidence: Tensor, rng: torch.Generator) -> Written:
        posterior = self._gaussian(evidence)
        divergence = gaussian_kl(posterior, self._gaussian(context)).clamp_min(self.free_bits).sum(-1)
        return Written(self._draw(posterior, context, rng), divergence)

    def _gaussian(self, context: Tensor) -> tuple[Tensor, Tensor]:
        mean, rho = self.moments(context).chunk(2, -1)
        return mean, (0.1 + 0.9 * torch.sigmoid(rho)).log()

    def _draw(self, gaussian: tuple[Tensor, Tensor], context: Tensor, rng: torch.Generator) -> Tensor:
        mean, log_sigma = gaussian
        z = mean + log_sigma.exp() * normal(mean.shape, mean, rng)
        values: Tensor = self.decoder(torch.cat([z, context], -1))
        return values
