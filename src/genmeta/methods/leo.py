"""``leo``: a code of each class, decoded to its row; adaptation moves the codes first, then the rows.

``z_k ~ q(z | relations of S)``, ``row_k ~ p(row | z_k)``, ``z' = z − α ∇_z L_S`` for a few steps, then steps on the
rows; ``L = L_Q`` plus the costs of :class:`~genmeta.generators.LatentRows`. Rusu, Rao, Sygnowski, Vinyals, Pascanu,
Osindero, Hadsell, "Meta-learning with latent embedding optimization", 2019 (https://arxiv.org/abs/1807.05960).
Deviations: rows correct prototypes by default (``row_base=constant`` writes them from nothing, as the paper does); the
learner is trained along instead of being pretrained and frozen (start from a trained one for the paper's setting).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from genmeta.adapters import GradientAdapter, LatentAdapter
from genmeta.core.errors import UsageError
from genmeta.encoders import RelationEncoder
from genmeta.generators import LatentRows
from genmeta.learners import Learner
from genmeta.methods.base import METHODS, Method, written_spec
from genmeta.methods.bayesian import ROW_SCALE, row_base, step_sizes
from genmeta.methods.meta_learner import MetaLearner, Parts
from genmeta.methods.objectives import QueryLoss
from genmeta.vision import VisualTask


@dataclass(frozen=True)
class LEOOptions:
    """Settings of LEO.

    Attributes:
        row_base: what the decoded rows correct: ``prototype``, ``ridge`` or ``constant`` (zero).
        code: size ``n_z`` of a class's code.
        hidden: width of the relation network.
        latent_steps: adaptation steps on the codes.
        row_steps: further steps on the rows.
        latent_lr: initial step size on the codes, learned; times the number of classes, so the paper's 1 at 5 ways.
        row_lr: initial step size on the rows, learned per parameter.
        kl_weight: weight β of ``KL(q(z | S) ‖ N(0, I))``, a mean over the code.
        encoder_weight: weight γ of the distance between code and adapted code.
        orthogonality: weight ω of the decoder's orthogonality.
        first_order: drop second derivatives.
    """

    row_base: str = "prototype"
    code: int = 64
    hidden: int = 128
    latent_steps: int = 5
    row_steps: int = 5
    latent_lr: float = 0.2
    row_lr: float = 0.1
    kl_weight: float = 0.01
    encoder_weight: float = 1e-4
    orthogonality: float = 0.1
    first_order: bool = False


def build(options: LEOOptions, learner: Learner, vision: VisualTask, rng: torch.Generator) -> MetaLearner:
    """Relation network, decoder, and steps on codes and rows."""
    if options.latent_steps < 1 or options.row_steps < 0:
        raise UsageError(
            "LEO needs latent_steps of 1 or more and row_steps of 0 or more, "
            f"got {options.latent_steps} and {options.row_steps}."
        )
    spec = written_spec(learner, vision, "rows")
    return MetaLearner(
        Parts(
            learner=learner,
            vision=vision,
            spec=spec,
            row_base=row_base(options.row_base, spec.row_length),
            step_sizes=step_sizes(spec, options.row_steps, options.row_lr, options.row_lr),
            adapter=LatentAdapter(options.latent_steps, GradientAdapter(first_order=options.first_order)),
            inner_steps=options.latent_steps + options.row_steps,
            encoder=RelationEncoder(learner.feature_size, 2 * options.code, options.code, options.hidden),
            writer=LatentRows(
                options.code,
                spec.row_length,
                options.latent_lr,
                options.kl_weight,
                options.encoder_weight,
                options.orthogonality,
                ROW_SCALE if options.row_base == "constant" else 1.0,
            ),
        )
    )


METHODS.register("leo")(
    Method(
        name="leo",
        summary="A code of each class, decoded to its row; adaptation moves the codes, then the rows.",
        generates="rows, through codes",
        adapts="codes, then rows",
        paper="Rusu, Rao, Sygnowski, Vinyals, Pascanu, Osindero, Hadsell: Meta-learning with latent embedding "
        "optimization, 2019",
        url="https://arxiv.org/abs/1807.05960",
        expected="miniImageNet 5w1s 61.8 and 5w5s 77.6 (published, pretrained WRN-28-10 features)",
        options=LEOOptions,
        build=build,
        objective=lambda meta_learner, options, setting: QueryLoss("last"),
    )
)
