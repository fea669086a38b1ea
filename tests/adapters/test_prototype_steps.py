"""Leave-one-out prototypes and normalised steps, against loops."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from toys import normals

from genmeta.adapters.prototype_steps import SHARPNESS, left_out_logits, prototype_steps, support_loss

TARGETS = torch.tensor([[0, 1, 0, 2, 1, 0], [2, 2, 1, 0, 0, 1]])
MEMBERS = F.one_hot(TARGETS, 3).double()


def units(*shape: int, seed: int = 0) -> Tensor:
    return F.normalize(normals(*shape, seed=seed), dim=-1)


def test_an_image_is_left_out_of_its_own_prototype() -> None:
    first, second = units(2, 6, 5), units(2, 6, 5, seed=1)
    got = left_out_logits(first, second, MEMBERS)
    for t in range(2):
        for n in range(6):
            for k in range(3):
                others = [i for i in range(6) if TARGETS[t, i] == k and i != n] or [n]
                mean = F.normalize(first[t, others].mean(0), dim=0)
                torch.testing.assert_close(got[t, n, k], second[t, n] @ mean)


def test_with_one_image_in_a_class_two_views_classify_each_other() -> None:
    views = [units(2, 6, 5), units(2, 6, 5, seed=1)]
    loss = support_loss(lambda weights, view: views[view], {}, 3, 2, MEMBERS)

    def between(a: int, b: int) -> Tensor:
        logits = SHARPNESS * left_out_logits(views[a], views[b], MEMBERS)
        return F.cross_entropy(logits.flatten(0, 1), TARGETS.flatten(), reduction="none").view(2, 6).mean(1)

    # step 3 of two views begins with the second; in the second task every class has two images
    torch.testing.assert_close(loss[0], (between(0, 1)[0] + between(1, 0)[0]) / 2)
    torch.testing.assert_close(loss[1], between(1, 1)[1])


def scaled(images: Tensor) -> object:
    """Features that weights scale and shift."""

    def features(weights: dict[str, Tensor], view: int) -> Tensor:
        moved = images.roll(view, -1) * weights["scale"][:, None] + weights["shift"][:, None]
        return F.normalize(moved, dim=-1)

    return features


@pytest.mark.parametrize("differentiable", [False, True])
def test_every_tensor_moves_by_its_step_size_down_the_loss(differentiable: bool) -> None:
    images = normals(2, 6, 5) + 2 * F.one_hot(TARGETS, 5).double()
    start = {"scale": torch.ones(2, 5).double(), "shift": normals(2, 5, seed=2) * 0.1}
    alpha = {"scale": torch.full((2, 1), 0.05).double(), "shift": torch.tensor([[0.01], [0.0]]).double()}
    alpha = {name: value.requires_grad_(differentiable) for name, value in alpha.items()}
    features = scaled(images)
    how = {"membership": MEMBERS, "views": 1, "differentiable": differentiable}
    path = prototype_steps(features, start, alpha, steps=3, **how)  # type: ignore[arg-type]
    assert len(path) == 4
    moved = (path[1]["scale"] - path[0]["scale"]).square().mean(1).sqrt()
    torch.testing.assert_close(moved, torch.full((2,), 0.05).double())
    assert torch.equal(path[3]["shift"][1], start["shift"][1])
    losses = [support_loss(features, weights, 0, 1, MEMBERS).sum().item() for weights in path]  # type: ignore[arg-type]
    assert losses == sorted(losses, reverse=True)
    if differentiable:
        # first order: the gradients are numbers, so alpha's derivative is minus the directions
        (derivative,) = torch.autograd.grad(path[1]["scale"].sum(), alpha["scale"])
        torch.testing.assert_close(derivative[:, 0], ((path[1]["scale"] - path[0]["scale"]) / 0.05).sum(1))


def test_tasks_do_not_mix() -> None:
    images = normals(2, 6, 5)
    start = {"scale": torch.ones(2, 5).double(), "shift": torch.zeros(2, 5).double()}
    alpha = {name: torch.full((2, 1), 0.1).double() for name in start}
    how = {"steps": 2, "views": 2, "differentiable": False}
    together = prototype_steps(scaled(images), start, alpha, MEMBERS, **how)[-1]  # type: ignore[arg-type]
    for t in range(2):
        one = slice(t, t + 1)
        mine = [{name: value[one] for name, value in part.items()} for part in (start, alpha)]
        alone = prototype_steps(scaled(images[one]), *mine, MEMBERS[one], **how)[-1]  # type: ignore[arg-type]
        for name, value in alone.items():
            torch.testing.assert_close(value[0], together[name][t])
