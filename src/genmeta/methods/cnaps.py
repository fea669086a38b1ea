"""``cnaps``: FiLM scales and shifts from the task, class rows from each class, in one pass and without gradient steps.

``γ = 1 + r_γ ⊙ g(c)``, ``β = r_β ⊙ b(c)``, and rows from the features under that FiLM. Requeima, Gordon, Bronskill,
Nowozin, Turner, "Fast and flexible multi-task classification using conditional neural adaptive processes", 2019
(https://arxiv.org/abs/1906.07697); Mahalanobis head: Bateni, Goyal, Masrani, Wood, Sigal, "Improved few-shot visual
classification", 2020 (https://arxiv.org/abs/1912.03432). Deviations: those of
:class:`~genmeta.generators.FiLMGenerator` and :class:`~genmeta.generators.MahalanobisRow` (one covariance for all
classes); the task is read from the learner's own features; the learner is trained along instead of being pretrained and
frozen (start from a trained one for the papers' setting).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from genmeta.adapters import GradientAdapter
from genmeta.core.errors import unknown
from genmeta.encoders import SetEncoder
from genmeta.generators import FiLMGenerator, HyperNetwork, MahalanobisRow
from genmeta.learners import Learner
from genmeta.methods.base import METHODS, Method, written_spec
from genmeta.methods.bayesian import at_full_scale, row_base, step_sizes
from genmeta.methods.meta_learner import MetaLearner, Parts
from genmeta.methods.objectives import QueryLoss
from genmeta.vision import VisualTask

HEADS = ("mahalanobis", "prototype", "linear")


@dataclass(frozen=True)
class CNAPsOptions:
    """Settings of CNAPs.

    Attributes:
        head: ``mahalanobis`` (Simple CNAPs), ``prototype``, or ``linear``: rows written from each class's context, as
            in the first paper.
        context: size of the encoder's context vectors.
        hidden: width of the generators.
        penalty: cost of the FiLM strengths ``r``.
        inner_steps: gradient steps on FiLM and rows in meta-training.
        inner_lr: step size of FiLM; learned per parameter where there are steps to learn it by.
        row_lr: step size of the rows, likewise.
        first_order: drop second derivatives.
    """

    head: str = "mahalanobis"
    context: int = 128
    hidden: int = 256
    penalty: float = 1e-3
    inner_steps: int = 0
    inner_lr: float = 0.1
    row_lr: float = 1.0
    first_order: bool = False


def build(options: CNAPsOptions, learner: Learner, vision: VisualTask, rng: torch.Generator) -> MetaLearner:
    """A FiLM generator and a head."""
    if options.head not in HEADS:
        raise unknown("head", options.head, HEADS)
    spec = written_spec(learner, vision, "film")
    linear, mahalanobis = options.head == "linear", options.head == "mahalanobis"
    base = row_base("constant" if linear else "prototype", spec.row_length)
    parts = Parts(
        learner=learner,
        vision=vision,
        spec=spec,
        row_base=MahalanobisRow(learner.feature_size) if mahalanobis else base,
        step_sizes=step_sizes(spec, options.inner_steps, options.inner_lr, options.row_lr),
        adapter=GradientAdapter(first_order=options.first_order),
        inner_steps=options.inner_steps,
        encoder=SetEncoder(learner.feature_size, options.context),
        shared=FiLMGenerator(options.context, spec.shared_length, options.hidden, options.penalty),
        rows=HyperNetwork(options.context, spec.row_length, options.hidden) if linear else None,
    )
    meta_learner = MetaLearner(parts)
    return at_full_scale(meta_learner)


METHODS.register("cnaps")(
    Method(
        name="cnaps",
        summary="FiLM written from the task and rows from each class, in one pass.",
        generates="FiLM and rows",
        adapts="nothing by default",
        paper="Requeima, Gordon, Bronskill, Nowozin, Turner: CNAPs, 2019; Bateni et al.: Simple CNAPs, 2020",
        url="https://arxiv.org/abs/1906.07697",
        expected="Meta-Dataset average 66.9, with the Mahalanobis head 69.9 (published, pretrained ResNet-18)",
        options=CNAPsOptions,
        build=build,
        objective=lambda meta_learner, options, setting: QueryLoss("last"),
    )
)
