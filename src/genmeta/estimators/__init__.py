"""Estimators with scikit-learn's conventions: ``FewShotClassifier().fit(images, labels).predict(images)``."""

from genmeta.estimators.classifier import FewShotClassifier
from genmeta.estimators.detector import FewShotDetector, FoundBoxes
from genmeta.estimators.segmenter import FewShotSegmenter

__all__ = ["FewShotClassifier", "FewShotDetector", "FewShotSegmenter", "FoundBoxes"]
