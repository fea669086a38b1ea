"""Estimators with scikit-learn's conventions: ``FewShotClassifier().fit(images, labels).predict(images)``."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genmeta.estimators.classifier import FewShotClassifier as FewShotClassifier
    from genmeta.estimators.detector import FewShotDetector as FewShotDetector
    from genmeta.estimators.detector import FoundBoxes as FoundBoxes
    from genmeta.estimators.segmenter import FewShotSegmenter as FewShotSegmenter

#: Name -> module; opened when asked for, so that commands do without scikit-learn.
_HOMES = {
    "FewShotClassifier": "genmeta.estimators.classifier",
    "FewShotDetector": "genmeta.estimators.detector",
    "FewShotSegmenter": "genmeta.estimators.segmenter",
    "FoundBoxes": "genmeta.estimators.detector",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


__all__ = ["FewShotClassifier", "FewShotDetector", "FewShotSegmenter", "FoundBoxes"]
