"""``maml-gan`` and ``meta-sgd-gan``: noise and support set to an initialisation, which a few gradient steps adapt.

No paper defines a "MAML-GAN" over weights; the definition is this library's. With a bank of rows θ* that many labels
ask for (:mod:`genmeta.methods.bank`), a generator ``θ₀ = G(S, z)`` and a critic ``D(θ; S)``:

``L_G = w_task E_z L_Q(U_k(G(S, z); S)) + λ_adv (−D(G(S, z); S)) + λ_match ‖G(S, 0) − θ*‖² / dim
− λ_div log(‖G(S, z₁) − G(S, z₂)‖ / ‖z₁ − z₂‖)``.

The query loss leads. A game on weights alone asks only for weights that look like those of *some* task: with one shot
that law is broad, so its draws are plausible and wrong, and without the condition they are worse than no generator
(``conditional=no, task_weight=0`` is that ablation). What the adversary buys is diversity of the draws.

Nearest papers: Ratzlaff and Li, "HyperGAN", 2019 (https://arxiv.org/abs/1901.11058), weights from noise, trained by a
task loss, adversary on latent codes; Gulrajani et al., 2017, and Mirza and Osindero, 2014, the conditional game; Mao et
al., "Mode seeking GANs", 2019 (https://arxiv.org/abs/1903.05628), the diversity term; Zhang et al., "MetaDiff", 2024
(https://arxiv.org/abs/2307.16424), rows of whole classes as targets. "MetaGAN" (Zhang et al., 2018) generates images.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from genmeta.core.errors import UsageError
from genmeta.core.randomness import lent_to_torch, seeded
from genmeta.generators import FixedStepSize, GeneratedStepSizes, ImplicitGenerator, StepSizes
from genmeta.learners import Learner
from genmeta.methods.bank_objective import BankObjective, BankRows, evidence
from genmeta.methods.bank_recipe import BankOptions, build_rows_only, check_decay, make_encoder
from genmeta.methods.base import METHODS, Method, adapted_names, written_spec
from genmeta.methods.critic import Critic, critic_loss, generator_loss
from genmeta.methods.diversity import centred
from genmeta.methods.meta_learner import MetaLearner
from genmeta.methods.objectives import Loss, PlayerConfig, Setting
from genmeta.vision import VisualTask


@dataclass(frozen=True)
class GANOptions(BankOptions):
    """Settings of the adversarial methods.

    Attributes:
        noise: length of ``z``, the noise that a draw begins with.
        truncation: where ``z`` is cut in evaluation; 0 for the single draw ``z = 0``.
        adversary: ``wgan-gp``, ``hinge`` or ``minmax``, see :mod:`genmeta.methods.critic`.
        adv_weight: λ_adv, reached after two warm-ups: 0 during the first, rising during the second.
        warm_up: share of the meta-steps; none where ``task_weight`` is 0.
        match_weight: λ_match at the start; it falls to 0 at the end.
        div_weight: λ_div, weight of the term that asks draws to differ.
        critic_steps: of the critic, for each of the learner.
        critic_lr: learning rate of the critic's Adam.
        gradient_penalty: λ_gp, weight of the penalty on the critic's gradient (``wgan-gp``).
        ema: decay of the average of the weights that is validated and kept; 0 for none.
    """

    noise: int = 16
    truncation: float = 1.5
    adversary: str = "wgan-gp"
    adv_weight: float = 0.03
    warm_up: float = 0.2
    match_weight: float = 0.1
    div_weight: float = 0.01
    critic_steps: int = 3
    critic_lr: float = 1e-3
    gradient_penalty: float = 10.0
    ema: float = 0.999

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.noise < 1 or self.critic_steps < 1:
            raise UsageError(f"noise and critic_steps must be 1 or more, got {self.noise} and {self.critic_steps}.")
        if self.truncation < 0:
            raise UsageError(f"truncation must be 0 or more, got {self.truncation}.")
        check_decay(self.ema)


class AdversarialObjective(BankObjective):
    """The game of this module; the critic is the player ``critic``.

    Args:
        meta_learner: what is trained.
        options: of the method.
        setting: of the training.
    """

    options: GANOptions

    def __init__(self, meta_learner: MetaLearner, options: GANOptions, setting: Setting) -> None:
        super().__init__(meta_learner.learner, options, setting)
        with lent_to_torch(seeded(setting.seed, "critic")):
            encoder = make_encoder(meta_learner.learner.feature_size, options.context, options.conditional)
            length = meta_learner.spec.row_length
            self.critic = Critic(encoder, options.context, length, options.adversary, options.hidden)

    @property
    def averaging(self) -> float:
        return self.options.ema

    def players(self) -> dict[str, PlayerConfig]:
        return {"critic": PlayerConfig(list(self.critic.parameters()), self.options.critic_lr)}

    def weights(self) -> tuple[float, float]:
        """λ_adv and λ_match of this meta-step."""
        warm = self.options.warm_up if self.options.task_weight else 0.0
        ramp = min(max((self.progress - warm) / warm, 0.0), 1.0) if warm else 1.0
        return self.options.adv_weight * ramp, self.options.match_weight * (1 - self.progress)

    def bank_losses(self, meta_learner: MetaLearner, rows: BankRows, rng: torch.Generator) -> Iterator[Loss]:
        generator = meta_learner.row_generator
        if not isinstance(generator, ImplicitGenerator):
            raise TypeError("the adversarial objective trains an implicit generator")
        tokens = evidence(meta_learner, rows.group)
        for _ in range(self.options.critic_steps):
            with torch.no_grad():
                fake = centred(generator.draw(rows.context, rng), rows.group.ways)
            mix = torch.rand((len(fake), 1), generator=rng).to(fake)
            condition = self.critic.condition(tokens)
            value, logs = critic_loss(self.critic, rows.real, fake, condition, mix, self.options.gradient_penalty)
            yield Loss(value, logs, 1.0, player="critic", closes=True)
        adv, match = self.weights()
        z = [generator.latent(rows.context, rng) for _ in range(2)]
        first, second = (centred(generator.at(rows.context, each), rows.group.ways) for each in z)
        condition = self.critic.condition(tokens).detach()
        value = adv * generator_loss(self.critic, first, condition)
        centre = centred(generator.at(rows.context, torch.zeros_like(z[0])), rows.group.ways)
        distance = (centre - rows.real).square().mean()
        value = value + match * distance - self.options.div_weight * mode_seeking(first, second, *z)
        yield Loss(value, {"match": distance.detach(), **self.look(meta_learner, rows, rng)}, 1.0)


def mode_seeking(first: Tensor, second: Tensor, z_first: Tensor, z_second: Tensor) -> Tensor:
    """``log(‖G(z₁) − G(z₂)‖ / ‖z₁ − z₂‖)``, root mean squares, averaged over rows; large where the noise is heeded."""
    apart = (first - second).square().mean(-1)
    noise_apart = (z_first - z_second).square().mean(-1)
    return 0.5 * ((apart + 1e-6).log() - (noise_apart + 1e-6).log()).mean()


def _build(options: GANOptions, learner: Learner, vision: VisualTask, generated_steps: bool) -> MetaLearner:
    spec = written_spec(learner, vision, "rows")
    adapts = adapted_names(spec)
    step_sizes: StepSizes = FixedStepSize(spec, adapts, options.row_lr, options.row_lr)
    if generated_steps:
        step_sizes = GeneratedStepSizes(spec, adapts, options.row_lr, options.row_lr, options.context)
    rows = ImplicitGenerator(options.context, spec.row_length, options.noise, options.hidden, options.truncation)
    return build_rows_only(options, learner, vision, rows, step_sizes)


def build_maml_gan(options: GANOptions, learner: Learner, vision: VisualTask, rng: torch.Generator) -> MetaLearner:
    """Generated start, one fixed step size."""
    return _build(options, learner, vision, generated_steps=False)


def build_meta_sgd_gan(options: GANOptions, learner: Learner, vision: VisualTask, rng: torch.Generator) -> MetaLearner:
    """Generated start, generated step sizes."""
    return _build(options, learner, vision, generated_steps=True)


def _objective(meta_learner: MetaLearner, options: GANOptions, setting: Setting) -> AdversarialObjective:
    return AdversarialObjective(meta_learner, options, setting)


METHODS.register("maml-gan")(
    Method(
        name="maml-gan",
        summary="Noise and support set to a start, with a critic that knows the rows many labels ask for.",
        generates="θ₀ (rows), random",
        adapts="rows",
        paper="This library's definition (no paper of this name); nearest: HyperGAN, 2019; conditional WGAN-GP, 2017",
        url="https://arxiv.org/abs/1901.11058",
        expected="near its row base on a fixed body, ensembles above it; adversarial-only far below",
        options=GANOptions,
        build=build_maml_gan,
        objective=_objective,
    )
)
METHODS.register("meta-sgd-gan")(
    Method(
        name="meta-sgd-gan",
        summary="As maml-gan, with the step size of every row parameter generated too.",
        generates="θ₀ (rows), random, and α",
        adapts="rows",
        paper="This library's definition (no paper of this name); nearest: HyperGAN, 2019; Li et al., Meta-SGD, 2017",
        url="https://arxiv.org/abs/1901.11058",
        expected="at or above maml-gan after a few steps",
        options=GANOptions,
        build=build_meta_sgd_gan,
        objective=_objective,
    )
)
