"""What every method promises its users, for whatever stands in its slots."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import Tensor
from toys import make_classes, make_learner, make_method, make_task, perturb, tiny_options

from genmeta.core.randomness import TaskStreams, seeded
from genmeta.core.types import ROWS, Examples, Task
from genmeta.methods import METHODS, MetaLearner, build_method, list_methods, make_options
from genmeta.methods.objectives import Loss, Objective, Setting
from genmeta.tasks import ClassificationTasks

every_method = pytest.mark.parametrize("name", METHODS.names())
trained_methods = pytest.mark.parametrize("name", [m.name for m in list_methods() if m.objective is not None])
both_norms = pytest.mark.parametrize("norm", ["group", "batch"])
CLOSE = {"rtol": 1e-9, "atol": 1e-9}
#: Trainable, but without effect on a classifier: what is added to the rows of all classes alike cancels in the softmax.
WITHOUT_EFFECT = {
    "ridge": {"row_base.bias"},
    **{name: {"row_base.row"} for name in ("maml", "anil", "reptile", "meta-sgd")},
}


def used(name: str, norm: str = "group", **options: object) -> MetaLearner:
    """A method in float64 and evaluation mode, as after some training."""
    return perturb(make_method(name, make_learner(norm=norm), options=options).double(), 0.1).eval()


def answer(it: MetaLearner, task: Task, steps: int | None = None) -> Tensor:
    steps = it.inner_steps if steps is None else steps
    with torch.no_grad():
        outputs, *_ = it.answers(task, steps, seeded(3))
    return it.pooled(outputs[steps], task.n_tasks)


def is_random(it: MetaLearner, task: Task) -> bool:
    with torch.no_grad():
        starts = [it.start(task.support, task.ways, seeded(seed)).weights for seed in (1, 2)]
    return any(not torch.equal(starts[0][name], starts[1][name]) for name in starts[0])


@every_method
@both_norms
def test_a_query_image_alone_is_predicted_as_among_others(name: str, norm: str) -> None:
    task = make_task()
    for dtype, exact in ((torch.float64, CLOSE), (torch.float32, {"rtol": 1e-5, "atol": 1e-5})):
        it, given = used(name, norm).to(dtype), task.to(dtype)
        together = answer(it, given)
        for i in (0, 4):
            alone = given._replace(query=Examples(given.query.images[:, i : i + 1], given.query.targets[:, i : i + 1]))
            torch.testing.assert_close(answer(it, alone)[:, 0], together[:, i], **exact)


@every_method
@both_norms
def test_tasks_do_not_mix(name: str, norm: str) -> None:
    it, task = used(name, norm), make_task()
    if is_random(it, task):
        # the noise of a task depends on its place in the batch: the last task may change, the others stay
        other = make_task(seed=1)
        images = torch.cat([task.support.images[:2], other.support.images[2:]])
        changed = task._replace(support=task.support._replace(images=images))
        torch.testing.assert_close(answer(it, task)[:2], answer(it, changed)[:2], **CLOSE)
        return
    together = answer(it, task)
    for t in range(3):
        torch.testing.assert_close(answer(it, task.slice(t, t + 1))[0], together[t], **CLOSE)


@every_method
@both_norms
def test_relabelling_the_classes_relabels_the_answers(name: str, norm: str) -> None:
    it, task = used(name, norm), make_task()
    if is_random(it, task):
        pytest.skip("the noise of a row depends on its place")
    to = torch.tensor([2, 0, 1])  # class k gets number to[k]
    renamed = task._replace(support=task.support._replace(targets=to[task.support.targets]))
    torch.testing.assert_close(answer(it, renamed)[..., to], answer(it, task), **CLOSE)


@every_method
def test_the_order_of_support_images_does_not_matter(name: str) -> None:
    it, task = used(name), make_task()
    order = torch.tensor([5, 2, 0, 4, 1, 3])
    mixed = Examples(task.support.images[:, order], task.support.targets[:, order])
    torch.testing.assert_close(answer(it, task._replace(support=mixed)), answer(it, task), **CLOSE)


@every_method
@pytest.mark.parametrize("ways", [1, 2, 10, 20])
def test_one_meta_learner_answers_any_number_of_classes(name: str, ways: int) -> None:
    outputs = answer(used(name), make_task(n_tasks=2, ways=ways, shots=1, queries=1))
    assert outputs.shape == (2, ways, ways)
    assert outputs.isfinite().all()


@every_method
@both_norms
def test_training_and_use_take_the_same_steps(name: str, norm: str) -> None:
    it, task = used(name, norm), make_task()
    outputs, *_ = it.answers(task, it.inner_steps, seeded(3), differentiable=True)
    torch.testing.assert_close(it.pooled(outputs[it.inner_steps], task.n_tasks), answer(it, task), **CLOSE)
    outcome = it(task, seeded(3))
    torch.testing.assert_close(outcome.outputs, answer(it, task), **CLOSE)
    want = torch.nn.functional.cross_entropy(outcome.outputs.flatten(0, 1), task.query.targets.flatten())
    torch.testing.assert_close(outcome.loss.mean(), want, **CLOSE)


@every_method
@both_norms
def test_adapting_first_and_responding_later_is_answering(name: str, norm: str) -> None:
    it, task = used(name, norm), make_task()
    with torch.no_grad():
        adapted = it.adapt(task.support, task.ways, seeded(3))
        parts = [it.respond(task.query.images[:, at : at + 3], adapted) for at in (0, 3)]
    torch.testing.assert_close(it.pooled(torch.cat(parts, 1), task.n_tasks), answer(it, task), **CLOSE)


@every_method
def test_classes_may_have_different_numbers_of_images(name: str) -> None:
    it, task = used(name), make_task()
    few = Examples(task.support.images[:, :4], task.support.targets[:, :4])
    assert few.targets[0].bincount().unique().numel() > 1
    assert answer(it, task._replace(support=few)).isfinite().all()


@every_method
def test_answers_on_the_way_are_those_of_fewer_steps(name: str) -> None:
    it, task = used(name), make_task()
    with torch.no_grad():
        outputs, *_ = it.answers(task, 3, seeded(3), at=(0, 1, 3))
    for steps, at_once in outputs.items():
        torch.testing.assert_close(it.pooled(at_once, task.n_tasks), answer(it, task, steps), **CLOSE)


@every_method
def test_the_same_rng_builds_the_same_and_another_one_does_not_leak(name: str) -> None:
    options = tiny_options(name)
    first, second = (build_method(name, make_learner(), rng=seeded(4), options=options) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    rng = seeded(4)
    build_method(name, make_learner(), rng=rng, options=options)
    assert not torch.equal(rng.get_state(), seeded(4).get_state())


@pytest.fixture
def exact_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks come in float64, also those that an objective samples for itself."""
    sample = ClassificationTasks.sample
    monkeypatch.setattr(
        ClassificationTasks, "sample", lambda self, n, *, rng: sample(self, n, rng=rng).to(torch.float64)
    )


