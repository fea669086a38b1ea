"""Optimisation-based methods: a constant start, learned so that a few gradient steps suffice.

``maml``, ``anil``, ``reptile`` and ``meta-sgd``: one recipe, since they differ only in what adapts, how long the steps
are, and what trains the start.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from genmeta.adapters import GradientAdapter
from genmeta.core.errors import UsageError
from genmeta.core.types import ROWS
from genmeta.generators import ConstantRow, FixedStepSize, LearnedStepSizes
from genmeta.learners import Learner
from genmeta.methods.base import METHODS, Method, adapted_names, written_spec
from genmeta.methods.meta_learner import MetaLearner, Parts
from genmeta.methods.objectives import Displacement, QueryLoss, Setting
from genmeta.vision import VisualTask


@dataclass(frozen=True)
class MAMLOptions:
    """Settings of MAML and its kin.

    Attributes:
        generate: what the start consists of and adaptation moves: ``rows``, ``film`` (and rows), ``all``.
        inner_steps: adaptation steps ``k``.
        inner_lr: step size α of everything but the rows (its initial value where it is learned).
        row_lr: step size of the rows, likewise. The paper has one α for all; here features have length 1, and rows
            need longer steps than kernels.
        first_order: drop second derivatives.
        query_loss: which steps' query loss trains: ``last``, ``both`` (start and last) or ``all``.
    """

    generate: str = "all"
    inner_steps: int = 3
    inner_lr: float = 0.1
    row_lr: float = 1.0
    first_order: bool = False
    query_loss: str = "last"


@dataclass(frozen=True)
class ANILOptions(MAMLOptions):
    """As MAML; only rows adapt, so only rows are written."""

    generate: str = "rows"


@dataclass(frozen=True)
class ReptileOptions(MAMLOptions):
    """As MAML; no second derivatives exist to be kept."""

    inner_steps: int = 8
    first_order: bool = True


def _build(options: MAMLOptions, learner: Learner, vision: VisualTask, learned: bool) -> MetaLearner:
    spec = written_spec(learner, vision, options.generate)
    adapts = adapted_names(spec)
    step_sizes = (LearnedStepSizes if learned else FixedStepSize)(spec, adapts, options.inner_lr, options.row_lr)
    return MetaLearner(
        Parts(
            learner=learner,
            vision=vision,
            spec=spec,
            row_base=ConstantRow(spec.row_length),
            step_sizes=step_sizes,
            adapter=GradientAdapter(first_order=options.first_order),
            inner_steps=options.inner_steps,
        )
    )


def build_fixed(options: MAMLOptions, learner: Learner, vision: VisualTask, rng: torch.Generator) -> MetaLearner:
    """A constant start and one fixed step size."""
    return _build(options, learner, vision, learned=False)


def build_learned(options: MAMLOptions, learner: Learner, vision: VisualTask, rng: torch.Generator) -> MetaLearner:
    """A constant start and learned step sizes."""
    return _build(options, learner, vision, learned=True)


def _build_reptile(options: ReptileOptions, learner: Learner, vision: VisualTask, rng: torch.Generator) -> MetaLearner:
    if options.generate != "all":
        raise UsageError(
            f"Reptile learns only what its inner loop moves, so it needs generate='all', got {options.generate!r}. "
            "Use anil or maml to adapt rows or FiLM alone."
        )
    return build_fixed(options, learner, vision, rng)


def _query_loss(meta_learner: MetaLearner, options: MAMLOptions, setting: Setting) -> QueryLoss:
    return QueryLoss(options.query_loss)


METHODS.register("maml")(
    Method(
        name="maml",
        summary="A constant start from which a few gradient steps learn any task.",
        generates="nothing task-specific (constant θ₀)",
        adapts="all weights",
        paper="Finn, Abbeel, Levine: Model-agnostic meta-learning for fast adaptation of deep networks, 2017",
        url="https://arxiv.org/abs/1703.03400",
        expected="Omniglot 5w1s 98.7 and 20w1s 95.8 (published, transductive batch norm); 97.1 and 91.0 (inductive)",
        options=MAMLOptions,
        build=build_fixed,
        objective=_query_loss,
    )
)
METHODS.register("anil")(
    Method(
        name="anil",
        summary="MAML whose inner loop moves the classifier rows alone.",
        generates="nothing task-specific (constant θ₀)",
        adapts=ROWS,
        paper="Raghu, Raghu, Bengio, Vinyals: Rapid learning or feature reuse?, 2020",
        url="https://arxiv.org/abs/1909.09157",
        expected="Omniglot 20w1s 96.2 (published, transductive batch norm)",
        options=ANILOptions,
        build=build_fixed,
        objective=_query_loss,
    )
)
METHODS.register("reptile")(
    Method(
        name="reptile",
        summary="A constant start, moved towards where ordinary training of each task ends.",
        generates="nothing task-specific (constant θ₀)",
        adapts="all weights",
        paper="Nichol, Achiam, Schulman: On first-order meta-learning algorithms, 2018",
        url="https://arxiv.org/abs/1803.02999",
        expected="Omniglot 5w1s 95.4 and 20w1s 88.1 (published, inductive)",
        options=ReptileOptions,
        build=_build_reptile,
        objective=lambda meta_learner, options, setting: Displacement(),
    )
)
METHODS.register("meta-sgd")(
    Method(
        name="meta-sgd",
        summary="MAML that also learns a step size for every parameter.",
        generates="nothing task-specific (constant θ₀ and α)",
        adapts="all weights",
        paper="Li, Zhou, Chen, Li: Meta-SGD: learning to learn quickly for few-shot learning, 2017",
        url="https://arxiv.org/abs/1707.09835",
        expected="Omniglot 5w1s 99.5 and 20w1s 95.9 (published, transductive batch norm)",
        options=MAMLOptions,
        build=build_learned,
        objective=_query_loss,
    )
)
