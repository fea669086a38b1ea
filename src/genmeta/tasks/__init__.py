"""Distributions of tasks."""

from genmeta.tasks.base import SPLITS, Range, TaskDistribution
from genmeta.tasks.classification import ClassificationTasks
from genmeta.tasks.dense import DenseTasks
from genmeta.tasks.detection import DetectionTasks
from genmeta.tasks.segmentation import SegmentationTasks

#: Visual task -> its tasks on annotated images.
DENSE_TASKS: dict[str, type[DenseTasks]] = {"segmentation": SegmentationTasks, "detection": DetectionTasks}

__all__ = [
    "DENSE_TASKS",
    "SPLITS",
    "ClassificationTasks",
    "DenseTasks",
    "DetectionTasks",
    "Range",
    "SegmentationTasks",
    "TaskDistribution",
]
