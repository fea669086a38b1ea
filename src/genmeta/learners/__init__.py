"""Learners: the networks whose weights are written. One file each; add yours to :data:`LEARNERS`."""

from __future__ import annotations

import torch

from genmeta.core.registry import Registry
from genmeta.learners.base import SPACES, Learner, LearnerConfig, Statistics
from genmeta.learners.conv4 import Conv4
from genmeta.learners.mlp import MLP
from genmeta.learners.resnet12 import ResNet12

LEARNERS: Registry[type[Learner]] = Registry("learner")
LEARNERS.register("conv4")(Conv4)
LEARNERS.register("resnet12")(ResNet12)
LEARNERS.register("mlp")(MLP)


def build_learner(config: LearnerConfig, rng: torch.Generator) -> Learner:
    """Builds a learner with random weights drawn from ``rng``."""
    return LEARNERS[config.name](config, rng)


__all__ = ["LEARNERS", "SPACES", "Learner", "LearnerConfig", "Statistics", "build_learner"]
