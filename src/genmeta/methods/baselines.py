"""What meta-learning is compared with: training from scratch, and fine-tuning a network pretrained on the sources."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from genmeta.adapters import GradientAdapter
from genmeta.generators import ConstantRow, FixedStepSize
from genmeta.learners import Learner
from genmeta.methods.base import METHODS, Method, adapted_names, written_spec
from genmeta.methods.meta_learner import MetaLearner, Parts
from genmeta.methods.objectives import Supervised
from genmeta.vision import VisualTask


@dataclass(frozen=True)
class TrainingOptions:
    """Settings of ordinary training on the support set.

    Attributes:
        generate: what training moves: ``rows``, ``film`` (and rows) or ``all``.
        inner_steps: steps on the support set.
        inner_lr: learning rate.
        inner_rule: ``sgd`` or ``adam``.
    """

    generate: str = "all"
    inner_steps: int = 50
    inner_lr: float = 0.01
    inner_rule: str = "adam"


@dataclass(frozen=True)
class FinetuneOptions(TrainingOptions):
    """As training from scratch; by default a new classifier on frozen features."""

    generate: str = "rows"


def build(options: TrainingOptions, learner: Learner, vision: VisualTask, rng: torch.Generator) -> MetaLearner:
    """Rows start at zero, everything else at the learner's own weights."""
    spec = written_spec(learner, vision, options.generate)
    row_base = ConstantRow(spec.row_length)
    row_base.requires_grad_(False)
    return MetaLearner(
        Parts(
            learner=learner,
            vision=vision,
            spec=spec,
            row_base=row_base,
            step_sizes=FixedStepSize(spec, adapted_names(spec), options.inner_lr, options.inner_lr),
            adapter=GradientAdapter(first_order=True, rule=options.inner_rule),
            inner_steps=options.inner_steps,
        )
    )


# a baseline deserves its best settings: chosen on validation tasks, never on test tasks
_RATES = tuple({"inner_rule": rule, "inner_lr": lr} for rule, lrs in
               (("adam", (0.001, 0.003, 0.01)), ("sgd", (0.03, 0.1, 0.3))) for lr in lrs)  # fmt: skip

METHODS.register("scratch")(
    Method(
        name="scratch",
        summary="Random weights, trained on the support set alone.",
        generates="nothing",
        adapts="all weights",
        paper="the baseline of every claim of faster adaptation",
        url="",
        expected="far below every other row",
        options=TrainingOptions,
        build=build,
        objective=None,
        tune=_RATES,
    )
)
METHODS.register("finetune")(
    Method(
        name="finetune",
        summary="Pretrained on all source classes at once, then new rows trained on the support set.",
        generates="nothing",
        adapts="rows",
        paper="Chen, Liu, Kira, Wang, Huang: A closer look at few-shot classification, 2019 (Baseline)",
        url="https://arxiv.org/abs/1904.04232",
        expected="below prototypical networks at 1 shot, level with them at 5",
        options=FinetuneOptions,
        build=build,
        objective=lambda meta_learner, options, setting: Supervised(
            meta_learner.learner.feature_size, setting.n_classes
        ),
        tune=_RATES,
    )
)
