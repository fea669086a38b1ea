"""Estimators with scikit-learn's conventions: ``FewShotClassifier().fit(images, labels).predict(images)``."""

from genmeta.estimators.classifier import FewShotClassifier
from genmeta.estimators.segmenter import FewShotSegmenter

__all__ = ["FewShotClassifier", "FewShotSegmenter"]
