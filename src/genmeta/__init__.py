"""Generative meta-learning for vision: a generator, trained over many tasks, writes weights; a few steps adapt them."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# name -> module that defines it; loaded at first use, so that `import genmeta` costs nothing beyond this file
_PUBLIC = {
    "ClassificationTasks": "genmeta.tasks",
    "EvaluationConfig": "genmeta.core.settings",
    "FewShotClassifier": "genmeta.estimators",
    "FewShotDetector": "genmeta.estimators",
    "FewShotSegmenter": "genmeta.estimators",
    "GenmetaError": "genmeta.core.errors",
    "TrainConfig": "genmeta.core.settings",
    "build_learner": "genmeta.learners",
    "build_method": "genmeta.methods",
    "compare": "genmeta.scenarios",
    "evaluate": "genmeta.engine",
    "from_pretrained": "genmeta.zoo",
    "list_checkpoints": "genmeta.zoo",
    "list_methods": "genmeta.methods",
    "load": "genmeta.engine",
    "open_dataset": "genmeta.data",
    "push_to_hub": "genmeta.zoo",
    "seeded": "genmeta.core.randomness",
    "train": "genmeta.engine",
}

__all__ = sorted(_PUBLIC)

if TYPE_CHECKING:
    from genmeta.core.errors import GenmetaError as GenmetaError
    from genmeta.core.randomness import seeded as seeded
    from genmeta.core.settings import EvaluationConfig as EvaluationConfig
    from genmeta.core.settings import TrainConfig as TrainConfig
    from genmeta.data import open_dataset as open_dataset
    from genmeta.engine import evaluate as evaluate
    from genmeta.engine import load as load
    from genmeta.engine import train as train
    from genmeta.estimators import FewShotClassifier as FewShotClassifier
    from genmeta.estimators import FewShotDetector as FewShotDetector
    from genmeta.estimators import FewShotSegmenter as FewShotSegmenter
    from genmeta.learners import build_learner as build_learner
    from genmeta.methods import build_method as build_method
    from genmeta.methods import list_methods as list_methods
    from genmeta.scenarios import compare as compare
    from genmeta.tasks import ClassificationTasks as ClassificationTasks
    from genmeta.zoo import from_pretrained as from_pretrained
    from genmeta.zoo import list_checkpoints as list_checkpoints
    from genmeta.zoo import push_to_hub as push_to_hub


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'genmeta' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *_PUBLIC]
