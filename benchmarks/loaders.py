"""Episodes drawn a processor second: this library's sampler and learn2learn's, from the same images in memory.

learn2learn's is its ``Taskset`` with the transforms of its own Omniglot example (``NWays``, ``KShots``, ``LoadData``,
``RemapLabels``, ``ConsecutiveLabels``) on a plain dataset of tensors that are float32 already, so that it has the least
to do. higher and TorchOpt have no loader; torchmeta wants a torch of years ago and does not install.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from genmeta.core.randomness import seeded
from genmeta.data import open_dataset
from genmeta.data.classes import ImageClasses
from genmeta.tasks import ClassificationTasks

Timer = Callable[[dict[str, Callable[[], object]], int], dict[str, list[float]]]
QUERIES = 15
#: Of each timing.
EPISODES = 48
#: Drawn in one call, where a sampler draws several.
TOGETHER = 16


class Images(Dataset[tuple[Tensor, int]]):
    """Images of the training classes, as what they become in the end."""

    def __init__(self, data: ImageClasses) -> None:
        chosen = data.splits["train"]
        each = [data.images[data.offsets[k] : data.offsets[k + 1]] for k in chosen]
        self.labels = np.repeat(np.arange(len(chosen)), [len(images) for images in each]).tolist()
        self.images = torch.from_numpy(np.concatenate(each)).permute(0, 3, 1, 2).float().div_(255)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.images[index], self.labels[index]

    def __len__(self) -> int:
        return len(self.labels)


def taskset(data: ImageClasses, ways: int, shots: int) -> Any:
    """learn2learn's source of tasks; ``sample()`` gives images and labels."""
    from learn2learn.data import MetaDataset, Taskset
    from learn2learn.data.transforms import ConsecutiveLabels, KShots, LoadData, NWays, RemapLabels

    images = Images(data)
    by_label: dict[int, list[int]] = defaultdict(list)
    for index, label in enumerate(images.labels):
        by_label[label].append(index)
    of = MetaDataset(images, labels_to_indices=dict(by_label))
    transforms = [NWays(of, n=ways), KShots(of, k=shots + QUERIES), LoadData(of), RemapLabels(of)]
    return Taskset(of, [*transforms, ConsecutiveLabels(of)], num_tasks=-1)


def loaders(timer: Timer, rounds: int, spec: str = "omniglot", peer: bool = True) -> list[dict[str, Any]]:
    """Episodes a processor second, for two kinds of task; ``peer`` is whether learn2learn is there."""
    data, rows = open_dataset(spec), []
    for ways, shots in ((5, 1), (20, 5)):
        need = shots + QUERIES
        mine = ClassificationTasks(data, "train", ways=ways, shots=shots, queries=QUERIES, min_images=need)
        steps: dict[str, Callable[[], object]] = {
            f"genmeta, {TOGETHER} at a time": lambda m=mine: [
                m.sample(TOGETHER, rng=seeded(4, i)) for i in range(EPISODES // TOGETHER)
            ],
            "genmeta, 1 at a time": lambda m=mine: [m.sample(1, rng=seeded(4, i)) for i in range(EPISODES)],
        }
        if peer:
            theirs = taskset(data, ways, shots)
            images, labels = theirs.sample()
            if images.shape != (ways * need, *data.image_shape) or labels.bincount().tolist() != [need] * ways:
                raise SystemExit(f"learn2learn's tasks are not the same: {images.shape}, {labels.bincount()}")
            steps["learn2learn"] = lambda t=theirs: [t.sample() for _ in range(EPISODES)]
        took = timer(steps, rounds)
        base = took[f"genmeta, {TOGETHER} at a time"]
        rows.append(
            {
                "task": f"{ways}w{shots}s",
                "queries": QUERIES,
                "episodes_per_cpu_second": {n: round(EPISODES / float(np.median(t)), 1) for n, t in took.items()},
                "speed_ratio": {
                    n: round(float(np.median([b / a for a, b in zip(base, t, strict=True)])), 2)
                    for n, t in took.items()
                    if t is not base
                },
            }
        )
    return rows
