"""``versa``: a network writes a Gaussian over each class's row; predictions average its draws. No gradient steps.

``L = −Σ_Q log 1/L Σ_l p(y | x, w^l)``, ``w^l ~ q(w | S)``, plus a small divergence from the prior (see
:class:`~genmeta.generators.AmortisedGaussian`). Gordon, Bronskill, Bauer, Nowozin, Turner, "Meta-learning
probabilistic inference for prediction", 2019 (https://arxiv.org/abs/1805.09921). Deviations: rows correct a base,
prototypes by default (``row_base=constant`` writes them from nothing, as the paper does); the encoder lets a class see
the others of its task; shared tensors can be drawn too; gradient steps may follow.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from genmeta.adapters import GradientAdapter
from genmeta.encoders import SetEncoder
from genmeta.generators import AmortisedGaussian
from genmeta.learners import Learner
from genmeta.methods.base import METHODS, Method, written_spec
from genmeta.methods.bayesian import at_full_scale, row_base, step_sizes
from genmeta.methods.meta_learner import MetaLearner, Parts
from genmeta.methods.objectives import QueryLoss
from genmeta.vision import VisualTask


@dataclass(frozen=True)
class VersaOptions:
    """Settings of VERSA.

    Attributes:
        generate: ``rows``, ``film`` (scales, shifts and rows), ``all`` (every tensor, by chunks).
        row_base: what the drawn rows correct: ``prototype``, ``ridge`` or ``constant`` (zero).
        row_scale: what a unit of what is written is worth in a row at first, where rows correct a base; learned along.
        samples: draws ``L`` for each task.
        kl_weight: weight β of the divergence from the standard normal prior; 0 as in the paper.
        free_bits: nats per weight that the divergence does not count.
        context: size of the encoder's context vectors.
        hidden: width of the generator.
        chunk: weights per chunk where there are many.
        inner_steps: gradient steps after each draw in meta-training.
        inner_lr: step size of everything but the rows; learned per parameter where there are steps to learn it by.
        row_lr: step size of the rows, likewise.
        first_order: drop second derivatives.
    """

    generate: str = "rows"
    row_base: str = "prototype"
    row_scale: float = 1.0
    samples: int = 10
    kl_weight: float = 1e-3
    free_bits: float = 0.1
    context: int = 128
    hidden: int = 256
    chunk: int = 1024
    inner_steps: int = 0
    inner_lr: float = 0.1
    row_lr: float = 1.0
    first_order: bool = False


def build(options: VersaOptions, learner: Learner, vision: VisualTask, rng: torch.Generator) -> MetaLearner:
    """An amortised Gaussian over what is written."""
    spec = written_spec(learner, vision, options.generate)

    def generator(length: int) -> AmortisedGaussian:
        return AmortisedGaussian(
            options.context, length, options.hidden, options.chunk, options.kl_weight, options.free_bits
        )

    parts = Parts(
        learner=learner,
        vision=vision,
        spec=spec,
        row_base=row_base(options.row_base, spec.row_length),
        step_sizes=step_sizes(spec, options.inner_steps, options.inner_lr, options.row_lr),
        adapter=GradientAdapter(first_order=options.first_order),
        inner_steps=options.inner_steps,
        samples=options.samples,
        encoder=SetEncoder(learner.feature_size, options.context, reads_task=bool(spec.shared)),
        shared=generator(spec.shared_length) if spec.shared else None,
        rows=generator(spec.row_length),
    )
    return at_full_scale(MetaLearner(parts), options.row_scale)


METHODS.register("versa")(
    Method(
        name="versa",
        summary="A network that writes a Gaussian over each class's row; predictions average its draws.",
        generates="rows (FiLM, all), random",
        adapts="nothing by default",
        paper="Gordon, Bronskill, Bauer, Nowozin, Turner: Meta-learning probabilistic inference for prediction, 2019",
        url="https://arxiv.org/abs/1805.09921",
        expected="Omniglot 5w1s 99.7 and 20w1s 97.7 (published)",
        options=VersaOptions,
        build=build,
        objective=lambda meta_learner, options, setting: QueryLoss("last"),
    )
)
