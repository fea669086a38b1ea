"""Gradient adaptation: identity, descent, exact meta-gradients, one task at a time."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from toys import normals

from genmeta.adapters import Adapter, GradientAdapter, NoAdapter
from genmeta.core.errors import UsageError
from genmeta.core.types import Start, Weights

EXACT = {"rtol": 1e-10, "atol": 1e-10}
T = 3
RULES = pytest.mark.parametrize("rule", ["sgd", "adam"])


def start(of: Callable[[Tensor], Tensor] = lambda x: x, step_size: float = 0.1) -> Start:
    weights = {"a": of(normals(T, 4)), "b": of(normals(T, 2, 2, seed=1))}
    alphas = {"a": torch.tensor(step_size, dtype=torch.float64), "b": step_size * (1 + 0.1 * normals(2, 2).abs())}
    return Start(weights, alphas, torch.zeros(T))


def bowl(weights: Weights) -> Tensor:
    """A convex quadratic for each task."""
    return (weights["a"] - 1).square().sum(1) + 2 * (weights["b"] + 1).square().sum((1, 2))


def hills(weights: Weights) -> Tensor:
    """Curved, with mixed derivatives, different for each task."""
    mixed = torch.einsum("ti,tjk->t", weights["a"], weights["b"].square())
    return (weights["a"] * torch.arange(1, T + 1)[:, None]).sin().sum(1) + 0.3 * mixed + weights["b"].exp().sum((1, 2))


@pytest.mark.parametrize("adapter", [NoAdapter(), GradientAdapter(), GradientAdapter(first_order=True, rule="adam")])
@pytest.mark.parametrize("differentiable", [True, False])
def test_zero_steps_is_the_identity(adapter: Adapter, differentiable: bool) -> None:
    at = start()
    (only,) = adapter.adapt(at, hills, 0, differentiable=differentiable)
    assert all(torch.equal(only[name], value) for name, value in at.weights.items())


def test_no_adapter_stays_where_it_is() -> None:
    at = start()
    assert NoAdapter().adapt(at, hills, 3, differentiable=True) == [at.weights] * 4


@RULES
@pytest.mark.parametrize("differentiable", [True, False])
def test_a_bowl_goes_down_in_every_task(rule: str, differentiable: bool) -> None:
    trajectory = GradientAdapter(rule=rule).adapt(start(), bowl, 8, differentiable=differentiable)
    losses = torch.stack([bowl(weights) for weights in trajectory])
    assert len(trajectory) == 9
    assert (losses.diff(dim=0) < 0).all()


@RULES
@pytest.mark.parametrize("first_order", [True, False])
def test_all_ways_of_stepping_go_the_same_way(rule: str, first_order: bool) -> None:
    adapter = GradientAdapter(first_order=first_order, rule=rule)
    exact = GradientAdapter(rule=rule).adapt(start(lambda x: x.requires_grad_()), hills, 3, differentiable=True)
    with torch.no_grad():
        plain = adapter.adapt(start(), hills, 3, differentiable=False)
    for want, got in zip(exact, plain, strict=True):
        assert all(not value.requires_grad for value in got.values())
        assert all(torch.allclose(got[name], want[name], rtol=1e-12, atol=1e-12) for name in want)


def test_the_gradient_of_a_weight_does_not_run_through_its_start() -> None:
    # a generated row may be made from a generated body; the step is along the partial derivatives all the same
    body = normals(T, 4).requires_grad_()
    made = Start({"a": body, "b": body.unflatten(1, (2, 2)).sin()}, start().step_sizes, torch.zeros(T))
    cut = made._replace(weights={name: value.detach() for name, value in made.weights.items()})
    got = GradientAdapter().adapt(made, hills, 2, differentiable=True)[-1]
    want = GradientAdapter().adapt(cut, hills, 2, differentiable=False)[-1]
    for name in want:
        torch.testing.assert_close(got[name], want[name], **EXACT)


@RULES
def test_tasks_do_not_mix(rule: str) -> None:
    adapter, at = GradientAdapter(rule=rule), start(lambda x: x.requires_grad_())
    together = adapter.adapt(at, hills, 3, differentiable=True)[-1]
    got = torch.autograd.grad(hills(together).sin().sum(), list(at.weights.values()))
    for t in range(T):

        def loss(weights: Weights, t: int = t) -> Tensor:
            whole = {name: value.expand(T, *value.shape[1:]) for name, value in weights.items()}
            return hills(whole)[t : t + 1]

        mine = {name: value.detach()[t : t + 1].requires_grad_() for name, value in at.weights.items()}
        alone = adapter.adapt(at._replace(weights=mine), loss, 3, differentiable=True)[-1]
        want = torch.autograd.grad(loss(alone).sin().sum(), list(mine.values()))
        for name, g, w in zip(mine, got, want, strict=True):
            torch.testing.assert_close(together[name][t], alone[name][0], **EXACT)
            torch.testing.assert_close(g[t], w[0], **EXACT)


@pytest.mark.parametrize("steps", [1, 3])
def test_meta_gradients_are_finite_differences(steps: int) -> None:
    adapter = GradientAdapter()

    def meta_loss(a: Tensor, b: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
        at = Start({"a": a, "b": b}, {"a": alpha, "b": beta}, torch.zeros(T))
        return bowl(adapter.adapt(at, hills, steps, differentiable=True)[-1]).cos().sum()

    given = start()
    inputs = [tensor.requires_grad_() for tensor in (*given.weights.values(), *given.step_sizes.values())]
    assert torch.autograd.gradcheck(meta_loss, inputs, eps=1e-6, atol=1e-7, rtol=1e-6)


def test_first_order_drops_second_derivatives() -> None:
    def meta(first_order: bool) -> list[Tensor]:
        at = start(lambda x: x.requires_grad_())
        for alpha in at.step_sizes.values():
            alpha.requires_grad_()
        end = GradientAdapter(first_order).adapt(at, hills, 2, differentiable=True)[-1]
        return [*torch.autograd.grad(bowl(end).sum(), [*at.weights.values(), *at.step_sizes.values()]), end["a"]]

    cheap, exact = meta(True), meta(False)
    torch.testing.assert_close(cheap[-1], exact[-1], **EXACT)
    assert (cheap[0] - exact[0]).abs().max() > 1e-3
    # what is left is the gradient at the end, as if the way there were a constant
    end = GradientAdapter().adapt(start(), hills, 2, differentiable=False)[-1]
    leaves = {name: value.requires_grad_() for name, value in end.items()}
    for got, want in zip(cheap, torch.autograd.grad(bowl(leaves).sum(), list(leaves.values())), strict=False):
        torch.testing.assert_close(got, want, **EXACT)


def test_only_named_weights_move() -> None:
    at = start()
    at = at._replace(step_sizes={"b": at.step_sizes["b"]})
    end = GradientAdapter().adapt(at, hills, 2, differentiable=True)[-1]
    assert end["a"] is at.weights["a"]
    assert not torch.equal(end["b"], at.weights["b"])


def test_adam_equals_the_one_of_torch() -> None:
    at = start()
    leaves = {name: value.clone().requires_grad_() for name, value in at.weights.items()}
    at = at._replace(step_sizes=dict.fromkeys(leaves, torch.tensor(0.05, dtype=torch.float64)))
    trajectory = GradientAdapter(rule="adam").adapt(at, hills, 5, differentiable=False)
    optimizer = torch.optim.Adam(leaves.values(), lr=0.05)
    for weights in trajectory:
        for name, value in leaves.items():
            torch.testing.assert_close(weights[name], value.detach(), rtol=1e-10, atol=1e-10)
        optimizer.zero_grad()
        hills(leaves).sum().backward()
        optimizer.step()


def test_an_unknown_rule_is_refused() -> None:
    with pytest.raises(UsageError, match=r"Unknown inner update rule 'adamw'\. Did you mean 'adam'\?"):
        GradientAdapter(rule="adamw")
