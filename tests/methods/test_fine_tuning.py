"""Fine-tuning from a generated start: the start stays, the steps are Adam's, on what was asked for alone."""

from __future__ import annotations

import pytest
import torch
from toys import make_detection_task, make_method, make_segmentation_task, make_task, perturb

from genmeta.core.errors import UsageError
from genmeta.core.randomness import seeded
from genmeta.core.types import ROWS, Task
from genmeta.methods import METHODS, MetaLearner
from genmeta.methods.fine_tuning import with_fine_tuning
from genmeta.vision import VISUAL_TASKS

TASKS = {"classification": make_task, "segmentation": make_segmentation_task, "detection": make_detection_task}
OWN_STEPS = ("leo", "abml", "film-transfer")
cells = pytest.mark.parametrize(
    "vision,name", [(v, n) for v in TASKS for n in METHODS if METHODS[n].serves(v) and n not in OWN_STEPS]
)


def used(vision: str, name: str) -> MetaLearner:
    return perturb(make_method(name, vision=VISUAL_TASKS[vision]()).double(), 0.1).eval()


def answers(it: MetaLearner, task: Task, *at: int) -> tuple[list[torch.Tensor], list[dict[str, torch.Tensor]]]:
    with torch.no_grad():
        outputs, _, trajectory = it.answers(task, max(at), seeded(3), at=at)
    return [it.pooled(outputs[step], task.n_tasks) for step in at], trajectory


@cells
def test_the_start_is_the_generated_one_and_steps_fit_the_support_set(vision: str, name: str) -> None:
    it, task = used(vision, name), TASKS[vision](n_tasks=2)
    wider = with_fine_tuning(it, "all", 0.01)
    (before,), _ = answers(it, task, 0)
    on_support = task._replace(query=task.support)
    (start, after), _ = answers(wider, on_support, 0, 8)
    torch.testing.assert_close(answers(wider, task, 0)[0][0], before, rtol=1e-8, atol=1e-8)
    assert it.vision.loss(after, task.support.targets).mean() < it.vision.loss(start, task.support.targets).mean()
    assert it.moved == tuple(n for n, _ in it.spec.shared)  # the original is what it was


@pytest.mark.parametrize("space", ["rows", "film", "all"])
def test_what_lies_outside_the_space_stays_as_it_was_written(space: str) -> None:
    it, task = used("detection", "hypernet"), make_detection_task(n_tasks=2)
    _, trajectory = answers(with_fine_tuning(it, space, 0.01), task, 2)
    changed = {name for name in trajectory[0] if not torch.equal(trajectory[0][name], trajectory[-1][name])}
    shapes = it.learner.written_shapes(space)
    assert changed == {ROWS, *(name for name, _ in shapes)}


def test_the_first_step_of_adam_is_as_long_as_the_rate() -> None:
    it, task = used("classification", "protonet"), make_task(n_tasks=2)
    _, (before, after) = answers(with_fine_tuning(it, "all", 0.003), task, 1)
    for name in it.learner.own_weights():
        step = (after[name] - before[name]).abs().detach()
        assert step.max() == pytest.approx(0.003, rel=1e-3)


def test_a_task_is_fine_tuned_as_if_it_were_alone() -> None:
    it, task = used("segmentation", "hypernet"), make_segmentation_task(n_tasks=2)
    wider = with_fine_tuning(it, "all", 0.01)
    (together,), _ = answers(wider, task, 3)
    (alone,), _ = answers(wider, task.slice(1, 2), 3)
    torch.testing.assert_close(alone[0], together[1], rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", OWN_STEPS)
def test_methods_with_steps_of_another_kind_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="takes steps of its own"):
        with_fine_tuning(make_method(name))


def test_bad_settings_are_refused() -> None:
    it = make_method("hypernet")
    with pytest.raises(UsageError, match=r"must be above 0, got 0\.0"):
        with_fine_tuning(it, "all", 0.0)
    with pytest.raises(UsageError, match=r"Unknown space to generate 'everything'"):
        with_fine_tuning(it, "everything")
