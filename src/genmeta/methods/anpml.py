"""``anpml``: an attentive neural process that writes class rows. This library's own definition; no paper has this name.

``z_k ~ q(z | S)``, ``row_k = base_k + s · decode(z_k, c_k)``, a few gradient steps on the rows, then
``logit_k(x*) = w_k · h* + b_k + τ Σ_{i in class k} attention(h*, h_i)``. Training (:class:`PosteriorMatching`) draws
``z`` given support *and* query set and pays its divergence from ``q(z | S)``; in use ``z ~ q(z | S)``, and every query
image is answered on its own. Nearest: Kim et al., "Attentive neural processes", 2019
(https://arxiv.org/abs/1901.05761); Gordon et al., VERSA, 2019. The support loss of the gradient steps leaves the
attention out: a support image would attend to itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from genmeta.adapters import GradientAdapter
from genmeta.core.errors import UsageError
from genmeta.core.types import Logs, Task
from genmeta.encoders import AttentiveEncoder, AttentiveReader
from genmeta.generators import NeuralProcessGenerator
from genmeta.learners import Learner
from genmeta.methods.base import METHODS, Method, written_spec
from genmeta.methods.bayesian import at_full_scale, row_base, step_sizes
from genmeta.methods.meta_learner import MetaLearner, Parts
from genmeta.methods.objectives import Loss, Objective, Setting
from genmeta.vision import VisualTask

#: Share of the meta-steps over which the divergence gains its full weight.
WARM_UP = 0.2


@dataclass(frozen=True)
class ANPMLOptions:
    """Settings of the attentive neural process.

    Attributes:
        row_base: what the decoded rows correct: ``prototype``, ``ridge`` or ``constant`` (zero).
        row_scale: what a unit of what is written is worth in a row at first, where rows correct a base; learned along.
        samples: draws of ``z`` for each task in use; training draws one given the posterior, and these from the prior.
        latent: size of a class's ``z``.
        context: size of the encoder's context vectors.
        hidden: width of the decoder.
        kl_weight: weight β of the posterior's divergence from the prior, reached after the first fifth of training.
        free_bits: nats per latent coordinate that the divergence does not count.
        prior_weight: share of the query loss under draws of ``q(z | S)``, what is used after training; 0 leaves the
            evidence lower bound alone.
        inner_steps: gradient steps on the rows.
        row_lr: initial step size of the rows, learned per parameter.
        first_order: drop second derivatives.
    """

    row_base: str = "prototype"
    row_scale: float = 1.0
    samples: int = 5
    latent: int = 32
    context: int = 128
    hidden: int = 256
    kl_weight: float = 0.1
    free_bits: float = 0.02
    prior_weight: float = 0.5
    inner_steps: int = 1
    row_lr: float = 1.0
    first_order: bool = False


class PosteriorMatching(Objective):
    """``(1 − ω) [E_{q(z|S∪Q)} L_Q + β KL(q(z | S ∪ Q) ‖ q(z | S))] + ω L_Q under q(z | S)``, after the gradient steps.

    Args:
        kl_weight: ``β``, after its warm-up.
        prior_weight: ``ω``, in [0, 1].
    """

    def __init__(self, kl_weight: float, prior_weight: float) -> None:
        super().__init__()
        if not 0 <= prior_weight <= 1:
            raise UsageError(f"prior_weight is a share of the loss, from 0 to 1, got {prior_weight}.")
        self.kl_weight, self.prior_weight, self.warmth = kl_weight, prior_weight, 1.0

    def begin(self, step: int, steps: int) -> None:
        self.warmth = min(1.0, (step + 1) / max(1.0, WARM_UP * steps))

    def losses(self, meta_learner: MetaLearner, task: Task, rng: torch.Generator) -> Iterator[Loss]:
        steps = meta_learner.inner_steps
        for chunk in meta_learner.chunks(task):
            evidence, targets = chunk.support.joined(chunk.query), chunk.query.targets
            outputs, start, _ = meta_learner.answers(
                chunk, steps, rng, samples=1, differentiable=True, evidence=evidence
            )
            posterior = meta_learner.vision.loss(outputs[steps], targets) + self.warmth * self.kl_weight * start.cost
            value = (1 - self.prior_weight) * posterior.mean()
            logs: Logs = {"divergence": start.cost.detach().mean()}
            with torch.set_grad_enabled(self.prior_weight > 0):
                drawn, *_ = meta_learner.answers(chunk, steps, rng, differentiable=self.prior_weight > 0)
                pooled = meta_learner.pooled(drawn[steps], chunk.n_tasks)
                prior = meta_learner.vision.loss(pooled, targets).mean()
            value = value + self.prior_weight * prior
            logs["loss"] = prior.detach()
            logs.update(meta_learner.vision.logs(pooled, targets))
            share = chunk.n_tasks / task.n_tasks
            yield Loss(value * share, logs, share)


def build(options: ANPMLOptions, learner: Learner, vision: VisualTask, rng: torch.Generator) -> MetaLearner:
    """Attentive encoder and reader, a neural process for the rows."""
    spec = written_spec(learner, vision, "rows")
    parts = Parts(
        learner=learner,
        vision=vision,
        spec=spec,
        row_base=row_base(options.row_base, spec.row_length),
        step_sizes=step_sizes(spec, options.inner_steps, options.row_lr, options.row_lr),
        adapter=GradientAdapter(first_order=options.first_order),
        inner_steps=options.inner_steps,
        samples=options.samples,
        encoder=AttentiveEncoder(learner.feature_size, options.context),
        rows=NeuralProcessGenerator(
            options.context, spec.row_length, options.latent, options.hidden, options.free_bits
        ),
        reader=AttentiveReader(learner.feature_size, options.context),
    )
    return at_full_scale(MetaLearner(parts), options.row_scale)


def _objective(meta_learner: MetaLearner, options: ANPMLOptions, setting: Setting) -> Objective:
    return PosteriorMatching(options.kl_weight, options.prior_weight)


METHODS.register("anpml")(
    Method(
        name="anpml",
        summary="An attentive neural process: rows from a latent of each class, corrected by attention to the images.",
        generates="rows, random",
        adapts="rows",
        paper="This library's definition (no paper of this name); nearest: Kim et al., Attentive neural processes, "
        "2019; Gordon et al., VERSA, 2019",
        url="https://arxiv.org/abs/1901.05761",
        expected="no published score; at or above versa on the same learner",
        options=ANPMLOptions,
        build=build,
        objective=_objective,
    )
)
