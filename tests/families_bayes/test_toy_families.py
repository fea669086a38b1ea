"""Families of one mode: LEO's linear decoder and ABML's Gaussian fit one and not two, networks without noise a mean.

By the distances of test_toy_conditionals.py. For families that can have two modes see also test_two_modes.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from test_toy_conditionals import SPREAD, centre, drawn, energy_distance
from torch import Tensor, nn
from toys import built, normals

from genmeta.adapters import LatentAdapter
from genmeta.core.randomness import seeded
from genmeta.core.spec import ParamSpec
from genmeta.core.types import ROWS, Context, Start, Weights
from genmeta.generators import (
    FiLMGenerator,
    GaussianStart,
    HyperNetwork,
    LatentRows,
    ParameterGenerator,
)
from genmeta.generators.standardised import perceptron

Draw = Callable[[Tensor, int], Tensor]


def distance(draw: Draw, modes: int) -> float:
    """Mean energy distance over contexts between what is drawn and the truth."""
    distances = []
    for at in range(4):
        context = 0.7 * normals(1, 3, seed=1000 + at).expand(400, 3)
        with torch.no_grad():
            distances.append(energy_distance(draw(context, at), drawn(context, modes, seed=2000 + at)))
    return sum(distances) / 4


def descend(module: nn.Module, loss: Callable[[int], Tensor], steps: int = 400) -> None:
    optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 0.01 * (1 - step / steps)
        optimizer.zero_grad()
        loss(step).backward()
        optimizer.step()


class Coded(nn.Module):
    """LEO's codes from a context of three numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = perceptron(3, 32, 8)
        self.rows = LatentRows(4, 2, 1.0, 0.0, 0.0, 0.0)

    def forward(self, context: Tensor, rng: torch.Generator) -> Tensor:
        codes, zero = self.encoder(context)[:, None], torch.zeros(len(context), 1, 2)
        start = Start({ROWS: zero.to(codes)}, {}, codes.new_zeros(len(context)))
        rows: Tensor = self.rows(start, Context(codes[:, 0], codes), rng).weights[ROWS][:, 0]
        return rows


def latent_rows(modes: int) -> Draw:
    """Fitted by the energy score of pairs of draws, which the true distribution alone makes least."""
    it = built(Coded).train()

    def loss(step: int) -> Tensor:
        context = normals(128, 3, seed=step)
        want = drawn(context, modes, seed=step)
        one, other = (it(context, seeded(which, step)) for which in ("one", "other"))
        return ((one - want).norm(dim=-1) + (other - want).norm(dim=-1) - (one - other).norm(dim=-1)).mean()

    descend(it, loss)
    return lambda context, seed: it(context, seeded(seed))


def energy_of(context: Tensor, modes: int) -> Callable[[Weights], Tensor]:
    """``−log`` of the density that :func:`drawn` draws from."""
    centres = [centre(context[:1])] if modes == 1 else [centre(context[:1]), -centre(context[:1])]

    def energy(weights: Weights) -> Tensor:
        away = [(weights[ROWS] - at).square().sum((1, 2)) / (2 * SPREAD**2) for at in centres]
        return -torch.logsumexp(-torch.stack(away), 0) + math.log(len(centres))

    return energy


def gaussian_start(modes: int, sigma: float = 3.0) -> Draw:
    """Moved down the energy by steps on its mean and spread. The divergence from so wide a start says nearly nothing,
    so what is left of the objective besides the energy is the Gaussian's own entropy."""
    writer = built(lambda: GaussianStart(ParamSpec((), 2), sigma, sigma, 1.0))

    def draw(context: Tensor, seed: int) -> Tensor:
        n = len(context)
        start = Start({ROWS: torch.zeros(n, 1, 2).double()}, {ROWS: torch.tensor(0.01)}, torch.zeros(n).double(), n)
        begun = writer(start, None, seeded(seed))
        end = LatentAdapter().adapt(begun, energy_of(context, modes), 400, differentiable=False)
        return end[-1][ROWS][:, 0]

    return draw


@pytest.mark.parametrize("family", [latent_rows, gaussian_start])
def test_a_linear_decoder_and_a_gaussian_start_fit_one_mode_and_not_two(family: Callable[[int], Draw]) -> None:
    assert distance(family(1), 1) < 0.2
    assert distance(family(2), 2) > 0.4


@pytest.mark.parametrize(
    "make", [lambda: HyperNetwork(3, 2, 32), lambda: FiLMGenerator(3, 2, 32, penalty=0.0, strength=1.0)]
)
def test_without_noise_a_network_writes_the_mean(make: Callable[[], ParameterGenerator]) -> None:
    for modes in (1, 2):
        it = built(make)

        def loss(step: int, it: ParameterGenerator = it, modes: int = modes) -> Tensor:
            context = normals(128, 3, seed=step)
            return (it(context, seeded(0)).values - drawn(context, modes, seed=step)).square().sum(-1).mean()

        descend(it, loss)
        context = 0.7 * normals(200, 3, seed=1000)
        with torch.no_grad():
            away = (it(context, seeded(0)).values - (centre(context) if modes == 1 else 0)).norm(dim=-1).mean()
        assert away < 0.25, "between two modes lies a third place, where no weights are wanted"
