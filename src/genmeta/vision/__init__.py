"""Visual tasks: what outputs mean."""

from genmeta.vision.base import VisualTask
from genmeta.vision.classification import Classification

__all__ = ["Classification", "VisualTask"]
