"""How long each step is: shapes, the scaling with the number of classes, and gradients by name."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from toys import built, normals, perturb

from genmeta.core.spec import ParamSpec
from genmeta.core.types import ROWS, Context
from genmeta.generators import FixedStepSize, GeneratedStepSizes, LearnedStepSizes, StepSizes
from genmeta.generators.step_sizes import PER_PARAMETER

SPEC = ParamSpec((("kernel", (2, 3, 3, 3)), ("scale", (4,)), ("large", (PER_PARAMETER + 1,))), 5)
NAMES = ("kernel", "scale", "large", ROWS)
C, T = 6, 2
KINDS: dict[str, Callable[[], StepSizes]] = {
    "fixed": lambda: FixedStepSize(SPEC, NAMES, 0.1, 0.5),
    "learned": lambda: LearnedStepSizes(SPEC, NAMES, 0.1, 0.5),
    "generated": lambda: GeneratedStepSizes(SPEC, NAMES, 0.1, 0.5, C, hidden=8),
}


def context(ways: int = 3) -> Context:
    return Context(normals(T, C), normals(T, ways, C))


@pytest.mark.parametrize("kind", KINDS)
def test_all_start_at_alpha_and_broadcast(kind: str) -> None:
    alphas = built(KINDS[kind])(context(), 3)
    assert tuple(alphas) == NAMES
    for name, alpha in alphas.items():
        shape = (T, 3, SPEC.row_length) if name == ROWS else (T, *dict(SPEC.shared)[name])
        torch.testing.assert_close(
            alpha.expand(shape).mean().item(), 3 * 0.5 if name == ROWS else 0.1, rtol=1e-6, atol=0
        )


@pytest.mark.parametrize("kind", KINDS)
def test_rows_step_further_with_more_classes(kind: str) -> None:
    sizes = perturb(built(KINDS[kind]), 0.1)
    few, more = (sizes(context(), ways) for ways in (3, 6))
    torch.testing.assert_close(more[ROWS], 2 * few[ROWS])
    assert torch.equal(more["scale"], few["scale"])


@pytest.mark.parametrize("kind", KINDS)
def test_only_what_adapts_gets_a_step_size(kind: str) -> None:
    assert set(built(KINDS[kind]).shapes) == set(NAMES)
    assert set(FixedStepSize(SPEC, (ROWS,), 0.1, 0.5)(None, 3)) == {ROWS}
    assert FixedStepSize(SPEC, (), 0.1, 0.5)(None, 3) == {}


@pytest.mark.parametrize("kind", ["learned", "generated"])
def test_every_parameter_gets_a_finite_gradient(kind: str) -> None:
    sizes = perturb(built(KINDS[kind]), 0.1)
    sum(alpha.sin().sum() for alpha in sizes(context(), 3).values()).backward()  # type: ignore[union-attr]
    for name, parameter in sizes.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


def test_generated_step_sizes_stay_between_zero_and_four_alpha() -> None:
    sizes = perturb(built(KINDS["generated"]), 20.0)
    for name, alpha in sizes.alpha(context()).items():
        assert alpha.min() >= 0
        assert alpha.max() <= 4 * (0.5 if name == ROWS else 0.1)


def test_generated_step_sizes_read_the_task_and_each_class() -> None:
    sizes, given = perturb(built(KINDS["generated"]), 0.3), context()
    assert given.classes is not None
    before = sizes.alpha(given)
    moved = given.classes.clone()
    moved[0, 1] += 1
    after = sizes.alpha(Context(given.task, moved))
    changed = (before[ROWS] != after[ROWS]).any(-1)
    assert changed.nonzero().tolist() == [[0, 1]]
    after = sizes.alpha(Context(given.task + torch.tensor([[0.0], [1.0]]), given.classes))
    for name in ("kernel", "scale", "large"):
        moved_tasks = (before[name] != after[name]).flatten(1).any(1)
        assert moved_tasks.tolist() == [False, True], name
    assert torch.equal(before[ROWS], after[ROWS])


def test_a_large_tensor_gets_one_generated_number() -> None:
    rho = built(KINDS["generated"])
    assert isinstance(rho, GeneratedStepSizes)
    assert [layer.out_features for layer in rho.write] == [54, 4, 1, 5]  # type: ignore[union-attr]


def test_generated_step_sizes_need_labels() -> None:
    with pytest.raises(TypeError, match="labelled support set"):
        built(KINDS["generated"])(Context(normals(T, C), None), 3)
