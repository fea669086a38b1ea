"""Tasks drawn from images that lie on a device are the tasks drawn from images that do not."""

from __future__ import annotations

import pytest
import torch
from toys import make_classes

from genmeta.core.randomness import seeded
from genmeta.core.transfer import sent
from genmeta.tasks import ClassificationTasks, on_device


def tasks(augment: str = "none", turns: bool = True) -> ClassificationTasks:
    data = make_classes(n_images=[7, 9, 8, 7, 7, 8, 7, 7, 7, 7, 7, 7], channels=3)
    return ClassificationTasks(data, "train", ways="3-5", shots="1-2", queries=2, augment=augment, quarter_turns=turns)


@pytest.mark.parametrize("augment,turns", [("none", True), ("none", False), ("elastic", True)])
def test_the_same_tasks(augment: str, turns: bool) -> None:
    source = tasks(augment, turns)
    moved = source.on(torch.device("meta"))
    moved._look_up = on_device.ImagesOnDevice(source.data, torch.device("cpu"))
    for step in range(3):
        want, got = (each.sample(4, rng=seeded(step)) for each in (source, moved))
        leaves = [[*task.support, *task.query, task.class_ids] for task in (want, got)]
        for w, g in zip(*leaves, strict=True):
            assert torch.equal(w, g)


def test_nothing_is_read_back_and_nothing_stays_behind() -> None:
    # the meta device has no numbers: to ask for one, or to mix in a tensor of the CPU, is an error there
    task = tasks("affine").on(torch.device("meta")).sample(4, rng=seeded(0))
    assert task.support.images.is_meta
    assert task.query.images.is_meta
    assert task.support.labels.is_meta
    assert task.query.images.shape == (4, task.ways * 2, 3, 12, 12)


def test_where_it_is_not_worth_it_nothing_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    source = tasks()
    assert source.on(torch.device("cpu")) is source
    embedded = source.embedded(lambda images: images.flatten(1))
    assert embedded.on(torch.device("meta")) is embedded
    monkeypatch.setattr("genmeta.tasks.classification.MOST_BYTES", source.data.images.nbytes - 1)
    assert source.on(torch.device("meta")) is source


def test_sent() -> None:
    there = torch.arange(3)
    assert sent(there, torch.device("cpu")) is there
    assert sent(there, torch.device("meta")).is_meta
