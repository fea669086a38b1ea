"""Detection tasks from images that were read."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from genmeta.core.errors import DataError
from genmeta.core.types import IGNORE, Boxes
from genmeta.data.box_images import BoxImages
from genmeta.data.box_source import BoxSource
from genmeta.tasks import DetectionTasks

WIDTH, HEIGHT = 32, 16


def source(owners: list[list[int]], n_classes: int = 4) -> BoxSource:
    """Image ``i`` has a box of each class of ``owners[i]``; its pixels all say ``i``."""
    n = len(owners)
    images = np.broadcast_to(np.arange(n, dtype=np.uint8)[:, None, None, None], (n, HEIGHT, WIDTH, 3))
    labels = np.array([k for of in owners for k in of], dtype=np.int64)
    boxes = np.stack([np.array([k, 1, k + 8, 9], np.float32) for k in labels])
    offsets = np.concatenate([[0], np.cumsum([len(of) for of in owners])])
    names = tuple(f"class{k}" for k in range(n_classes))
    splits = {"train": np.arange(2), "val": np.empty(0, np.int64), "test": np.arange(2, n_classes)}
    data = BoxImages("coco:x", images, boxes, labels, offsets, names, tuple(map(str, range(n))), splits)
    return BoxSource(data)


def numbers(images: torch.Tensor) -> list[list[int]]:
    return (images[:, :, 0, 0, 0] * 255).round().int().tolist()


OWNERS = [[0], [0, 2], [1], [1, 1, 3], [0, 1], [2], [3], [2, 3], [1, 0], [], [2, 2]]


def test_support_shows_every_class_and_is_never_asked_about() -> None:
    tasks = DetectionTasks(source(OWNERS), "train", ways=2, shots=2, queries=2)
    task = tasks.sample(20, rng=torch.Generator().manual_seed(0))
    assert task.ways == 3
    assert task.class_ids[:, 0].tolist() == [0] * 20
    assert tasks.class_name(int(task.class_ids[0, 1])) in ("class0", "class1")
    for support, query in zip(numbers(task.support.images), numbers(task.query.images), strict=True):
        assert not set(support) & set(query)
        assert {0, 1} <= {k for image in support for k in OWNERS[image]}
        assert all({0, 1} & set(OWNERS[image]) for image in query)


def test_boxes_are_shares_with_the_tasks_numbers() -> None:
    tasks = DetectionTasks(source(OWNERS), "train", ways=1, shots=1, queries=3)
    task = tasks.sample(10, rng=torch.Generator().manual_seed(1))
    assert isinstance(task.query.targets, Boxes)
    for t in range(10):
        wanted = int(task.class_ids[t, 1]) - 1
        for n, image in enumerate(numbers(task.query.images)[t]):
            labels = task.query.targets.labels[t, n]
            assert (labels == 1).sum() == OWNERS[image].count(wanted)
            assert set(labels.tolist()) <= {1, IGNORE}
            for box in task.query.targets.boxes[t, n][labels == 1]:
                expected = [wanted / WIDTH, 1 / HEIGHT, (wanted + 8) / WIDTH, 9 / HEIGHT]
                torch.testing.assert_close(box, torch.tensor(expected))


def test_the_same_rng_gives_the_same_tasks() -> None:
    tasks = DetectionTasks(source(OWNERS), "test", ways=2, shots=1, queries=2)
    one, two = (tasks.sample(3, rng=torch.Generator().manual_seed(5)) for _ in range(2))
    torch.testing.assert_close(one, two)
    assert tasks.fingerprint() == DetectionTasks(source(OWNERS), "test", ways=2, shots=1, queries=2).fingerprint()
    assert tasks.fingerprint() != DetectionTasks(source(OWNERS[:-1]), "test", ways=2, queries=2).fingerprint()


def test_too_few_images_are_refused() -> None:
    with pytest.raises(DataError, match="need 6 images, but split 'test' of 'coco:x' has 3 of its rarest class"):
        DetectionTasks(source(OWNERS), "test", ways=2, shots=3, queries=3)
    with pytest.raises(DataError, match=r"Split 'val'.*has no classes"):
        DetectionTasks(source(OWNERS), "val", ways=1)
