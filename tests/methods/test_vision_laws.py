"""The promises of methods hold for every visual task: every cell of the matrix method × visual task is run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
import torch
from torch import Tensor
from toys import (
    make_classes,
    make_detection_task,
    make_method,
    make_segmentation_task,
    make_task,
    perturb,
    tiny_options,
)

from genmeta.core.errors import UsageError
from genmeta.core.randomness import seeded
from genmeta.core.types import Boxes, Examples, Task
from genmeta.data.scene_source import Scenes, SceneSource
from genmeta.learners import LearnerConfig, build_learner
from genmeta.methods import METHODS, MetaLearner, build_method, make_options
from genmeta.methods.objectives import Setting
from genmeta.tasks import DENSE_TASKS, ClassificationTasks, TaskDistribution
from genmeta.vision import VISUAL_TASKS

CLOSE = {"rtol": 1e-8, "atol": 1e-8}
DENSE = [name for name in VISUAL_TASKS if VISUAL_TASKS[name].reads == "map"]
cells = pytest.mark.parametrize("vision,name", [(v, n) for v in VISUAL_TASKS for n in METHODS if METHODS[n].serves(v)])
dense_cells = pytest.mark.parametrize("vision,name", [(v, n) for v in DENSE for n in METHODS if METHODS[n].serves(v)])

#: visual task -> toy tasks in float64
TASKS: dict[str, Callable[..., Task]] = {
    "classification": make_task,
    "segmentation": make_segmentation_task,
    "detection": make_detection_task,
}


class ToyScenes(SceneSource):
    """Squares of one shade for each class."""

    name, image_shape, class_names = "toy scenes", (1, 12, 12), tuple("abcdef")
    splits = MappingProxyType({"train": np.arange(4), "val": np.arange(4, 5), "test": np.arange(5, 6)})
    annotates, fingerprint = frozenset(("masks", "boxes")), "toy"

    def fewest_images(self, split: str) -> int:
        return 1000

    def draw(self, split: str, classes: np.ndarray, shots: int, queries: int, random: np.random.Generator) -> Scenes:
        n_tasks, ways = classes.shape
        masks = np.zeros((n_tasks, shots + queries, 12, 12), np.int16)
        boxes = np.zeros((n_tasks, shots + queries, ways, 4), np.float32)
        labels = np.broadcast_to(np.arange(ways), boxes.shape[:3]).copy()
        images = random.integers(0, 60, (*masks.shape, 1))
        for t in range(n_tasks):
            for n in range(shots + queries):
                for k in range(ways):
                    y, x = random.integers(0, 8, 2)
                    masks[t, n, y : y + 4, x : x + 4] = k + 1
                    boxes[t, n, k] = x, y, x + 4, y + 4
                    images[t, n, y : y + 4, x : x + 4] = 100 + 20 * classes[t, k] + random.integers(0, 10, (4, 4, 1))
        return Scenes(images.astype(np.uint8), masks, boxes, labels)


def distribution(vision: str) -> TaskDistribution:
    if vision == "classification":
        return ClassificationTasks(make_classes(), ways=3, shots=1, queries=2)
    return DENSE_TASKS[vision](ToyScenes(), ways=2, shots=1, queries=2)


def used(vision: str, name: str) -> MetaLearner:
    return perturb(make_method(name, vision=VISUAL_TASKS[vision]()).double(), 0.1).eval()


def answer(it: MetaLearner, task: Task) -> Tensor:
    with torch.no_grad():
        outputs, *_ = it.answers(task, it.inner_steps, seeded(3))
    return it.pooled(outputs[it.inner_steps], task.n_tasks)


@cells
def test_a_few_meta_steps_of_every_cell(vision: str, name: str, tmp_path: Path) -> None:
    it, method = make_method(name, vision=VISUAL_TASKS[vision]()).train(), METHODS[name]
    tasks = distribution(vision)
    task = tasks.sample(2, rng=seeded(0))
    if method.objective is not None:
        with torch.random.fork_rng(devices=[]):
            setting = Setting((tasks,), 0, tmp_path)
            objective = method.objective(it, make_options(method, tiny_options(name)), setting)
        trainable = [p for module in (it, objective) for p in module.parameters() if p.requires_grad]
        optimizer = torch.optim.Adam(trainable, lr=0.001)
        for step in range(2):
            optimizer.zero_grad()
            objective.begin(step, 2)
            for part in objective.losses(it, task, seeded(5, step)):
                assert part.value.isfinite()
                part.value.backward()
            assert all(p.grad.isfinite().all() for p in trainable if p.grad is not None)
            assert any(p.grad.abs().max() > 0 for p in trainable if p.grad is not None)
            optimizer.step()
    with torch.no_grad():
        outcome = it.eval()(task, seeded(1))
    scores = it.vision.scores(outcome.outputs, task.query.targets)
    assert outcome.outputs.isfinite().all()
    assert scores.main.shape == (2,)
    assert ((scores.main >= 0) & (scores.main <= 1)).all()


@dense_cells
def test_a_query_image_alone_is_answered_as_among_others(vision: str, name: str) -> None:
    it, task = used(vision, name), TASKS[vision](n_tasks=2)
    alone = task._replace(query=task.query.only(1, 2))
    torch.testing.assert_close(answer(it, alone)[:, 0], answer(it, task)[:, 1], **CLOSE)


@dense_cells
def test_the_order_of_support_images_does_not_matter(vision: str, name: str) -> None:
    it, task = used(vision, name), TASKS[vision](n_tasks=2)
    turned = task.support.only(1).joined(task.support.only(0, 1))
    torch.testing.assert_close(answer(it, task._replace(support=turned)), answer(it, task), **CLOSE)


@dense_cells
def test_relabelling_the_classes_relabels_the_answers(vision: str, name: str) -> None:
    it, task = used(vision, name), TASKS[vision](n_tasks=2)
    with torch.no_grad():
        starts = [it.start(task.support, task.ways, seeded(seed)).weights for seed in (1, 2)]
    if any(not torch.equal(starts[0][part], starts[1][part]) for part in starts[0]):
        pytest.skip("the noise of a row depends on its place")
    targets = task.support.targets
    if isinstance(targets, Boxes):
        to = torch.tensor([0, 2, 1])  # no box is of the background
        renamed: Boxes | Tensor = Boxes(targets.boxes, torch.where(targets.labels >= 0, to[targets.labels], -1))
    else:
        to = torch.tensor([2, 0, 1])
        renamed = to[targets]
    outputs = answer(it, task._replace(support=Examples(task.support.images, renamed)))
    torch.testing.assert_close(outputs[..., to], answer(it, task)[..., :3], **CLOSE)


@dense_cells
def test_one_meta_learner_answers_any_number_of_classes_and_images_of_any_size(vision: str, name: str) -> None:
    it = used(vision, name)
    for ways, size in ((2, 12), (6, 17)):
        task = TASKS[vision](n_tasks=1, ways=ways, shots=1, queries=1, size=size)
        outputs = answer(it, task)
        assert outputs.isfinite().all()
        assert it.vision.scores(outputs, task.query.targets).main.shape == (1,)


def test_a_learner_must_give_what_the_visual_task_reads() -> None:
    conv4 = build_learner(LearnerConfig("conv4"), seeded(0))
    message = r"segmentation reads a map of vectors, but the learner 'conv4' gives one vector .* Use one of: .*unet"
    with pytest.raises(UsageError, match=message):
        build_method("hypernet", conv4, vision=VISUAL_TASKS["segmentation"]())
    unet = build_learner(LearnerConfig("unet", extra=2), seeded(0))
    with pytest.raises(UsageError, match=r"classification reads one vector for each image, .* Use one of: conv4, "):
        build_method("hypernet", unet)
    with pytest.raises(UsageError, match=r"segmentation needs a learner with extra=0 channels, .* built with extra=2"):
        build_method("hypernet", unet, vision=VISUAL_TASKS["segmentation"]())


@pytest.mark.parametrize("name", list(VISUAL_TASKS))
def test_visual_tasks_say_what_they_are(name: str) -> None:
    vision = VISUAL_TASKS[name]()
    assert vision.name == name
    assert vision.reads in ("vector", "map")
    assert vision.score.isidentifier()
    task = TASKS[name](n_tasks=2)
    assert build_learner(LearnerConfig(vision.learner, extra=vision.extra_channels), seeded(0)).gives == vision.reads
    shape = (2, 2, 6, 6, 5 + vision.extra_channels) if vision.reads == "map" else (2, 6, 5)
    tokens = vision.tokens(torch.randn(shape, generator=seeded(0)), task.support.targets, task.ways)
    assert tokens.membership is not None
    assert tokens.values.shape[:2] == tokens.membership.shape[:2] == tokens.present.shape[:2]
    assert tokens.membership.shape[-1] == task.ways


def test_a_method_says_which_visual_tasks_it_is_for() -> None:
    unet = build_learner(LearnerConfig("unet"), seeded(0))
    message = r"film-transfer is for classification, not for segmentation\. Use one of: .*hypernet"
    with pytest.raises(UsageError, match=message):
        build_method("film-transfer", unet, vision=VISUAL_TASKS["segmentation"]())


@pytest.mark.parametrize("vision", DENSE)
def test_a_head_of_one_pixel_does_not_cut_the_batch(vision: str) -> None:
    film, everything = (
        make_method("hypernet", vision=VISUAL_TASKS[vision](), options={"generate": space}) for space in ("film", "all")
    )
    assert (film.tasks_per_chunk, everything.tasks_per_chunk) == (0, 1)
    it, task = perturb(film.double(), 0.1), TASKS[vision](n_tasks=3)
    assert len(it.chunks(task)) == 1
    together = answer(it, task)
    it.chunk_size = 1
    one_by_one = torch.cat([answer(it, chunk) for chunk in it.chunks(task)])
    torch.testing.assert_close(together, one_by_one, **CLOSE)
