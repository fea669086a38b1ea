"""Estimators with scikit-learn's conventions: ``FewShotClassifier().fit(images, labels).predict(images)``."""

from genmeta.estimators.classifier import FewShotClassifier

__all__ = ["FewShotClassifier"]
