"""What the Bayesian recipes share: their row base, their step sizes, and options that several of them have."""

from __future__ import annotations

import torch

from genmeta.core.spec import ParamSpec
from genmeta.generators import ConstantRow, FixedStepSize, LearnedStepSizes, RowBase, StepSizes
from genmeta.methods.base import adapted_names
from genmeta.methods.hypernetworks import make_row_base
from genmeta.methods.meta_learner import MetaLearner

#: A row written from nothing needs weights of about this size to tell features of length 1 apart.
ROW_SCALE = 4.0


def row_base(name: str, row_length: int) -> RowBase:
    """As :func:`make_row_base`; a constant stays at zero: what all classes share cancels in a softmax."""
    base = make_row_base(name, row_length)
    if isinstance(base, ConstantRow):
        base.requires_grad_(False)
    return base


def step_sizes(spec: ParamSpec, inner_steps: int, inner_lr: float, row_lr: float) -> StepSizes:
    """Learned per parameter; fixed where training takes no steps to learn them by."""
    kind = LearnedStepSizes if inner_steps else FixedStepSize
    return kind(spec, adapted_names(spec), inner_lr, row_lr)


def at_full_scale(meta_learner: MetaLearner, correction: float | None = None) -> MetaLearner:
    """Lets generated rows begin at their full size where they correct nothing, else at ``correction`` if given.

    Noise in a row is noise in a logit, since features have length 1: below about 1 it changes no prediction.
    """
    alone = isinstance(meta_learner.row_base, ConstantRow)
    scale = ROW_SCALE if alone else correction
    if scale is not None:
        with torch.no_grad():
            meta_learner.row_scale.fill_(scale)
    return meta_learner
