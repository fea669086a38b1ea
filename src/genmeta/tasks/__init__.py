"""Distributions of tasks."""

from genmeta.tasks.classification import SPLITS, ClassificationTasks, Range, TaskDistribution

__all__ = ["SPLITS", "ClassificationTasks", "Range", "TaskDistribution"]
