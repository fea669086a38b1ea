"""The critic of an adversarial game over class rows, and the three games it can play.

``wgan-gp``: Gulrajani et al., "Improved training of Wasserstein GANs", 2017 (https://arxiv.org/abs/1704.00028).
``hinge``: Lim and Ye, "Geometric GAN", 2017 (https://arxiv.org/abs/1705.02894), with the spectral normalisation of
Miyato et al., 2018 (https://arxiv.org/abs/1802.05957). ``minmax``: Goodfellow et al., 2014, non-saturating; it
loses modes easily.
Conditioned on the support set: Mirza and Osindero, 2014 (https://arxiv.org/abs/1411.1784).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from genmeta.core.errors import unknown
from genmeta.core.types import Logs, Tokens

GAMES = ("wgan-gp", "hinge", "minmax")


class Critic(nn.Module):
    """``D(w_k, c_k)``: a score for each class's row, given what the critic's own encoder says of that class.

    The encoder relates the classes of a task, so the critic sees each row in its task. It is the critic's own, since
    the generator's encoder moves against it.

    Args:
        encoder: support evidence to class contexts.
        context_size: ``C`` of the encoder.
        length: ``P`` of a row.
        game: one of :data:`GAMES`.
        hidden: width.
    """

    def __init__(self, encoder: nn.Module, context_size: int, length: int, game: str, hidden: int = 256) -> None:
        super().__init__()
        if game not in GAMES:
            raise unknown("adversary", game, GAMES)
        layers: list[nn.Module] = [
            nn.Linear(context_size + length, hidden),
            nn.Linear(hidden, hidden),
            nn.Linear(hidden, 1),
        ]
        if game == "hinge":
            layers = [spectral_norm(layer) for layer in layers]
        self.game, self.encoder = game, encoder
        first, second, last = layers
        self.score = nn.Sequential(first, nn.LeakyReLU(0.2), second, nn.LeakyReLU(0.2), last)

    def condition(self, tokens: Tokens) -> Float[Tensor, "B C"]:
        """What the support sets say of each class, ``[T*K C]``."""
        context: Tensor = self.encoder(tokens).classes.flatten(0, 1)
        return context

    def forward(self, rows: Float[Tensor, "B P"], condition: Float[Tensor, "B C"]) -> Float[Tensor, " B"]:
        """Scores of standardised rows; high for rows that look real."""
        scores: Tensor = self.score(torch.cat([rows, condition], -1))[:, 0]
        return scores


def critic_loss(
    critic: Critic, real: Tensor, fake: Tensor, condition: Tensor, mix: Tensor, penalty: float
) -> tuple[Tensor, Logs]:
    """What the critic minimises, and numbers for the log.

    ``wgan-gp``: ``E D(fake) − E D(real) + λ E (‖∇D(mix)‖ − 1)²``; ``hinge``: ``E [1 − D(real)]₊ + E [1 + D(fake)]₊``;
    ``minmax``: ``−E log σ(D(real)) − E log (1 − σ(D(fake)))``.

    Args:
        critic: the critic.
        real: ``[B P]`` rows of the bank.
        fake: ``[B P]`` generated rows; their own graph is cut.
        condition: ``[B C]``, see :meth:`Critic.condition`.
        mix: ``[B 1]`` uniform numbers, where between real and fake the gradient is penalised.
        penalty: ``λ`` of ``wgan-gp``.
    """
    fake = fake.detach()
    on_real, on_fake = critic(real, condition), critic(fake, condition)
    logs: Logs = {
        "critic_gap": (on_real.mean() - on_fake.mean()).detach(),
        "critic_accuracy": (on_real > on_fake).float().mean(),
    }
    if critic.game == "hinge":
        return F.relu(1 - on_real).mean() + F.relu(1 + on_fake).mean(), logs
    if critic.game == "minmax":
        return F.softplus(-on_real).mean() + F.softplus(on_fake).mean(), logs
    excess = gradient_penalty(lambda rows: critic(rows, condition), torch.lerp(fake, real, mix))
    logs["critic_penalty"] = excess.detach()
    return on_fake.mean() - on_real.mean() + penalty * excess, logs


def gradient_penalty(score: Callable[[Tensor], Tensor], rows: Float[Tensor, "B P"]) -> Float[Tensor, ""]:
    """``E (‖∇_w D(w)‖₂ − 1)²`` over rows."""
    rows = rows.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(score(rows).sum(), rows, create_graph=True)
    # the small number keeps the derivative of the norm finite where the gradient vanishes
    return (((gradient.square().sum(-1) + 1e-12).sqrt() - 1) ** 2).mean()


def generator_loss(critic: Critic, fake: Tensor, condition: Tensor) -> Tensor:
    """What the generator minimises: ``−E D(fake)``; with ``minmax`` the non-saturating ``−E log σ(D(fake))``."""
    scores = critic(fake, condition)
    return F.softplus(-scores).mean() if critic.game == "minmax" else -scores.mean()
