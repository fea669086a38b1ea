"""Visual tasks: what outputs mean. One file each; add yours to :data:`VISUAL_TASKS`."""

from genmeta.core.registry import Registry
from genmeta.vision.base import Scores, VisualTask
from genmeta.vision.classification import Classification
from genmeta.vision.detection import Detection
from genmeta.vision.segmentation import Segmentation

VISUAL_TASKS: Registry[type[VisualTask]] = Registry("visual task")
for _task in (Classification, Segmentation, Detection):
    VISUAL_TASKS.register(_task.name)(_task)

__all__ = ["VISUAL_TASKS", "Classification", "Detection", "Scores", "Segmentation", "VisualTask"]
