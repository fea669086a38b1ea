"""``bmaml``: particles that adapt together by Stein variational gradient descent; predictions average them.

``Θ_0`` = learned particles, ``Θ_{j+1} = SVGD(Θ_j; S)``, ``L = −Σ_Q log 1/M Σ_m p(y | x, θ_k^m)``, or the paper's chaser
loss (:class:`Chaser`). Yoon, Kim, Dia, Kim, Bengio, Ahn, "Bayesian model-agnostic meta-learning", 2018
(https://arxiv.org/abs/1806.03836). Deviations: the averaged likelihood is the default, because independent runs found
the chaser loss not to help classification; rows alone adapt by default, with one body for all particles; particles are
as in :class:`~genmeta.generators.Particles`; no Gamma priors.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from genmeta.adapters import SVGDAdapter
from genmeta.core import batching
from genmeta.core.errors import UsageError, unknown
from genmeta.core.types import ROWS, Examples, Start, Task, Weights
from genmeta.generators import FixedStepSize, Particles
from genmeta.learners import Learner
from genmeta.methods.base import METHODS, Method, adapted_names, written_spec
from genmeta.methods.bayesian import row_base, step_sizes
from genmeta.methods.meta_learner import MetaLearner, Parts
from genmeta.methods.objectives import Loss, Objective, QueryLoss, Setting
from genmeta.vision import VisualTask

LOSSES = ("nll", "chaser")


@dataclass(frozen=True)
class BMAMLOptions:
    """Settings of Bayesian MAML.

    Attributes:
        generate: what particles consist of and SVGD moves: ``rows``, ``film`` (and rows), ``all``.
        row_base: what a particle's rows re-weigh: ``prototype``, ``ridge``, or ``constant`` (zero; not with ``rows``,
            where nothing would tell the particles apart).
        particles: their number ``M``.
        spread: how far apart particles start, see :class:`~genmeta.generators.Particles`.
        repulsion: ρ, see :class:`~genmeta.adapters.SVGDAdapter`; ``1/N`` would be the posterior's own.
        loss: ``nll`` of the averaged probabilities, or ``chaser`` (only with ``generate=all``).
        leader_steps: further steps of the leader on support and query set, for ``chaser``.
        inner_steps: SVGD steps.
        inner_lr: step size of everything but the rows; learned per parameter for ``nll``, fixed for ``chaser``.
        row_lr: step size of the rows, likewise. A gradient is averaged over ``M`` particles, so steps are longer than
            for one.
        first_order: drop second derivatives.
    """

    generate: str = "rows"
    row_base: str = "prototype"
    particles: int = 5
    spread: float = 0.2
    repulsion: float = 0.1
    loss: str = "nll"
    leader_steps: int = 1
    inner_steps: int = 2
    inner_lr: float = 0.1
    row_lr: float = 2.0
    first_order: bool = False


class Chaser(Objective):
    """``Σ_T Σ_m ‖θ^m_n − sg(θ^m_{n+s})‖²``: ``n`` steps on the support set chase ``s`` more on support and query set.

    Args:
        steps: ``s``.
    """

    def __init__(self, steps: int) -> None:
        super().__init__()
        if steps < 1:
            raise UsageError(f"The leader must go ahead by 1 step or more, got leader_steps={steps}.")
        self.steps = steps

    def losses(self, meta_learner: MetaLearner, task: Task, rng: torch.Generator) -> Iterator[Loss]:
        for chunk in meta_learner.chunks(task):
            start = meta_learner.start(chunk.support, chunk.ways, chunk.noise(rng))
            both = chunk.support.joined(chunk.query)
            chaser = _adapt(meta_learner, start, chunk.support, meta_learner.inner_steps, differentiable=True)
            cut = start._replace(weights={name: value.detach() for name, value in chaser.items()})
            leader = _adapt(meta_learner, cut, both, self.steps, differentiable=False)
            value = torch.stack([(chaser[n] - leader[n].detach()).square().sum() for n in start.step_sizes]).sum()
            value = value / (chunk.n_tasks * start.samples)
            with torch.no_grad():
                outputs = meta_learner.pooled(_outputs(meta_learner, chaser, chunk.query, start), chunk.n_tasks)
                logs = meta_learner.vision.logs(outputs, chunk.query.targets)
                loss = meta_learner.vision.loss(outputs, chunk.query.targets).mean()
            share = chunk.n_tasks / task.n_tasks
            yield Loss(value * share, {"loss": loss, **logs, "distance": value.detach()}, share)


def _adapt(meta_learner: MetaLearner, start: Start, examples: Examples, steps: int, *, differentiable: bool) -> Weights:
    targets = examples.repeat(start.samples).targets

    def loss(weights: Weights) -> Tensor:
        return meta_learner.vision.loss(_outputs(meta_learner, weights, examples, start), targets)

    return meta_learner.adapter.adapt(start, loss, steps, differentiable=differentiable)[-1]


def _outputs(meta_learner: MetaLearner, weights: Weights, examples: Examples, start: Start) -> Tensor:
    features, _ = meta_learner.learner.features(batching.repeat(examples.images, start.samples), weights)
    return meta_learner.vision.outputs(features, weights[ROWS])


def build(options: BMAMLOptions, learner: Learner, vision: VisualTask, rng: torch.Generator) -> MetaLearner:
    """Learned particles and SVGD."""
    if options.loss not in LOSSES:
        raise unknown("loss", options.loss, LOSSES)
    if options.loss == "chaser" and options.generate != "all":
        raise UsageError(
            f"loss='chaser' trains only what adapts, so it needs generate='all', got {options.generate!r}: a body "
            "that stays put would shrink its features until there is nothing to chase. Use loss='nll' instead."
        )
    if options.row_base == "constant" and options.generate == "rows":
        raise UsageError(
            "row_base='constant' with generate='rows' gives equal particles, since one row for all classes has no "
            "effect on a softmax. Use row_base='prototype', or generate='film' or 'all'."
        )
    spec = written_spec(learner, vision, options.generate)
    fixed = FixedStepSize(spec, adapted_names(spec), options.inner_lr, options.row_lr)
    learned = options.loss == "nll"
    particles = Particles(spec, options.particles, options.spread)
    if options.row_base == "constant":
        particles.row_factors.requires_grad_(False)  # they re-weigh zeros
    return MetaLearner(
        Parts(
            learner=learner,
            vision=vision,
            spec=spec,
            row_base=row_base(options.row_base, spec.row_length),
            step_sizes=step_sizes(spec, options.inner_steps, options.inner_lr, options.row_lr) if learned else fixed,
            adapter=SVGDAdapter(options.repulsion, options.first_order),
            inner_steps=options.inner_steps,
            samples=options.particles,
            writer=particles,
        )
    )


def _objective(meta_learner: MetaLearner, options: BMAMLOptions, setting: Setting) -> Objective:
    return Chaser(options.leader_steps) if options.loss == "chaser" else QueryLoss("last")


METHODS.register("bmaml")(
    Method(
        name="bmaml",
        summary="Particles that adapt together, pulled by the support loss and pushed apart by a kernel.",
        generates="nothing task-specific (constant particles)",
        adapts="rows by default",
        paper="Yoon, Kim, Dia, Kim, Bengio, Ahn: Bayesian model-agnostic meta-learning, 2018",
        url="https://arxiv.org/abs/1806.03836",
        expected="at or a little below maml in accuracy, better calibrated",
        options=BMAMLOptions,
        build=build,
        objective=_objective,
    )
)
