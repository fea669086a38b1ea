"""Hypernetworks: a set encoder reads the support set, a network writes the start (``meta-sgd-hn``: and step sizes).

``θ₀ = base + s · G_φ(Enc(S))`` with the base learned along. HyperNetworks: Ha et al., 2017. "Meta-SGD-HN" has no paper
of that name; the definition is this library's: ``(θ₀, ρ) = G_φ(Enc(S))``, ``α = α_max · sigmoid(ρ₀ + ρ)``. Nearest
mathematics: Meta-SGD (Li et al., 2017) and ALFA (Baik et al., 2020).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from genmeta.adapters import GradientAdapter
from genmeta.core.errors import unknown
from genmeta.encoders import SetEncoder
from genmeta.generators import (
    ConstantRow,
    GeneratedStepSizes,
    HyperNetwork,
    LearnedStepSizes,
    PrototypeRow,
    RidgeRow,
    RowBase,
    StepSizes,
    WithinClassRow,
)
from genmeta.learners import Learner
from genmeta.methods.base import METHODS, Method, adapted_names, written_spec
from genmeta.methods.meta_learner import MetaLearner, Parts
from genmeta.methods.objectives import QueryLoss, Setting
from genmeta.vision import VisualTask

ROW_BASES = ("prototype", "ridge", "within", "constant")


def make_row_base(name: str, row_length: int) -> RowBase:
    """The row base called ``name``; see :mod:`genmeta.generators.row_bases`."""
    if name == "prototype":
        return PrototypeRow()
    if name == "ridge":
        return RidgeRow()
    if name == "within":
        return WithinClassRow()
    if name == "constant":
        return ConstantRow(row_length)
    raise unknown("row base", name, ROW_BASES)


@dataclass(frozen=True)
class HyperNetOptions:
    """Settings of the hypernetworks.

    Attributes:
        generate: ``rows``, ``film`` (scales, shifts and rows), ``all`` (every tensor, by chunks).
        row_base: what the generated rows correct: ``prototype``, ``ridge``, ``within`` (class means in a metric that
            the scatter within classes tells) or ``constant``.
        row_scale: what a unit of what is written is worth in a row at first; learned along. Rows of prototypes have a
            length of some 30, so a correction that is to count soon needs more than a tenth.
        context: size of the encoder's context vectors.
        counts: tell the generator how much evidence each class has: where there is more, steps may be longer.
        hidden: width of the generator.
        chunk: weights per chunk where there are many.
        penalty: cost of a written weight, see :class:`~genmeta.generators.HyperNetwork`.
        inner_steps: adaptation steps after generation in meta-training.
        inner_lr: initial step size of everything but the rows; learned per parameter (``hypernet``) or generated
            (``meta-sgd-hn``).
        row_lr: initial step size of the rows, likewise.
        first_order: drop second derivatives.
        query_loss: which steps' query loss trains: ``last``, ``both`` (start and last) or ``all``.
    """

    generate: str = "film"
    row_base: str = "prototype"
    row_scale: float = 0.1
    context: int = 128
    counts: bool = False
    hidden: int = 256
    chunk: int = 1024
    penalty: float = 1e-4
    inner_steps: int = 1
    inner_lr: float = 0.1
    row_lr: float = 1.0
    first_order: bool = False
    query_loss: str = "both"


@dataclass(frozen=True)
class MetaSGDHNOptions(HyperNetOptions):
    """As the hypernetwork's.

    Attributes:
        start: ``generated``, or ``constant`` for the ablation that generates step sizes alone.
    """

    start: str = "generated"

    def __post_init__(self) -> None:
        if self.start not in ("generated", "constant"):
            raise unknown("start", self.start, ("generated", "constant"))


def _build(options: HyperNetOptions, learner: Learner, vision: VisualTask, generated_steps: bool) -> MetaLearner:
    spec = written_spec(learner, vision, options.generate)
    adapts = adapted_names(spec)
    writes = not isinstance(options, MetaSGDHNOptions) or options.start == "generated"
    step_sizes: StepSizes
    if generated_steps:
        step_sizes = GeneratedStepSizes(spec, adapts, options.inner_lr, options.row_lr, options.context)
    else:
        step_sizes = LearnedStepSizes(spec, adapts, options.inner_lr, options.row_lr)

    def generator(length: int) -> HyperNetwork:
        return HyperNetwork(options.context, length, options.hidden, options.chunk, options.penalty)

    meta_learner = MetaLearner(
        Parts(
            learner=learner,
            vision=vision,
            spec=spec,
            row_base=make_row_base(options.row_base if writes else "constant", spec.row_length),
            step_sizes=step_sizes,
            adapter=GradientAdapter(first_order=options.first_order),
            inner_steps=options.inner_steps,
            encoder=SetEncoder(
                learner.feature_size, options.context, reads_task=bool(spec.shared), counts=options.counts
            ),
            shared=generator(spec.shared_length) if writes and spec.shared else None,
            rows=generator(spec.row_length) if writes else None,
        )
    )
    with torch.no_grad():
        meta_learner.row_scale.fill_(options.row_scale)
    return meta_learner


def build_hypernet(options: HyperNetOptions, learner: Learner, vision: VisualTask, rng: torch.Generator) -> MetaLearner:
    """Generated start, learned step sizes."""
    return _build(options, learner, vision, generated_steps=False)


def build_meta_sgd_hn(
    options: MetaSGDHNOptions, learner: Learner, vision: VisualTask, rng: torch.Generator
) -> MetaLearner:
    """Generated start, generated step sizes."""
    return _build(options, learner, vision, generated_steps=True)


def _query_loss(meta_learner: MetaLearner, options: HyperNetOptions, setting: Setting) -> QueryLoss:
    return QueryLoss(options.query_loss)


METHODS.register("hypernet")(
    Method(
        name="hypernet",
        summary="A network that reads the support set and writes the start.",
        generates="θ₀: rows, FiLM or all weights",
        adapts="what was written",
        paper="Ha, Dai, Le: HyperNetworks, 2017",
        url="https://arxiv.org/abs/1609.09106",
        expected="at or above a prototypical network on the same learner",
        options=HyperNetOptions,
        build=build_hypernet,
        objective=_query_loss,
    )
)
METHODS.register("meta-sgd-hn")(
    Method(
        name="meta-sgd-hn",
        summary="A hypernetwork that writes the start and the step size of every parameter.",
        generates="θ₀ and α",
        adapts="what was written",
        paper="This library's definition; nearest: Li et al., Meta-SGD, 2017; Baik et al., ALFA, 2020",
        url="https://arxiv.org/abs/1707.09835",
        expected="at or above hypernet and meta-sgd",
        options=MetaSGDHNOptions,
        build=build_meta_sgd_hn,
        objective=_query_loss,
    )
)
