"""What episodes scored: means with confidence intervals, paired differences, calibration, and plain numbers of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from genmeta.core.errors import UsageError
from genmeta.engine.calibration import calibration_error


@dataclass(frozen=True)
class Interval:
    """A mean and the half-width of its 95 % confidence interval over episodes, ``1.96 σ / √n``."""

    mean: float
    half_width: float

    @classmethod
    def of(cls, values: np.ndarray) -> Interval:
        """From one value per episode. A single episode has no interval: ``nan``; none at all has no mean either."""
        if not len(values):
            return cls(float("nan"), float("nan"))
        spread = float(values.std(ddof=1)) if len(values) > 1 else float("nan")
        return cls(float(values.mean()), 1.96 * spread / len(values) ** 0.5)

    def rounded(self) -> dict[str, float]:
        """Plain numbers."""
        return {"mean": round(self.mean, 3), "ci95": round(self.half_width, 3)}

    def __str__(self) -> str:
        return f"{self.mean:.2f} ± {self.half_width:.2f}"


@dataclass(frozen=True)
class DrawScores:
    """What a single draw of the start does, where a prediction averages several.

    Attributes:
        accuracy: ``[E]`` of the first draw of each episode alone.
        nll: ``[E]`` of the first draw alone.
        disagreement: share of all query images that the first two draws answer differently.
        diversity: how much the rows of the draws differ, see :func:`~genmeta.methods.diversity.diversity`.
    """

    accuracy: np.ndarray
    nll: np.ndarray
    disagreement: float
    diversity: Mapping[str, float]


@dataclass(frozen=True)
class CalibratedScores:
    """Scores of the probabilities ``softmax(log p / T)``; which class is likeliest does not change.

    Attributes:
        temperature: ``T``, fitted on other tasks.
        nll: ``[E]`` nats per query image.
        confidence: ``[Q]`` largest probability of each query image.
    """

    temperature: float
    nll: np.ndarray
    confidence: np.ndarray


@dataclass(frozen=True)
class StepScores:
    """Scores after some number of adaptation steps.

    Attributes:
        accuracy: ``[E]`` of each episode, a fraction in [0, 1].
        nll: ``[E]`` mean negative log-likelihood of the true class, nats per query image.
        confidence: ``[Q]`` largest probability of each query image of all episodes.
        correct: ``[Q]`` whether it was right.
        seconds: median time per task to generate the start and take the steps, one task at a time; ``nan`` if it was
            not measured.
        metric: name of the main score.
        extra: name -> ``[E]`` further scores, fractions; ``nan`` where an episode has none.
        classes: name of a class -> its mean main score over the episodes that have it, where there are few classes.
        draws: of a single draw, where several are averaged.
        calibrated: after temperature scaling, where a temperature was given.
    """

    accuracy: np.ndarray
    nll: np.ndarray
    confidence: np.ndarray
    correct: np.ndarray
    seconds: float
    draws: DrawScores | None = None
    calibrated: CalibratedScores | None = None
    metric: str = "accuracy"
    extra: Mapping[str, np.ndarray] = field(default_factory=dict)
    classes: Mapping[str, float] = field(default_factory=dict)

    @property
    def ece(self) -> float:
        """Expected calibration error, pooled over all query images of all episodes, 15 equal bins, in [0, 1]."""
        return calibration_error(self.confidence, self.correct)

    def summary(self) -> dict[str, Any]:
        """Plain numbers: the main score under its own name, and further ones, in percent."""
        numbers = {
            **rounded(self.metric, 100 * self.accuracy, 3),
            **rounded("nll", self.nll, 4),
            "ece": round(100 * self.ece, 3),
            "adaptation_ms": round(1000 * self.seconds, 3),
            "draws": self._draws(),
            "calibrated": self._calibrated(),
        }
        for name, values in self.extra.items():
            numbers |= rounded(name, 100 * values[~np.isnan(values)], 3)
        if self.classes:
            numbers["classes"] = {name: round(100 * value, 3) for name, value in self.classes.items()}
        return numbers

    def _draws(self) -> dict[str, Any] | None:
        """A single draw, and what averaging wins over it: paired, positive where averaging is better."""
        draws = self.draws
        if draws is None:
            return None
        return {
            **rounded("accuracy", 100 * draws.accuracy, 3),
            **rounded("nll", draws.nll, 4),
            **rounded("accuracy_gain", 100 * (self.accuracy - draws.accuracy), 3),
            **rounded("nll_gain", draws.nll - self.nll, 4),
            "disagreement": round(100 * draws.disagreement, 3),
            **{name: round(value, 5) for name, value in draws.diversity.items()},
        }

    def _calibrated(self) -> dict[str, Any] | None:
        if self.calibrated is None:
            return None
        ece = calibration_error(self.calibrated.confidence, self.correct)
        temperature = round(self.calibrated.temperature, 4)
        return {"temperature": temperature, **rounded("nll", self.calibrated.nll, 4), "ece": round(100 * ece, 3)}


#: Adaptation steps -> scores.
Evaluation = dict[int, StepScores]


def rounded(name: str, values: np.ndarray, digits: int) -> dict[str, float]:
    """Mean and half-width as plain numbers, under ``name`` and ``name_ci95``."""
    interval = Interval.of(values)
    return {name: round(interval.mean, digits), f"{name}_ci95": round(interval.half_width, digits)}


def paired(first: np.ndarray, second: np.ndarray) -> Interval:
    """The difference ``first − second`` episode by episode, in percent points, with its confidence interval."""
    if first.shape != second.shape:
        raise UsageError(f"Paired scores need the same episodes, got {first.shape} and {second.shape}.")
    return Interval.of(100 * (first - second))


def steps_to_reach(evaluation: Evaluation, accuracy: float) -> tuple[int, float] | None:
    """The fewest scored steps whose mean accuracy is at least ``accuracy``, and their seconds; ``None`` if none is."""
    for step in sorted(evaluation):
        if evaluation[step].accuracy.mean() >= accuracy:
            return step, evaluation[step].seconds
    return None
