"""Diffusion over weights, guided by the gradient of the support loss.

Ho et al., "Denoising diffusion probabilistic models", 2020 (https://arxiv.org/abs/2006.11239); Song et al., "Denoising
diffusion implicit models", 2021 (https://arxiv.org/abs/2010.02502); Ho and Salimans, "Classifier-free diffusion
guidance", 2022 (https://arxiv.org/abs/2207.12598). Over few-shot class rows, with the gradient as the denoiser's input:
Zhang et al., "MetaDiff: meta-learning with conditional diffusion for few-shot learning", 2024
(https://arxiv.org/abs/2307.16424). Deviations from MetaDiff: the context of each class is an input too (there the
gradient alone), a residual perceptron instead of a U-Net, rows are standardised corrections of a base row, DDIM, and
the network predicts the velocity ``v`` (Salimans and Ho, "Progressive distillation", 2022,
https://arxiv.org/abs/2202.00512), so that an untrained one already draws rows as widely spread as the bank's.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from genmeta.core.randomness import normal
from genmeta.generators.base import Gradient, GuidedGenerator, Written
from genmeta.generators.standardised import FittedGenerator

#: ``(u_t, t) -> ε``: noisy rows ``[B P]`` and the number of a noise level to the noise that is in them.
Denoiser = Callable[[Tensor, int], Tensor]
_TIME = 32


class DiffusionGenerator(FittedGenerator, GuidedGenerator):
    """``u_0 ~ p(u | c)`` by denoising ``u_T ~ N(0, I)``; fitted by the error of the noise it finds.

    ``fit`` is ``‖ε − ε_φ(u_t, t, c, ∇L_S)‖² / ᾱ_t`` with ``u_t = √ᾱ_t u + √(1−ᾱ_t) ε``: the squared error of ``v``,
    where ``ε_φ = √(1−ᾱ_t) u_t + √ᾱ_t v_φ``. The division lets the noisy levels count, where context is needed most.

    A draw asks for the gradient of the support loss at the rows of each step. In training the draw is differentiated
    through its last ``trained_steps`` steps only (Clark et al., "Directly fine-tuning diffusion models on
    differentiable rewards", 2024, https://arxiv.org/abs/2309.17400).

    Args:
        context_size: ``C``.
        length: ``P``.
        levels: number of noise levels ``T``.
        steps: of a draw.
        guidance: weight ``w`` of classifier-free guidance, ``ε = (1 + w) ε(c) − w ε(∅)``; 0 for none.
        eta: noise that each step adds, 0 (DDIM: noise enters at the start only) to 1 (as much as in DDPM).
        dropout: share of rows that are fitted without context and gradient.
        hidden: width of the denoiser.
        blocks: residual blocks of the denoiser.
        trained_steps: last steps of a draw that a query loss is differentiated through.
        temperature: spread of the noise in evaluation; 0 gives one deterministic draw.
    """

    #: Predictions of ``u_0`` are kept within this many standard deviations of the bank.
    CLIP = 5.0

    def __init__(
        self,
        context_size: int,
        length: int,
        levels: int = 100,
        steps: int = 10,
        guidance: float = 0.0,
        eta: float = 0.0,
        dropout: float = 0.1,
        hidden: int = 256,
        blocks: int = 3,
        trained_steps: int = 2,
        temperature: float = 1.0,
    ) -> None:
        super().__init__(context_size, length)
        self.steps, self.guidance, self.eta, self.dropout = steps, guidance, eta, dropout
        self.trained_steps, self.temperature = trained_steps, temperature
        self.register_buffer("signal", signal_levels(levels))
        self.nothing = nn.Parameter(torch.zeros(context_size))
        self.enter = nn.Linear(2 * length + 1, hidden)
        self.condition = nn.Sequential(nn.Linear(context_size + 2 * _TIME, hidden), nn.GELU())
        self.modulate = nn.ModuleList(nn.Linear(hidden, 2 * hidden) for _ in range(blocks))
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, hidden)) for _ in range(blocks)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(hidden, elementwise_affine=False) for _ in range(blocks))
        self.read = nn.Linear(hidden, length)
        self.read.weight.data.mul_(0.1)

    def fit(
        self, standardised: Tensor, context: Tensor, rng: torch.Generator, gradient: Gradient = torch.zeros_like
    ) -> Tensor:
        signal = self.get_buffer("signal")
        level = torch.randint(0, len(signal), (len(context),), generator=rng).to(context.device)
        noise = normal(standardised.shape, standardised, rng)
        kept = (torch.rand((len(context), 1), generator=rng) >= self.dropout).to(context)
        a = signal[level][:, None].to(standardised)
        noisy = a.sqrt() * standardised + (1 - a).sqrt() * noise
        predicted = self._noise(noisy, level, context, self._slope(noisy, gradient), kept)
        return ((predicted - noise).square() / a).sum(-1)

    def draw(self, context: Tensor, rng: torch.Generator) -> Tensor:
        return self._draw(context, rng, torch.zeros_like)

    def guided(self, context: Tensor, rng: torch.Generator, gradient: Gradient) -> Written:
        values = self.restore(self._draw(context, rng, gradient))
        return Written(values, context.new_zeros(context.shape[0]))

    def _draw(self, context: Tensor, rng: torch.Generator, gradient: Gradient) -> Tensor:
        one = context.new_ones(len(context), 1)

        def denoise(u: Tensor, level: int) -> Tensor:
            levels = torch.full((len(u),), level, device=u.device)
            slope = self._slope(u, gradient)
            noise = self._noise(u, levels, context, slope, one)
            if self.guidance:
                blind = self._noise(u, levels, context, slope, 0 * one)
                noise = (1 + self.guidance) * noise - self.guidance * blind
            return noise

        spread = 1.0 if self.training else self.temperature
        first = spread * normal((len(context), self.length), context, rng)
        trained = self.trained_steps if self.training else None
        return sample(
            denoise,
            first,
            self.get_buffer("signal"),
            self.steps,
            rng,
            eta=self.eta * spread,
            clip=self.CLIP,
            trained=trained,
        )

    def _slope(self, u: Tensor, gradient: Gradient) -> Tensor:
        """Direction and log size of the support loss's gradient with respect to ``u``, ``[B P+1]``, as numbers."""
        slope = self.get_buffer("std") * gradient(self.restore(u.detach()))
        size = slope.square().mean(-1, keepdim=True).sqrt()
        return torch.cat([slope / (size + 1e-6), torch.log1p(100 * size)], -1).detach()

    def _noise(self, u: Tensor, level: Tensor, context: Tensor, slope: Tensor, kept: Tensor) -> Tensor:
        """``ε_φ(u_t, t, c, ∇L_S)``; rows with ``kept = 0`` see neither context nor gradient."""
        frequencies = torch.logspace(0, 2, _TIME, device=u.device, dtype=u.dtype)
        angle = (level[:, None] / len(self.get_buffer("signal"))).to(u) * frequencies
        seen = kept * context + (1 - kept) * self.nothing
        condition = self.condition(torch.cat([seen, angle.sin(), angle.cos()], -1))
        x = self.enter(torch.cat([u, kept * slope], -1))
        for modulate, norm, block in zip(self.modulate, self.norms, self.blocks, strict=True):
            scale, shift = modulate(condition).chunk(2, -1)
            x = x + block(norm(x) * (1 + scale) + shift)
        a = self.get_buffer("signal")[level][:, None].to(u)
        out: Tensor = (1 - a).sqrt() * u + a.sqrt() * self.read(x)
        return out


def signal_levels(levels: int) -> Float[Tensor, " L"]:
    """``ᾱ_t``, the share of signal at each noise level, on a cosine from almost 1 to 10⁻³.

    Nichol and Dhariwal, "Improved denoising diffusion probabilistic models", 2021 (https://arxiv.org/abs/2102.09672);
    the last levels, which hold no signal at all, are left out.
    """
    position = (torch.arange(levels, dtype=torch.float64) + 1) / levels
    return torch.cos(0.98 * position * math.pi / 2).square().clamp_max(0.9995).float()


def sample(
    denoise: Denoiser,
    first: Float[Tensor, "B P"],
    signal: Float[Tensor, " L"],
    steps: int,
    rng: torch.Generator,
    *,
    eta: float = 0.0,
    clip: float = math.inf,
    trained: int | None = None,
) -> Float[Tensor, "B P"]:
    """The DDIM sampler.

    ``u_s = √ᾱ_s û_0 + √(1 − ᾱ_s − σ²) ε + σ z`` with ``û_0 = (u_t − √(1−ᾱ_t) ε) / √ᾱ_t`` and
    ``σ = η √((1−ᾱ_s)/(1−ᾱ_t)) √(1 − ᾱ_t/ᾱ_s)``; the last step ends at ``û_0``.

    Args:
        denoise: ``ε`` at a noise level.
        first: ``u_T``.
        signal: ``ᾱ`` of each level, falling.
        steps: to take, at most the number of levels.
        rng: of ``z``; not touched where ``eta`` is 0.
        eta: ``η``, 0 to 1.
        clip: largest size of ``û_0``.
        trained: how many of the last steps keep their graph; ``None`` for all.
    """
    levels = torch.linspace(len(signal) - 1, 0, min(steps, len(signal))).round().long().tolist()
    u = first
    for at, level in enumerate(levels):
        keep = torch.is_grad_enabled() and (trained is None or at >= len(levels) - trained)
        with torch.set_grad_enabled(keep):
            a = signal[level]
            after = signal[levels[at + 1]] if at + 1 < len(levels) else torch.ones_like(a)
            guess = ((u - (1 - a).sqrt() * denoise(u, level)) / a.sqrt()).clamp(-clip, clip)
            epsilon = (u - a.sqrt() * guess) / (1 - a).sqrt()
            variance = eta**2 * (1 - after) / (1 - a) * (1 - a / after)
            u = after.sqrt() * guess + (1 - after - variance).clamp_min(0).sqrt() * epsilon
            if eta:
                u = u + variance.sqrt() * normal(tuple(u.shape), u, rng)
    return u
