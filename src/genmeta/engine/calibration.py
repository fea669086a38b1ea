"""Is a prediction as often right as it says? Calibration error, and the temperature that mends it."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

#: Bins of the expected calibration error.
BINS = 15
#: Temperatures are looked for between 1/LIMIT and LIMIT.
LIMIT = 50.0


def calibration_error(confidence: np.ndarray, correct: np.ndarray) -> float:
    """``Σ_b |B_b| / n · |accuracy(B_b) − confidence(B_b)|`` over equal-width bins of confidence.

    Naeini et al., "Obtaining well calibrated probabilities using Bayesian binning", 2015.
    """
    if not len(confidence):
        return float("nan")
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gap = np.bincount(bins, weights=correct.astype(float) - confidence, minlength=BINS)
    return float(np.abs(gap).sum() / len(confidence))


def scaled(log_probabilities: Float[Tensor, "*b K"], temperature: float) -> Float[Tensor, "*b K"]:
    """``log softmax(log p / T)``."""
    return torch.log_softmax(log_probabilities / temperature, -1)


def fit_temperature(log_probabilities: Float[Tensor, "*b K"], truth: Int[Tensor, "*b"]) -> float:
    """``T = argmin Σ −log softmax(log p / T)_y``, one number for all predictions.

    Guo, Pleiss, Sun, Weinberger, "On calibration of modern neural networks", 2017
    (https://arxiv.org/abs/1706.04599). The sum is convex in ``1/T``, so its slope is bisected, between 1/50 and 50.

    Args:
        log_probabilities: logits or log-probabilities.
        truth: classes.
    """
    # an impossible class stays so at any temperature, but infinity times nothing is no number
    log_probabilities = log_probabilities.double().flatten(0, -2).clamp_min(-1e4)
    at_truth = log_probabilities.gather(-1, truth.flatten()[:, None]).mean()
    low, high = 1 / LIMIT, LIMIT
    for _ in range(60):
        sharpness = (low * high) ** 0.5
        expected = (scaled(log_probabilities, 1 / sharpness).exp() * log_probabilities).sum(-1).mean()
        if expected > at_truth:
            high = sharpness
        else:
            low = sharpness
    return 1 / (low * high) ** 0.5
