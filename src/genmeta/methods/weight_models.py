"""``weight-vae``, ``autoregressive`` and ``diffusion``: generators fitted to a bank of rows, led by the query loss.

``L = w_task E L_Q(U_k(G(S); S)) + w_bank E fit(θ*; S) / P``, with ``fit`` the negative evidence lower bound, the
negative log-likelihood or the denoising error of the bank's rows (:mod:`genmeta.methods.bank`), per weight.

Each class's row is generated from that class's context and its own noise, so any number of classes can be served and
relabelling classes relabels the rows. The definitions are this library's; each generator's file names its papers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from genmeta.core.errors import UsageError
from genmeta.core.types import Logs
from genmeta.generators import (
    AutoregressiveGenerator,
    DiffusionGenerator,
    FittedGenerator,
    LearnedStepSizes,
    VariationalGenerator,
)
from genmeta.learners import Learner
from genmeta.methods.bank_objective import BankObjective, BankRows
from genmeta.methods.bank_recipe import BankOptions, build_rows_only, check_decay
from genmeta.methods.base import METHODS, Method, adapted_names, written_spec
from genmeta.methods.meta_learner import MetaLearner
from genmeta.methods.objectives import Loss, Setting
from genmeta.vision import VisualTask


@dataclass(frozen=True)
class FittedOptions(BankOptions):
    """Settings of the methods that fit a generator to the bank.

    Attributes:
        bank_weight: of the fit, per weight of a row.
        temperature: spread of draws in evaluation; 0 gives one deterministic draw.
    """

    bank_weight: float = 0.1
    temperature: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.temperature < 0:
            raise UsageError(f"temperature must be 0 or more, got {self.temperature}.")


@dataclass(frozen=True)
class WeightVAEOptions(FittedOptions):
    """Settings of ``weight-vae``.

    Attributes:
        latent: length of the latent code of a row.
        free_bits: nats per latent coordinate that cost nothing.
    """

    latent: int = 32
    free_bits: float = 0.02


@dataclass(frozen=True)
class AutoregressiveOptions(FittedOptions):
    """Settings of ``autoregressive``; ``hidden`` is the width of the transformer.

    Attributes:
        temperature: spread of draws in evaluation. At 1 they are as wide as one shot leaves the rows unknown, which
            costs a single draw accuracy that only an ensemble of draws wins back.
        hidden: width of the transformer.
        chunk: weights per token.
        components: Gaussians of each output mixture.
        layers: blocks of the transformer.
        heads: attention heads of the transformer.
    """

    temperature: float = 0.5
    hidden: int = 128
    chunk: int = 16
    components: int = 5
    layers: int = 2
    heads: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.hidden % self.heads:
            raise UsageError(f"hidden must be a multiple of heads, got {self.hidden} and {self.heads}.")


@dataclass(frozen=True)
class DiffusionOptions(FittedOptions):
    """Settings of ``diffusion``.

    Attributes:
        bank_weight: of the fit; more than elsewhere, since a query loss reaches only the last steps of a draw.
        temperature: spread of draws in evaluation, 0.5 for the same reason as with ``autoregressive``.
        levels: noise levels.
        sampling_steps: denoising steps of a draw.
        guidance: weight of classifier-free guidance; 0 for none.
        eta: noise added along the way, 0 to 1.
        dropout: share of rows fitted without context.
        trained_steps: last steps of a draw that the query loss is differentiated through.
        ema: decay of the average of the weights that is validated and kept; 0 for none.
    """

    bank_weight: float = 1.0
    temperature: float = 0.5
    levels: int = 100
    sampling_steps: int = 10
    guidance: float = 0.0
    eta: float = 0.0
    dropout: float = 0.1
    trained_steps: int = 2
    ema: float = 0.999

    def __post_init__(self) -> None:
        super().__post_init__()
        check_decay(self.ema)
        if not 1 <= self.trained_steps <= self.sampling_steps <= self.levels:
            raise UsageError(
                "diffusion needs 1 <= trained_steps <= sampling_steps <= levels, got "
                f"{self.trained_steps}, {self.sampling_steps} and {self.levels}."
            )


class FittedObjective(BankObjective):
    """Query loss plus the generator's own fit to the bank."""

    options: FittedOptions

    @property
    def averaging(self) -> float:
        return self.options.ema if isinstance(self.options, DiffusionOptions) else 0.0

    def bank_losses(self, meta_learner: MetaLearner, rows: BankRows, rng: torch.Generator) -> Iterator[Loss]:
        generator = meta_learner.row_generator
        if not isinstance(generator, FittedGenerator):
            raise TypeError("the fitted objective trains a generator with a fit of its own")
        fit = generator.fit(rows.real, rows.context, rng, rows.gradient).mean() / generator.length
        logs: Logs = {"fit": fit.detach(), **self.look(meta_learner, rows, rng)}
        yield Loss(self.options.bank_weight * fit, logs, 1.0)


