"""Episodes of segmentation tasks."""

from __future__ import annotations

import torch

from genmeta.core.types import Targets
from genmeta.data.scene_source import Scenes
from genmeta.tasks.dense import DenseTasks


class SegmentationTasks(DenseTasks):
    """Masks of class numbers: 0 is the background, a class of its own; ``ways`` does not count it."""

    needs = "masks"

    @property
    def n_classes(self) -> int:
        """Number of different classes, the background included."""
        return len(self.source.class_names) + 1

    def class_name(self, number: int) -> str:
        return self.source.class_names[number - 1] if number else "background"

    def targets(self, scenes: Scenes) -> Targets:
        if scenes.masks is None:
            raise TypeError("a source that annotates masks drew none")
        return torch.from_numpy(scenes.masks).long()

    def class_ids(self, classes: torch.Tensor) -> torch.Tensor:
        return torch.cat([torch.zeros_like(classes[:, :1]), classes + 1], 1)
