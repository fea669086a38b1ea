"""Episodes of detection tasks."""

from __future__ import annotations

import torch

from genmeta.core.types import IGNORE, Boxes, Targets
from genmeta.data.scene_source import Scenes
from genmeta.tasks.dense import DenseTasks


class DetectionTasks(DenseTasks):
    """Boxes with class numbers from 1; number 0 is the background, which ``ways`` does not count.

    Objects of other classes than the task's have no box: they are background.
    """

    needs = "boxes"

    @property
    def n_classes(self) -> int:
        """Number of different classes, the background included."""
        return len(self.source.class_names) + 1

    def class_name(self, number: int) -> str:
        return self.source.class_names[number - 1] if number else "background"

    def targets(self, scenes: Scenes) -> Targets:
        if scenes.boxes is None or scenes.labels is None:
            raise TypeError("a source that annotates boxes drew none")
        _, height, width = self.image_shape
        boxes, labels = torch.from_numpy(scenes.boxes), torch.from_numpy(scenes.labels)
        return Boxes(
            boxes / boxes.new_tensor([width, height, width, height]), torch.where(labels >= 0, labels + 1, IGNORE)
        )

    def class_ids(self, classes: torch.Tensor) -> torch.Tensor:
        return torch.cat([torch.zeros_like(classes[:, :1]), classes + 1], 1)
