"""Stein variational gradient descent against closed forms, a plain double loop, and gradient descent."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from toys import normals

from genmeta.adapters import GradientAdapter, SVGDAdapter
from genmeta.adapters.svgd import rbf_kernel, svgd_direction
from genmeta.core.errors import UsageError
from genmeta.core.types import ROWS, Start, Weights


def start_of(rows: Tensor, samples: int, alpha: float = 0.1) -> Start:
    return Start({ROWS: rows}, {ROWS: torch.tensor(alpha, dtype=rows.dtype)}, rows.new_zeros(len(rows)), samples)


def test_particles_reach_mean_and_covariance_of_a_gaussian() -> None:
    mean = torch.tensor([1.0, -2.0], dtype=torch.float64)
    covariance = torch.tensor([[1.0, 0.6], [0.6, 2.0]], dtype=torch.float64)
    precision = covariance.inverse()

    def energy(weights: Weights) -> Tensor:
        away = weights[ROWS][:, 0] - mean
        return 0.5 * (away @ precision * away).sum(-1)

    particles = 0.2 * normals(80, 1, 2)
    end = SVGDAdapter().adapt(start_of(particles, 80, alpha=0.5), energy, 600, differentiable=False)[-1][ROWS][:, 0]
    torch.testing.assert_close(end.mean(0), mean, rtol=0, atol=0.03)
    torch.testing.assert_close(torch.cov(end.t(), correction=0), covariance, rtol=0.15, atol=0.05)


def test_one_particle_is_gradient_descent() -> None:
    rows, weight = normals(3, 2, 5), normals(5, seed=1)

    def loss(weights: Weights) -> Tensor:
        return (weights[ROWS] @ weight).sin().square().sum(-1)

    start = start_of(rows, 1, alpha=0.3)
    for differentiable in (False, True):
        ours = SVGDAdapter().adapt(start, loss, 4, differentiable=differentiable)
        plain = GradientAdapter().adapt(start, loss, 4, differentiable=differentiable)
        for a, b in zip(ours, plain, strict=True):
            torch.testing.assert_close(a[ROWS], b[ROWS], rtol=1e-12, atol=1e-12)


def test_the_direction_is_the_double_sum_of_the_paper() -> None:
    particles, gradients = normals(2, 4, 3), normals(2, 4, 3, seed=1)
    direction = svgd_direction(particles, gradients, repulsion=0.7)
    for task in range(2):
        pairs = torch.pdist(particles[task]).square()
        bandwidth = pairs.sort().values[(len(pairs) - 1) // 2] / math.log(5)
        for m in range(4):
            total = torch.zeros(3, dtype=torch.float64)
            for j in range(4):
                at = particles[task, j].clone().requires_grad_()
                kernel = torch.exp(-(at - particles[task, m]).square().sum() / bandwidth)
                (slope,) = torch.autograd.grad(kernel, at)
                total += -kernel.detach() * gradients[task, j] + 0.7 * slope
            torch.testing.assert_close(direction[task, m], total / 4)


def test_particles_at_one_place_stay_finite_and_together() -> None:
    particles = normals(1, 1, 3).expand(1, 4, 3).clone().requires_grad_()
    kernel, bandwidth = rbf_kernel(particles)
    assert (kernel == 1).all()
    assert (bandwidth > 0).all()
    direction = svgd_direction(particles, torch.ones_like(particles))
    torch.testing.assert_close(direction, -torch.ones_like(particles))
    direction.sum().backward()
    assert particles.grad is not None
    assert particles.grad.isfinite().all()


def test_the_trajectory_can_be_differentiated() -> None:
    # along a shift of all particles together the bandwidth, which counts as a constant, is one
    rows, weight = normals(6, 2, 3), normals(3, seed=1)

    def loss(weights: Weights) -> Tensor:
        return (weights[ROWS] @ weight).sin().sum(-1)

    def end(shift: Tensor, alpha: Tensor) -> Tensor:
        start = Start({ROWS: rows + shift}, {ROWS: alpha}, rows.new_zeros(6), 3)
        return SVGDAdapter().adapt(start, loss, 1, differentiable=True)[-1][ROWS].square().sum()

    inputs = (torch.tensor(0.3, dtype=torch.float64), torch.tensor(0.2, dtype=torch.float64))
    given = tuple(value.requires_grad_() for value in inputs)
    assert torch.autograd.gradcheck(end, given)


def test_first_order_keeps_values_and_drops_second_derivatives() -> None:
    rows = normals(4, 1, 3).requires_grad_()

    def loss(weights: Weights) -> Tensor:
        return weights[ROWS].square().sum((1, 2))

    ends = [
        SVGDAdapter(first_order=first).adapt(start_of(rows, 4), loss, 2, differentiable=True)[-1][ROWS]
        for first in (False, True)
    ]
    torch.testing.assert_close(ends[0], ends[1])
    slopes = [torch.autograd.grad(end.sum(), rows)[0] for end in ends]
    assert not torch.allclose(slopes[0], slopes[1])


def test_a_negative_repulsion_is_refused() -> None:
    with pytest.raises(UsageError, match="repulsion pushes particles apart and must be 0 or more, got -1"):
        SVGDAdapter(repulsion=-1.0)
