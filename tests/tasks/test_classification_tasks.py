"""Episodes: disjoint, repeatable, shuffled, within bounds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from toys import make_classes

from genmeta.core.randomness import seeded
from genmeta.core.types import Examples, Task
from genmeta.data.classes import ImageClasses
from genmeta.tasks import ClassificationTasks
from genmeta.tasks.augment import jitter_task


def identities(data: ImageClasses) -> dict[bytes, tuple[int, int, int]]:
    """Pixels -> (class, place in the class, quarter turns), for every image and turn of it."""
    out = {}
    for k, (start, stop) in enumerate(zip(data.offsets[:-1], data.offsets[1:], strict=True)):
        for place, image in enumerate(data.images[start:stop]):
            for turn in range(4):
                out[np.rot90(image, turn).tobytes()] = (k, place, turn)
    assert len(out) == 4 * len(data.images)
    return out


def who(data: ImageClasses, examples: Examples) -> list[list[tuple[int, int, int]]]:
    """Which image of the data set each image of each task is."""
    known = identities(data)
    pixels = (examples.images * 255).round().to(torch.uint8).permute(0, 1, 3, 4, 2).contiguous()
    return [[known[image.numpy().tobytes()] for image in task] for task in pixels]


def class_of(data: ImageClasses, tasks: ClassificationTasks, task: Task, t: int, number: int) -> tuple[int, int]:
    """Class and quarter turn that a class number of a task stands for."""
    identity = int(task.class_ids[t, number])
    return int(tasks.classes[identity % len(tasks.classes)]), identity // len(tasks.classes)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("turns", [False, True])
@pytest.mark.parametrize("n_images", [5, [5, 9, 6, 40, 5, 7, 5, 5, 5, 5, 5, 5]])
def test_episodes_hold_what_they_say(n_images: int | list[int], turns: bool, channels: int) -> None:
    data = make_classes(12, n_images, channels=channels)
    tasks = ClassificationTasks(data, "train", ways=4, shots=2, queries=3, quarter_turns=turns)
    task = tasks.sample(10, rng=seeded(0))
    assert (task.n_tasks, task.ways) == (10, 4)
    assert task.support.images.shape == (10, 8, channels, 12, 12)
    assert task.query.images.shape == (10, 12, channels, 12, 12)
    assert task.support.images.dtype == torch.float32
    support, query = who(data, task.support), who(data, task.query)
    for t in range(10):
        assert len(set(support[t]) | set(query[t])) == 20, "an image is there twice"
        assert len(set(task.class_ids[t].tolist())) == 4
        for images, targets in ((support[t], task.support.targets[t]), (query[t], task.query.targets[t])):
            assert targets.bincount().tolist() == [len(images) // 4] * 4
            for (k, _, turn), number in zip(images, targets.tolist(), strict=True):
                assert (k, turn) == class_of(data, tasks, task, t, number)
                assert k in data.splits["train"]


def flattened(task: Task) -> list[Tensor]:
    return [*task.support, *task.query, task.class_ids]


@pytest.mark.parametrize("augment", ["none", "affine", "elastic", "style"])
def test_the_same_rng_deals_the_same_tasks(augment: str) -> None:
    tasks = ClassificationTasks(make_classes(), ways=3, shots="1-3", queries=2, augment=augment)
    first, second = (tasks.sample(4, rng=seeded(7)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(flattened(first), flattened(second), strict=True))
    rng = seeded(7)
    one, other = tasks.sample(4, rng=rng), tasks.sample(4, rng=rng)
    assert one.class_ids.tolist() == first.class_ids.tolist()
    assert one.class_ids.tolist() != other.class_ids.tolist()


def test_a_class_is_not_tied_to_a_number() -> None:
    tasks = ClassificationTasks(make_classes(), ways=6, queries=1)
    numbers = tasks.sample(600, rng=seeded(0)).class_ids.argsort(1)  # [T class] -> its number
    for k in range(6):
        counts = numbers[:, k].bincount(minlength=6)
        # 100 each in expectation, standard deviation 9
        assert counts.min() > 60
        assert counts.max() < 140


def test_queries_come_in_random_order() -> None:
    task = ClassificationTasks(make_classes(), ways=3, queries=3).sample(50, rng=seeded(0))
    assert len({tuple(row) for row in task.query.targets.tolist()}) > 40
    first = task.query.targets[:, 0].bincount(minlength=3)
    assert first.min() > 5


@pytest.mark.parametrize("n_images", [6, [6, 20, 9, 13, 6, 7, 6, 6, 6, 6, 6, 6]])
def test_every_image_can_be_support_and_query_alike(n_images: int | list[int]) -> None:
    data = make_classes(12, n_images)
    task = ClassificationTasks(data, ways=6, shots=1, queries=2).sample(1500, rng=seeded(0))
    support = [image for row in who(data, task.support) for image in row]
    query = [image for row in who(data, task.query) for image in row]
    for k in range(6):
        count = int(data.counts()[k])
        for seen, expected in ((support, 1500 / count), (query, 3000 / count)):
            places = np.bincount([place for c, place, _ in seen if c == k], minlength=count)
            assert np.abs(places - expected).max() < 5 * expected**0.5


def test_few_of_many_classes_are_drawn_alike() -> None:
    data = make_classes(300, 2, size=8)
    tasks = ClassificationTasks(data, ways=5, shots=1, queries=1)
    picks = tasks.sample(3000, rng=seeded(0)).class_ids
    assert (picks.sort(1).values.diff(dim=1) > 0).all()
    counts = picks.flatten().bincount(minlength=150)
    assert (counts - 100).abs().max() < 50


def test_quarter_turns_are_classes_of_their_own() -> None:
    data = make_classes()
    tasks = ClassificationTasks(data, "train", ways=24, queries=1, quarter_turns=True)
    assert tasks.n_classes == 24
    task = tasks.sample(1, rng=seeded(0))
    assert sorted((k, turn) for k, _, turn in who(data, task.support)[0]) == [
        (k, q) for k in range(6) for q in range(4)
    ]
    assert ClassificationTasks(data).n_classes == 6


def test_a_data_set_may_turn_some_splits() -> None:
    data = make_classes(quarter_turns=frozenset({"train"}))
    assert ClassificationTasks(data, "train").n_classes == 24
    assert ClassificationTasks(data, "test", ways=3).n_classes == 3


def test_ranges_are_drawn_within_bounds_once_per_batch() -> None:
    tasks = ClassificationTasks(make_classes(), ways="2-4", shots="1-3", queries=1)
    drawn = [tasks.sample(2, rng=seeded(i)) for i in range(60)]
    assert {task.ways for task in drawn} == {2, 3, 4}
    assert {task.support.images.shape[1] // task.ways for task in drawn} == {1, 2, 3}
    assert all(task.class_ids.shape == (2, task.ways) for task in drawn)


def test_splits_do_not_mix() -> None:
    data = make_classes()
    for split in ("train", "val", "test"):
        tasks = ClassificationTasks(data, split, ways=3, queries=1)
        seen = {k for row in who(data, tasks.sample(30, rng=seeded(0)).support) for k, _, _ in row}
        assert seen == set(data.splits[split].tolist())


@pytest.mark.parametrize("kind", ["affine", "elastic", "style"])
def test_jitter_changes_images_and_nothing_else(kind: str) -> None:
    data = make_classes()
    plain, moved = (ClassificationTasks(data, ways=3, augment=a).sample(3, rng=seeded(0)) for a in ("none", kind))
    assert plain.class_ids.equal(moved.class_ids)
    for before, after in ((plain.support, moved.support), (plain.query, moved.query)):
        assert torch.equal(before.targets, after.targets)
        assert (before.images - after.images).abs().flatten(2).mean(2).min() > 1e-3
        assert after.images.min() >= 0
        assert after.images.max() <= 1


def test_a_style_is_one_for_all_images_of_a_task() -> None:
    white = torch.ones(40, 3, 3, 12, 12)
    red = torch.zeros(40, 2, 3, 12, 12)
    red[:, :, 0] = 1
    shown, asked = jitter_task(white, red, "style", seeded(0))
    assert shown.flatten(3).std(3).max() < 1e-6  # nothing but the colour has changed
    assert (shown - shown[:, :1]).abs().max() < 1e-6
    assert (asked - asked[:, :1]).abs().max() < 1e-6
    grey = (shown[:, 0].amax(1) - shown[:, 0].amin(1)).flatten(1).amax(1)
    assert grey.max() < 1e-5  # white has no colour to turn
    values = shown[:, 0, 0, 0, 0]
    assert (values < 0.5).float().mean().item() == pytest.approx(0.25, abs=0.15)  # negatives
    assert asked[:, 0, :, 0, 0].unique(dim=0).shape[0] > 30


def test_classes_with_too_few_images_can_be_left_out() -> None:
    data = make_classes(12, [3, 9, 9, 2, 9, 9] + [9] * 6)
    tasks = ClassificationTasks(data, ways=3, queries=5, min_images=6)
    assert tasks.classes.tolist() == [1, 2, 4, 5]
