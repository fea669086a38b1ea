"""The engine: meta-training, checkpoints, evaluation."""

from genmeta.core.settings import TrainConfig
from genmeta.engine.checkpoint import Trained, load, read_header
from genmeta.engine.evaluation import (
    Evaluation,
    Interval,
    StepScores,
    evaluate,
    fit_temperatures,
    paired,
    steps_to_reach,
)
from genmeta.engine.training import train

__all__ = [
    "Evaluation",
    "Interval",
    "StepScores",
    "TrainConfig",
    "Trained",
    "evaluate",
    "fit_temperatures",
    "load",
    "paired",
    "read_header",
    "steps_to_reach",
    "train",
]