# -- training -------------------------------------------------------------------------------------------------------


def objective_of(it: MetaLearner, name: str, directory: Path) -> tuple[Objective, ClassificationTasks]:
    tasks = ClassificationTasks(make_classes(), ways=3, shots=1, queries=2)
    method = METHODS[name]
    assert method.objective is not None
    with torch.random.fork_rng(devices=[]):
        objective = method.objective(it, make_options(method, tiny_options(name)), Setting((tasks,), 0, directory))
    return objective.double(), tasks


def parts(objective: Objective, it: MetaLearner, task: Task) -> list[Loss]:
    """One meta-step's losses, each back-propagated before the next."""
    out = []
    for part in objective.losses(it, task, seeded(5)):
        part.value.backward()
        out.append(part)
    return out


@pytest.mark.usefixtures("exact_tasks")
@trained_methods
def test_every_trainable_parameter_gets_a_finite_gradient(name: str, tmp_path: Path) -> None:
    it = make_method(name).double().train()
    objective, tasks = objective_of(it, name, tmp_path)
    named = [(n, p) for module in (it, objective) for n, p in module.named_parameters() if p.requires_grad]
    optimizer = torch.optim.Adam([p for _, p in named], lr=0.002)
    reached: dict[str, float] = {}
    for step in range(4):
        optimizer.zero_grad()
        objective.begin(step, 4)
        parts(objective, it, tasks.sample(2, rng=seeded(step)).to(torch.float64))
        for parameter_name, parameter in named:
            if parameter.grad is not None:
                assert parameter.grad.isfinite().all(), parameter_name
                size = parameter.grad.abs().max().item()
                reached[parameter_name] = max(reached.get(parameter_name, 0.0), size)
        optimizer.step()
    missed = {n for n, _ in named if reached.get(n, 0.0) < 1e-12}
    assert missed == WITHOUT_EFFECT.get(name, set())


