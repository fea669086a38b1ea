"""One temperature that makes confidence mean what it says, from the held-out predictions and a prior."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

#: Spread of the prior on log T, in nats: what a few predictions may say against it.
SPREAD = 0.5


def prior_temperature(card: Mapping[str, Any], shots: float) -> float:
    """What a checkpoint's card says of ``T`` at some number of images a class: ``T₀`` of :func:`fit_temperature`.

    Args:
        card: ``temperature`` maps shots to ``T`` on classes that were held out of meta-training; absent, ``T`` is 1.
        shots: ``log T`` is interpolated over ``log shots``, and constant beyond the ends.
    """
    known = {float(k): float(v) for k, v in card.get("temperature", {"1": 1.0}).items()}
    at = sorted(known)
    return float(np.exp(np.interp(np.log(shots), np.log(at), np.log([known[k] for k in at]))))


def fit_temperature(logits: Tensor, targets: Tensor, prior: float = 1.0, spread: float = SPREAD) -> float:
    """The temperature ``T`` of ``softmax(logits / T)`` by maximum a posteriori.

    ``T = argmin Σ_i −log softmax(l_i / T)[y_i] + (log T − log T₀)² / 2σ²`` over 0.1 to 10; the prior holds where a
    handful of predictions, often all of them right, would make the model as sure as can be.

    Guo, Pleiss, Sun, Weinberger, "On calibration of modern neural networks", 2017
    (https://arxiv.org/abs/1706.04599). Deviation: the prior.

    Args:
        logits: ``[M K]`` of images that the model was fitted without; ``M`` may be 0.
        targets: ``[M]``.
        prior: ``T₀``.
        spread: ``σ``.
    """
    grid = torch.linspace(math.log(0.1), math.log(10), 201, dtype=torch.float64)
    scaled = logits.double()[None] / grid.exp()[:, None, None]
    right = torch.log_softmax(scaled, -1).gather(-1, targets[None, :, None].expand(len(grid), -1, 1))
    cost = -right.sum((1, 2)) + (grid - math.log(prior)).square() / (2 * spread**2)
    return float(grid[cost.argmin()].exp())
