"""Autoregressive weights: a row is written chunk by chunk by a causal transformer with mixture-of-Gaussians outputs.

Transformer: Vaswani et al., "Attention is all you need", 2017 (https://arxiv.org/abs/1706.03762). Mixture outputs:
Bishop, "Mixture density networks", 1994. Weights as token sequences: Schürholt et al., "Towards scalable and versatile
weight space learning" (SANE), 2024 (https://arxiv.org/abs/2406.09997). No published few-shot method is this one.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from genmeta.core.randomness import normal, uniform
from genmeta.generators.base import Gradient
from genmeta.generators.standardised import FittedGenerator

#: Rows longer than this many chunks get longer chunks instead.
MOST_CHUNKS = 32
#: Softness of the choice of a component where it must be differentiable.
RELAXATION = 0.5


class AutoregressiveGenerator(FittedGenerator):
    """``p(u | c) = Π_i p(t_i | t_<i, c)``, chunks ``t_i`` of ``u``, each a mixture of diagonal Gaussians.

    Each class's row is written on its own, given its context, so there is no order among classes. In evaluation chunks
    are drawn exactly. In training they are drawn softly, so that a query loss can be differentiated: the component is
    a Gumbel-softmax choice (Jang et al., 2017, https://arxiv.org/abs/1611.01144), and the chunk is the so weighted mean
    of one reparameterised draw of each component.

    Args:
        context_size: ``C``.
        length: ``P``.
        chunk: weights per chunk.
        components: of each mixture.
        width: of the transformer.
        layers: of the transformer.
        heads: of the transformer.
        temperature: of draws in evaluation: spreads are multiplied by it and log weights of components divided; 0
            gives the mean of the likeliest component.
    """

    def __init__(
        self,
        context_size: int,
        length: int,
        chunk: int = 16,
        components: int = 5,
        width: int = 128,
        layers: int = 2,
        heads: int = 4,
        temperature: float = 1.0,
    ) -> None:
        super().__init__(context_size, length)
        self.chunk = max(min(chunk, length), -(-length // MOST_CHUNKS))
        self.n_chunks = -(-length // self.chunk)
        self.components, self.temperature = components, temperature
        self.prefix = nn.Linear(context_size, width)
        self.embed = nn.Linear(self.chunk, width) if self.n_chunks > 1 else None
        self.position = nn.Parameter(0.02 * torch.randn(self.n_chunks, width))
        self.blocks = nn.ModuleList(_Block(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.read = nn.Linear(width, components * (1 + 2 * self.chunk))
        self.read.weight.data.mul_(0.1)
        # components start apart, or they would stay equal
        means = self.read.bias.data[components : components * (1 + self.chunk)]
        nn.init.zeros_(self.read.bias)
        means.copy_(torch.linspace(-1, 1, components).repeat_interleave(self.chunk) if components > 1 else 0.0 * means)

    def fit(
        self, standardised: Tensor, context: Tensor, rng: torch.Generator, gradient: Gradient = torch.zeros_like
    ) -> Tensor:
        return -self.log_likelihood(standardised, context)

    def log_likelihood(self, standardised: Float[Tensor, "B P"], context: Float[Tensor, "B C"]) -> Float[Tensor, " B"]:
        """``log p(u | c)`` in nats."""
        padding = self.n_chunks * self.chunk - self.length
        chunks = F.pad(standardised, (0, padding)).unflatten(1, (self.n_chunks, self.chunk))
        log_weights, means, log_stds = self._mixtures(context, chunks[:, :-1])
        scaled = (chunks[:, :, None] - means) * (-log_stds).exp()
        each = -0.5 * scaled.square() - log_stds - 0.5 * math.log(2 * math.pi)
        real = torch.ones(self.length, device=each.device, dtype=each.dtype)
        counted = F.pad(real, (0, padding)).view(self.n_chunks, 1, self.chunk)
        return torch.logsumexp(log_weights + (each * counted).sum(-1), -1).sum(-1)

    def draw(self, context: Tensor, rng: torch.Generator) -> Tensor:
        chunks = context.new_zeros(context.shape[0], 0, self.chunk)
        for _ in range(self.n_chunks):
            mixture = [part[:, -1] for part in self._mixtures(context, chunks)]
            chunks = torch.cat([chunks, self._draw_chunk(mixture, rng)[:, None]], 1)
        return chunks.flatten(1)[:, : self.length]

    def _draw_chunk(self, mixture: list[Tensor], rng: torch.Generator) -> Tensor:
        log_weights, means, log_stds = mixture
        even = uniform(log_weights.shape, rng).clamp(1e-6, 1 - 1e-6).to(log_weights)
        gumbel = -torch.log(-torch.log(even))
        noise = normal(means.shape, means, rng)
        if self.training:
            choice = torch.softmax((log_weights + gumbel) / RELAXATION, -1)
            draws = means + log_stds.exp() * noise
        else:
            # argmax(log π / τ + g) = argmax(log π + τ g), which is defined at τ = 0 too
            best = (log_weights + self.temperature * gumbel).argmax(-1)
            choice = F.one_hot(best, self.components).to(means)
            draws = means + self.temperature * log_stds.exp() * noise
        return (choice[..., None] * draws).sum(-2)

    def _mixtures(self, context: Tensor, earlier: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of each next chunk: log weights ``[B i M]``, means and log standard deviations ``[B i M chunk]``."""
        x = self.prefix(context)[:, None]
        if self.embed is not None:
            x = torch.cat([x, self.embed(earlier)], 1)
        x = x + self.position[: x.shape[1]]
        for block in self.blocks:
            x = block(x)
        weights, rest = self.read(self.norm(x)).tensor_split([self.components], dim=-1)
        means, log_stds = rest.chunk(2, -1)
        shape = (self.components, self.chunk)
        return weights.log_softmax(-1), means.unflatten(-1, shape), log_stds.unflatten(-1, shape).clamp(-4.0, 2.0)


class _Block(nn.Module):
    """Causal self-attention and a perceptron, each after a layer norm and with a residual."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attend, self.project = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.think = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        parts = self.attend(self.first(x)).chunk(3, -1)
        query, key, value = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        seen = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.project(seen.transpose(1, 2).flatten(2))
        out: Tensor = x + self.think(self.second(x))
        return out