@pytest.mark.usefixtures("exact_tasks")
@trained_methods
def test_meta_steps_lower_the_loss(name: str, tmp_path: Path) -> None:
    it = make_method(name, options={"inner_lr": 0.2}).double().train()
    objective, tasks = objective_of(it, name, tmp_path)
    task = tasks.sample(2, rng=seeded(0)).to(torch.float64)
    trainable = [p for module in (it, objective) for p in module.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trainable, lr=0.005)
    losses = []
    for step in range(40):
        optimizer.zero_grad()
        objective.begin(step, 40)
        losses.append(sum(part.logs["loss"] * part.share for part in parts(objective, it, task) if "loss" in part.logs))
        optimizer.step()
    assert losses[-1] < 0.9 * losses[0], losses


def gradients(name: str, directory: Path, cuts: list[tuple[int, int]], chunk: int) -> dict[str, Tensor]:
    """Of one meta-step over four tasks, as processes with these parts of the batch add them up."""
    it = make_method(name, perturbed=0.05).double().train()
    objective, tasks = objective_of(it, name, directory)
    task = tasks.sample(4, rng=seeded(1)).to(torch.float64)
    total: dict[str, Tensor] = {}
    for start, stop in cuts:
        mine = task.slice(start, stop)
        it.chunks = lambda t: [t.slice(a, min(a + chunk, t.n_tasks)) for a in range(0, t.n_tasks, chunk)]  # type: ignore[method-assign]
        it.zero_grad()
        objective.begin(0, 4)
        for part in objective.losses(it, mine, TaskStreams(5, "noise")):
            if part.player == "learner":
                part.value.backward()
        for parameter_name, parameter in it.named_parameters():
            if parameter.grad is not None:
                share = (stop - start) / 4 * parameter.grad
                total[parameter_name] = total.get(parameter_name, torch.zeros(())) + share
    return total


@pytest.mark.usefixtures("exact_tasks")
@trained_methods
def test_a_meta_step_is_the_same_however_its_tasks_are_dealt_out(name: str, tmp_path: Path) -> None:
    whole = gradients(name, tmp_path, [(0, 4)], chunk=4)
    for cuts, chunk in (([(0, 4)], 1), ([(0, 1), (1, 4)], 2)):
        dealt = gradients(name, tmp_path, cuts, chunk)
        assert dealt.keys() == whole.keys()
        for parameter_name, value in whole.items():
            torch.testing.assert_close(dealt[parameter_name], value, rtol=1e-7, atol=1e-9, msg=parameter_name)


# -- the recipes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["maml", "meta-sgd", "reptile"])
def test_from_one_row_for_all_classes_the_first_step_moves_rows_only(name: str) -> None:
    it, task = make_method(name).double(), make_task()
    start = it.start(task.support, task.ways, seeded(0))
    assert set(start.weights) == {ROWS, *it.learner.own_weights()}

    def loss(weights: dict[str, Tensor]) -> Tensor:
        features, _ = it.learner.features(task.support.images, weights)
        return it.vision.loss(it.vision.outputs(features, weights[ROWS]), task.support.targets)

    zero, one, two = it.adapter.adapt(start, loss, 2, differentiable=False)
    for tensor_name, value in zero.items():
        moved = (one[tensor_name] - value).abs().max()
        assert moved > 1e-3 if tensor_name == ROWS else moved < 1e-12, tensor_name
        assert (two[tensor_name] - one[tensor_name]).abs().max() > 1e-6, tensor_name


@every_method
def test_recipes_say_what_they_are(name: str) -> None:
    method = METHODS[name]
    assert method.name == name
    assert dataclasses.is_dataclass(method.options)
    for text in (method.summary, method.generates, method.adapts, method.paper, method.expected):
        assert text.strip()
    assert method.url == "" or method.url.startswith("https://")
    for choice in method.tune:
        make_options(method, choice)