def build_fitted(options: FittedOptions, learner: Learner, vision: VisualTask, rows: FittedGenerator) -> MetaLearner:
    """A meta-learner whose rows are written by ``rows``, with learned step sizes."""
    spec = written_spec(learner, vision, "rows")
    step_sizes = LearnedStepSizes(spec, adapted_names(spec), options.row_lr, options.row_lr)
    return build_rows_only(options, learner, vision, rows, step_sizes)


def build_vae(options: WeightVAEOptions, learner: Learner, vision: VisualTask, rng: torch.Generator) -> MetaLearner:
    """Rows decoded from a latent code."""
    length = vision.row_length(learner.feature_size)
    rows = VariationalGenerator(
        options.context, length, options.latent, options.hidden, options.free_bits, options.temperature
    )
    return build_fitted(options, learner, vision, rows)


def build_autoregressive(
    options: AutoregressiveOptions, learner: Learner, vision: VisualTask, rng: torch.Generator
) -> MetaLearner:
    """Rows written chunk by chunk."""
    length = vision.row_length(learner.feature_size)
    rows = AutoregressiveGenerator(
        options.context,
        length,
        options.chunk,
        options.components,
        options.hidden,
        options.layers,
        options.heads,
        options.temperature,
    )
    return build_fitted(options, learner, vision, rows)


def build_diffusion(
    options: DiffusionOptions, learner: Learner, vision: VisualTask, rng: torch.Generator
) -> MetaLearner:
    """Rows denoised step by step."""
    rows = DiffusionGenerator(
        options.context,
        vision.row_length(learner.feature_size),
        levels=options.levels,
        steps=options.sampling_steps,
        guidance=options.guidance,
        eta=options.eta,
        dropout=options.dropout,
        hidden=options.hidden,
        trained_steps=options.trained_steps,
        temperature=options.temperature,
    )
    return build_fitted(options, learner, vision, rows)


def fitted_objective(meta_learner: MetaLearner, options: FittedOptions, setting: Setting) -> FittedObjective:
    """Query loss plus the generator's fit to a weight bank."""
    return FittedObjective(meta_learner.learner, options, setting)


METHODS.register("weight-vae")(
    Method(
        name="weight-vae",
        summary="A conditional variational autoencoder of class rows; the support set gives the prior of the code.",
        generates="θ₀ (rows), random",
        adapts="rows",
        paper="This library's definition; nearest: Soro et al., D2NWG, 2025 (first stage); Rusu et al., LEO, 2019",
        url="https://arxiv.org/abs/2402.18153",
        expected="near its row base on a fixed body",
        options=WeightVAEOptions,
        build=build_vae,
        objective=fitted_objective,
    )
)
METHODS.register("autoregressive")(
    Method(
        name="autoregressive",
        summary="A causal transformer writes each class's row chunk by chunk.",
        generates="θ₀ (rows), random",
        adapts="rows",
        paper="This library's definition (no few-shot paper found); nearest: Schürholt et al., SANE, 2024",
        url="https://arxiv.org/abs/2406.09997",
        expected="near its row base on a fixed body; single draws at temperature 1 fall below it",
        options=AutoregressiveOptions,
        build=build_autoregressive,
        objective=fitted_objective,
    )
)
METHODS.register("diffusion")(
    Method(
        name="diffusion",
        summary="Class rows by denoising, guided by the support set and by the gradient of its loss.",
        generates="θ₀ (rows), random",
        adapts="rows",
        paper="After Zhang, Luo, Yu, Li, Lin, Ye, Zhang: MetaDiff, 2024; p-diff (Wang et al., 2024) and D2NWG are kin",
        url="https://arxiv.org/abs/2307.16424",
        expected="MetaDiff reports 55.1 on miniImageNet 5w1s (Conv4); here near its row base on a fixed body",
        options=DiffusionOptions,
        build=build_diffusion,
        objective=fitted_objective,
    )
)
