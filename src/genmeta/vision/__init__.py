"""Visual tasks: what outputs mean. One file each; add yours to :data:`VISUAL_TASKS`."""

from genmeta.core.registry import Registry
from genmeta.vision.base import Scores, VisualTask
from genmeta.vision.classification import Classification
from genmeta.vision.detection import Detection
from genmeta.vision.domain import DomainClassification
from genmeta.vision.segmentation import Segmentation
from genmeta.vision.shared_maps import MULTITASK, SHARED

VISUAL_TASKS: Registry[type[VisualTask]] = Registry("visual task")
for _task in (Classification, Segmentation, Detection):
    VISUAL_TASKS.register(_task.name)(_task)


def visual_task(name: str) -> type[VisualTask]:
    """The visual task called ``name``, those of the domain and the multi-task scenario among them.

    Raises:
        UsageError: there is none.
    """
    # apart from the registry: of one, classes are tied to numbers, so the laws of the others do not hold for it; the
    # other is any of several
    if name == MULTITASK:
        return SHARED[Classification.name]
    return DomainClassification if name == DomainClassification.name else VISUAL_TASKS[name]


__all__ = [
    "VISUAL_TASKS",
    "Classification",
    "Detection",
    "DomainClassification",
    "Scores",
    "Segmentation",
    "VisualTask",
    "visual_task",
]
