"""Distributions of tasks."""

from genmeta.tasks.base import SPLITS, Range, TaskDistribution
from genmeta.tasks.classification import ClassificationTasks
from genmeta.tasks.dense import DenseTasks
from genmeta.tasks.segmentation import SegmentationTasks

#: Visual task -> its tasks on annotated images.
DENSE_TASKS: dict[str, type[DenseTasks]] = {"segmentation": SegmentationTasks}

__all__ = [
    "DENSE_TASKS",
    "SPLITS",
    "ClassificationTasks",
    "DenseTasks",
    "Range",
    "SegmentationTasks",
    "TaskDistribution",
]
