"""What networks of several scales are made of: a halving stage, and a coarser scale added to a finer one."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genmeta.learners.base import Conv, LearnerConfig, Norm, Pass


def halving(before: int, after: int, config: LearnerConfig, rng: torch.Generator) -> nn.ModuleDict:
    """Two convolutions with their norms, the first strided."""
    return nn.ModuleDict(
        {
            "conv0": Conv(before, after, rng),
            "norm0": Norm(after, config),
            "conv1": Conv(after, after, rng),
            "norm1": Norm(after, config),
        }
    )


def addition(coarse: int, fine: int, config: LearnerConfig, rng: torch.Generator) -> nn.ModuleDict:
    """The coarser scale brought to the finer one's channels (1×1), a convolution after the sum, and a norm."""
    return nn.ModuleDict(
        {"lateral": Conv(coarse, fine, rng, size=1), "conv": Conv(fine, fine, rng), "norm": Norm(fine, config)}
    )


def extra_channels(width: int, config: LearnerConfig, rng: torch.Generator) -> Conv:
    """The further channels that a visual task asks for; they say nothing at first."""
    extra = Conv(width, config.extra, rng, size=1)
    nn.init.zeros_(extra.weight)
    return extra


def halved(name: str, x: Tensor, run: Pass) -> Tensor:
    """The stage of that name, applied."""
    x = run.norm(f"{name}.norm0", run.conv(f"{name}.conv0", x, stride=2), slope=0.0)
    return run.norm(f"{name}.norm1", run.conv(f"{name}.conv1", x), slope=0.0)


def added(name: str, coarser: Tensor, finer: Tensor, run: Pass) -> Tensor:
    """The addition of that name, applied."""
    larger = F.interpolate(run.conv(f"{name}.lateral", coarser), finer.shape[-2:], mode="nearest")
    return run.norm(f"{name}.norm", run.conv(f"{name}.conv", larger + finer), slope=0.0)
