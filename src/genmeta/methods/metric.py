"""Metric-based methods: rows in closed form on learned features, no gradient steps. ``protonet`` and ``ridge``."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from genmeta.adapters import NoAdapter
from genmeta.generators import FixedStepSize, PrototypeRow, RidgeRow, RowBase
from genmeta.learners import Learner
from genmeta.methods.base import METHODS, Method, written_spec
from genmeta.methods.meta_learner import MetaLearner, Parts
from genmeta.methods.objectives import QueryLoss
from genmeta.vision import VisualTask


@dataclass(frozen=True)
class MetricOptions:
    """Closed forms have no settings of their own: temperature and ridge are learned."""


def _build(learner: Learner, vision: VisualTask, row_base: RowBase) -> MetaLearner:
    spec = written_spec(learner, vision, "rows")
    return MetaLearner(
        Parts(
            learner=learner,
            vision=vision,
            spec=spec,
            row_base=row_base,
            step_sizes=FixedStepSize(spec, (), 0.0, 0.0),
            adapter=NoAdapter(),
            inner_steps=0,
        )
    )


def build_protonet(options: MetricOptions, learner: Learner, vision: VisualTask, rng: torch.Generator) -> MetaLearner:
    """Prototypes."""
    return _build(learner, vision, PrototypeRow())


def build_ridge(options: MetricOptions, learner: Learner, vision: VisualTask, rng: torch.Generator) -> MetaLearner:
    """Ridge regression."""
    return _build(learner, vision, RidgeRow())


METHODS.register("protonet")(
    Method(
        name="protonet",
        summary="Classes are the mean features of their images; queries go to the nearest.",
        generates="rows, in closed form",
        adapts="nothing",
        paper="Snell, Swersky, Zemel: Prototypical networks for few-shot learning, 2017",
        url="https://arxiv.org/abs/1703.05175",
        expected="Omniglot 5w1s 98.8 and 20w1s 96.0 (published, 60-way training, batch norm)",
        options=MetricOptions,
        build=build_protonet,
        objective=lambda meta_learner, options, setting: QueryLoss("last"),
    )
)
METHODS.register("ridge")(
    Method(
        name="ridge",
        summary="Class rows by ridge regression on learned features, differentiated through.",
        generates="rows, in closed form",
        adapts="nothing",
        paper="Bertinetto, Henriques, Torr, Vedaldi: Meta-learning with differentiable closed-form solvers, 2019",
        url="https://arxiv.org/abs/1805.08136",
        expected="Omniglot 5w1s 98.6 and 20w1s 94.7 (published, other backbone)",
        options=MetricOptions,
        build=build_ridge,
        objective=lambda meta_learner, options, setting: QueryLoss("last"),
    )
)
