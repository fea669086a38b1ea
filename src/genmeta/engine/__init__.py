"""The engine: meta-training, checkpoints, evaluation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from genmeta.core.settings import TrainConfig
from genmeta.engine.checkpoint import Trained, load, read_header
from genmeta.engine.evaluation import evaluate, fit_temperatures
from genmeta.engine.scores import Evaluation, Interval, StepScores, paired, steps_to_reach

if TYPE_CHECKING:
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


def __getattr__(name: str) -> Any:
    # training brings Lightning Fabric along, which takes longer to import than a small model to fit
    if name == "train":
        from genmeta.engine.training import train

        return train
    raise AttributeError(f"module 'genmeta.engine' has no attribute {name!r}")
