"""``abml``: a learned Gaussian over starts; adaptation moves its mean and spread by gradient steps.

``λ_{j+1} = λ_j − α ∇_λ [E_{q_λ} L_S + β KL(q_λ ‖ q_λ₀)]``, ``L = −Σ_Q log E_{q_λk} p(y | x, θ) + β KL(q_λk ‖ q_λ₀)``;
the expectations are over a few reparameterised draws (:class:`~genmeta.generators.GaussianStart`). Ravi and Beatson,
"Amortized Bayesian meta-learning", 2019 (https://openreview.net/forum?id=rkgpy3C5tX). Deviations: those of the
generator; the mean of the rows is a prototype by default, since one learned row for all classes has no effect on a
softmax; the outer likelihood is that of the averaged probabilities; rows alone are random by default.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from genmeta.adapters import GradientAdapter, LatentAdapter
from genmeta.core.errors import UsageError, unknown
from genmeta.generators import GaussianStart
from genmeta.learners import Learner
from genmeta.methods.base import METHODS, Method, written_spec
from genmeta.methods.bayesian import row_base, step_sizes
from genmeta.methods.meta_learner import MetaLearner, Parts
from genmeta.methods.objectives import QueryLoss
from genmeta.vision import VisualTask

#: What adaptation may move.
MOVES = ("gaussian", "draws")


@dataclass(frozen=True)
class ABMLOptions:
    """Settings of amortised Bayesian meta-learning.

    Attributes:
        generate: what is random and adapts: ``rows``, ``film`` (and rows), ``all``.
        row_base: mean of the rows before adaptation: ``prototype``, ``ridge`` or ``constant`` (zero).
        samples: draws for each task.
        sigma: initial spread of shared tensors, in units of a tensor's initial spread.
        row_sigma: initial spread of rows.
        moves: ``gaussian``: steps on its mean and spread; ``draws``: each draw takes its own steps, in the manner of
            PLATIPUS, see :class:`~genmeta.generators.GaussianStart`.
        kl_weight: β; ``1/N`` would be the posterior's own. Only with ``gaussian``.
        inner_steps: steps on mean and spread.
        inner_lr: initial step size of everything but the rows, learned per parameter.
        row_lr: initial step size of the rows, likewise.
        first_order: drop second derivatives.
    """

    generate: str = "rows"
    row_base: str = "prototype"
    samples: int = 5
    sigma: float = 0.05
    row_sigma: float = 0.2
    moves: str = "gaussian"
    kl_weight: float = 0.01
    inner_steps: int = 2
    inner_lr: float = 0.1
    row_lr: float = 1.0
    first_order: bool = False


def build(options: ABMLOptions, learner: Learner, vision: VisualTask, rng: torch.Generator) -> MetaLearner:
    """A Gaussian start and steps on its mean and spread."""
    if not options.sigma > 0 or not options.row_sigma > 0:
        raise UsageError(f"sigma and row_sigma must be above 0, got {options.sigma} and {options.row_sigma}.")
    if options.moves not in MOVES:
        raise unknown("thing to move", options.moves, MOVES)
    gradient = GradientAdapter(first_order=options.first_order)
    spec = written_spec(learner, vision, options.generate)
    return MetaLearner(
        Parts(
            learner=learner,
            vision=vision,
            spec=spec,
            row_base=row_base(options.row_base, spec.row_length),
            step_sizes=step_sizes(spec, options.inner_steps, options.inner_lr, options.row_lr),
            adapter=gradient if options.moves == "draws" else LatentAdapter(inner=gradient),
            inner_steps=options.inner_steps,
            samples=options.samples,
            writer=GaussianStart(spec, options.sigma, options.row_sigma, options.kl_weight, options.moves),
        )
    )


METHODS.register("abml")(
    Method(
        name="abml",
        summary="A learned Gaussian over starts; gradient steps move its mean and spread.",
        generates="nothing task-specific (a constant Gaussian)",
        adapts="mean and spread of rows by default",
        paper="Ravi, Beatson: Amortized Bayesian meta-learning, 2019",
        url="https://openreview.net/forum?id=rkgpy3C5tX",
        expected="miniImageNet 5w1s 45.0 (published); below maml in an independent run",
        options=ABMLOptions,
        build=build,
        objective=lambda meta_learner, options, setting: QueryLoss("last"),
    )
)
