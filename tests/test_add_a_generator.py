"""The page "Add a generator" is true: its code is run, registered, and held to the laws of every other family."""

from __future__ import annotations

import importlib
import math
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
from toys import built, make_method, make_task, normals

from genmeta.core.randomness import seeded
from genmeta.methods import METHODS
from genmeta.tasks import ClassificationTasks

ROOT = Path(__file__).parents[1]
MODULE = "genmeta.methods.flow"


@pytest.fixture(scope="module")
def flow() -> Iterator[ModuleType]:
    """The module on the page, for as long as these tests last."""
    page = (ROOT / "docs" / "add-a-generator.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(.*?)```", page, re.DOTALL)
    assert code is not None
    assert code[1].count("\n") < 150
    module = ModuleType(MODULE)
    sys.modules[MODULE] = module
    exec(compile(code[1], "add-a-generator.md", "exec"), module.__dict__)
    yield module
    del sys.modules[MODULE]
    METHODS._items.pop("flow")


def generator(flow: ModuleType) -> torch.nn.Module:
    return built(lambda: flow.FlowGenerator(6, 11, layers=4, hidden=16))


@pytest.mark.parametrize(
    "law",
    [
        "the_same_rng_writes_the_same",
        "only_the_own_context_matters",
        "every_parameter_gets_a_finite_gradient",
        "saved_and_loaded_it_writes_the_same",
        "the_dtype_follows",
        "costs_are_not_negative",
        "it_fits_a_conditional_map",
        "values_are_in_the_units_of_the_bank",
    ],
)
def test_the_laws_of_generators(law: str, flow: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tests" / "generators"))
    laws = importlib.import_module("test_generator_laws")
    monkeypatch.setitem(laws.GENERATORS, "flow", lambda: generator(flow))
    monkeypatch.setitem(laws.FITTING_STEPS, "flow", 300)
    more = {"saved_and_loaded_it_writes_the_same": (tmp_path,), "the_dtype_follows": (torch.float32,)}
    getattr(laws, f"test_{law}")("flow", *more.get(law, ()))


@pytest.mark.parametrize(
    "law",
    [
        "a_query_image_alone_is_predicted_as_among_others",
        "tasks_do_not_mix",
        "training_and_use_take_the_same_steps",
        "the_order_of_support_images_does_not_matter",
        "one_meta_learner_answers_any_number_of_classes",
        "answers_on_the_way_are_those_of_fewer_steps",
        "the_same_rng_builds_the_same_and_another_one_does_not_leak",
        "every_trainable_parameter_gets_a_finite_gradient",
        "meta_steps_lower_the_loss",
        "recipes_say_what_they_are",
    ],
)
def test_the_laws_of_methods(law: str, flow: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tests" / "methods"))
    laws = importlib.import_module("test_method_laws")
    law_of, sample = getattr(laws, f"test_{law}"), ClassificationTasks.sample
    monkeypatch.setattr(
        ClassificationTasks, "sample", lambda self, n, *, rng: sample(self, n, rng=rng).to(torch.float64)
    )
    names = law_of.__code__.co_varnames[: law_of.__code__.co_argcount]
    more = {"norm": "group", "ways": 5, "tmp_path": tmp_path}
    law_of("flow", **{name: value for name, value in more.items() if name in names})


def test_drawing_undoes_the_flow(flow: ModuleType) -> None:
    it, context = generator(flow).train(), normals(3, 6)
    u = it.draw(context, seeded(4))
    z = torch.randn((3, 11), generator=seeded(4))
    expected = 0.5 * (z.double().square() + math.log(2 * math.pi)).sum(-1)
    log_det = -sum(layer.terms(x, context)[1].sum(-1) for layer, x in through(it, u, context))
    torch.testing.assert_close(it.fit(u, context, seeded(0)), expected - log_det, rtol=1e-5, atol=1e-5)


def through(it: torch.nn.Module, u: torch.Tensor, context: torch.Tensor) -> list[tuple[torch.nn.Module, torch.Tensor]]:
    """Each layer with what goes into it."""
    pairs = []
    for layer in it.layers:
        pairs.append((layer, u))
        shift, log_scale = layer.terms(u, context)
        u = (u - shift) * (-log_scale).exp()
    return pairs


def test_the_likelihood_integrates_to_one(flow: ModuleType) -> None:
    it = built(lambda: flow.FlowGenerator(1, 2, layers=4, hidden=8))
    axis = torch.linspace(-8, 8, 401, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        density = (-it.fit(grid, torch.full((len(grid), 1), 0.3, dtype=torch.float64), seeded(0))).exp()
    assert (density.sum() * (axis[1] - axis[0]) ** 2).item() == pytest.approx(1, abs=1e-3)


def test_it_fits_two_modes(flow: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tests" / "families_bank"))
    toy = importlib.import_module("test_two_modes")
    it = built(lambda: flow.FlowGenerator(1, 2, layers=6, hidden=32)).float().train()
    optimizer = torch.optim.Adam(it.parameters(), lr=4e-3)
    for step in range(toy.STEPS):
        optimizer.param_groups[0]["lr"] = 4e-3 * (1 - step / toy.STEPS)
        rng, context = seeded("step", step), toy.contexts(toy.BATCH, step)
        optimizer.zero_grad()
        it.fit(toy.real(context, rng), context, rng).mean().backward()
        optimizer.step()
    # an invertible map cannot tear one mode in two, so a thin bridge stays between them
    assert toy.worst(toy.drawn_by(it)) < 0.08


def test_it_is_a_method_like_any_other(flow: ModuleType) -> None:
    it = make_method("flow").eval()
    task = make_task().to(torch.float32)
    with torch.no_grad():
        outputs, start, _ = it.answers(task, 1, seeded(0), samples=3)
    assert start.samples == 3
    assert it.pooled(outputs[1], task.n_tasks).shape == (3, 6, 3)
