"""Meta-gradients equal those of a plain loop over tasks, to first and second order, in float64."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
import torch
import torch.nn.functional as F
from plain import PlainTask, TwoBlocks, knows
from toys import make_method, make_task, perturb

from genmeta.core.randomness import seeded
from genmeta.core.types import ROWS, Task
from genmeta.learners import SPACES
from genmeta.methods import METHODS, MetaLearner, meta_learner
from genmeta.methods.objectives import Displacement, Objective, QueryLoss, Supervised

EXACT = {"rtol": 1e-10, "atol": 1e-10}
#: Methods and what they write; where that is no setting, the space is what it is.
CASES = [(m, s) for m in METHODS.names() for s in (SPACES if hasattr(METHODS[m].options(), "generate") else ("",))]
#: Reptile's recipe refuses other spaces; the gradient of its own objective is tested below.
CASES = [(m, s) for m, s in CASES if m != "reptile" or s == "all"]
#: Families with a start or steps of their own; their own tests hold those against references.
BEYOND = {"abml", "anpml", "bmaml", "film-transfer", "leo"}
CASES = [(m, s) for m, s in CASES if m not in BEYOND]
#: Methods whose inner gradients may be treated as constants, and are not unless asked.
ORDERED = [(m, s) for m, s in CASES if getattr(METHODS[m].options(), "first_order", True) is False]


def exact_method(name: str, space: str, norm: str, **options: object) -> MetaLearner:
    """A method in float64 whose zero-initialised layers have been moved off zero."""
    made = make_method(name, TwoBlocks(norm), options={"generate": space, **options})
    made.samples = 1
    return perturb(made.double(), 0.1)


def fast_gradients(objective: Objective, it: MetaLearner, task: Task, rng: torch.Generator) -> dict[str, torch.Tensor]:
    it.zero_grad()
    for loss in objective.losses(it, task, rng):
        loss.value.backward()
    return {name: p.grad for name, p in it.named_parameters() if p.grad is not None}


def plain_gradients(it: MetaLearner, losses: Iterable[torch.Tensor]) -> dict[str, torch.Tensor]:
    it.zero_grad()
    sum(losses).backward()  # type: ignore[union-attr]
    return {name: p.grad for name, p in it.named_parameters() if p.grad is not None}


def check_same(got: dict[str, torch.Tensor], want: dict[str, torch.Tensor], at_least: int = 3) -> None:
    nonzero = [name for name, gradient in want.items() if gradient.abs().max() > 1e-7]
    assert len(nonzero) >= at_least, "the comparison is empty"
    for name in got.keys() | want.keys():
        # a tensor that nothing reaches may have no gradient or zeros
        zeros = torch.zeros_like(got[name] if name in got else want[name])
        torch.testing.assert_close(
            got.get(name, zeros), want.get(name, zeros), **EXACT, msg=lambda m, n=name: f"{n}: {m}"
        )


def test_the_reference_knows_every_other_method() -> None:
    assert {name for name in METHODS if not knows(make_method(name))} == BEYOND


def is_random(it: MetaLearner, task: Task) -> bool:
    """Whether two draws of the start differ."""
    with torch.no_grad():
        starts = [it.start(task.support, task.ways, seeded(seed), samples=1).weights for seed in (1, 2)]
    return any(not torch.equal(starts[0][name], starts[1][name]) for name in starts[0])


def check_query_loss(
    it: MetaLearner, task: Task, mode: str, monkeypatch: pytest.MonkeyPatch, chunk_of: int | None = None
) -> None:
    if is_random(it, task) or chunk_of:
        # noise is drawn chunk by chunk; chunks of one task draw it in the order of the loop
        monkeypatch.setattr(meta_learner, "IMAGES_PER_CHUNK", (chunk_of or 1) * 20)
    got = fast_gradients(QueryLoss(mode, kl_weight=0.7), it, task, seeded(5))
    steps, rng = it.inner_steps, seeded(5)
    at = {"last": (steps,), "both": tuple(sorted({0, steps})), "all": tuple(range(steps + 1))}[mode]
    loop = (PlainTask(it, task, t).query_loss(at, rng, 0.7) / task.n_tasks for t in range(task.n_tasks))
    check_same(got, plain_gradients(it, loop), at_least=2)


@pytest.mark.parametrize("norm", ["group", "batch"])
@pytest.mark.parametrize("name,space", CASES)
def test_query_loss(name: str, space: str, norm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    it = exact_method(name, space, norm)
    assert it.inner_steps <= 2
    check_query_loss(it, make_task(), "last", monkeypatch)


@pytest.mark.parametrize("mode", ["both", "all"])
@pytest.mark.parametrize("norm", ["group", "batch"])
@pytest.mark.parametrize("name,space", [case for case in CASES if case[1] in ("film", "all")])
def test_query_loss_over_several_steps(
    name: str, space: str, norm: str, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_query_loss(exact_method(name, space, norm), make_task(), mode, monkeypatch)


@pytest.mark.parametrize("norm", ["group", "batch"])
@pytest.mark.parametrize("name,space", ORDERED)
def test_first_order(name: str, space: str, norm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    exact, cheap = (exact_method(name, space, norm, first_order=order) for order in (False, True))
    task = make_task()
    check_query_loss(cheap, task, "last", monkeypatch)
    gradients = [fast_gradients(QueryLoss(), it, task, seeded(5)) for it in (exact, cheap)]
    gap = max((gradients[0][n] - gradients[1][n]).abs().max().item() for n in gradients[1])
    assert gap > 1e-6, "second derivatives make no difference here"


@pytest.mark.parametrize("chunk_of", [1, 2])
def test_chunks_add_up(chunk_of: int, monkeypatch: pytest.MonkeyPatch) -> None:
    it = exact_method("maml", "film", "group")
    check_query_loss(it, make_task(n_tasks=3, ways=5, shots=2, queries=2), "last", monkeypatch, chunk_of)


@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("space", ["film", "all"])
def test_chunks_of_any_size_add_up(space: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    it, task = exact_method("maml", space, "batch"), make_task(n_tasks=3)
    it.chunk_size = size
    assert [chunk.n_tasks for chunk in it.chunks(task)] == ([1, 1, 1] if size == 1 else [2, 1])
    check_query_loss(it, task, "last", monkeypatch)


@pytest.mark.parametrize("norm", ["group", "batch"])
def test_displacement(norm: str) -> None:
    it, task = exact_method("reptile", "all", norm), make_task()
    got = fast_gradients(Displacement(), it, task, seeded(5))
    want: dict[str, torch.Tensor] = {}
    for t in range(task.n_tasks):
        plain = PlainTask(it, task, t)
        weights, alpha, _ = plain.start(seeded(5))
        images, targets = torch.cat([plain.support, plain.query]), torch.cat([plain.targets, plain.truth])
        end = plain.adapt(weights, alpha, images, targets, it.inner_steps)[-1]
        for name, value in weights.items():
            moved = (value - end[name]).detach()
            moved = moved.mean(0) if name == ROWS else moved
            key = "row_base.row" if name == ROWS else f"learner.{name}"
            want[key] = want.get(key, 0) + moved / task.n_tasks
    check_same(got, want)


@pytest.mark.parametrize("norm", ["group", "batch"])
def test_supervised(norm: str) -> None:
    it, task = exact_method("finetune", "rows", norm), make_task()
    with torch.random.fork_rng(devices=[]):
        objective = Supervised(it.learner.feature_size, task.class_ids.numel()).double()
    got = fast_gradients(objective, it, task, seeded(5))

    def loss(t: int) -> torch.Tensor:
        plain = PlainTask(it, task, t)
        features, _ = plain.features(torch.cat([plain.support, plain.query]), {})
        labels = task.class_ids[t][torch.cat([plain.targets, plain.truth])]
        return F.cross_entropy(F.linear(features, *objective.classifier.parameters()), labels) / task.n_tasks

    check_same(got, plain_gradients(it, map(loss, range(task.n_tasks))))
