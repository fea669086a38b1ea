"""A Gaussian fits one mode, particles fit two where a Gaussian cannot, by a measured distance."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from toys import built, normals

from genmeta.adapters import SVGDAdapter
from genmeta.core.randomness import seeded
from genmeta.core.types import ROWS, Start, Weights
from genmeta.generators import AmortisedGaussian

SPREAD = 0.3


def energy_distance(first: Tensor, second: Tensor) -> float:
    """``√(2 E‖x − y‖ − E‖x − x'‖ − E‖y − y'‖)``, zero for equal distributions only (Székely and Rizzo, 2013)."""
    between = (
        2 * torch.cdist(first, second).mean() - torch.cdist(first, first).mean() - torch.cdist(second, second).mean()
    )
    return float(between.clamp_min(0).sqrt())


def centre(context: Tensor) -> Tensor:
    """Two weights wanted for a context of three numbers, about 1.5 apart from the origin."""
    angle = context.sum(-1)
    return 1.5 * torch.stack([angle.sin(), angle.cos()], -1)


def fitted(modes: int) -> AmortisedGaussian:
    """A Gaussian fitted by maximum likelihood to draws around ``centre`` or, with two modes, around ``± centre``."""
    generator = built(lambda: AmortisedGaussian(3, 2, hidden=32, kl_weight=0.0))
    optimizer = torch.optim.Adam(generator.parameters(), lr=0.01)
    for step in range(400):
        context = normals(64, 3, seed=step)
        mean, log_sigma = generator.moments(context, seeded(0))
        z = (drawn(context, modes, seed=step) - mean) * (-log_sigma).exp()
        loss = (0.5 * z.square() + log_sigma).sum(-1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return generator


def drawn(context: Tensor, modes: int, seed: int) -> Tensor:
    sign = 1.0 if modes == 1 else (normals(len(context), 1, seed=seed + 1) > 0).double() * 2 - 1
    return sign * centre(context) + SPREAD * normals(len(context), 2, seed=seed + 2)


def gaussian_distance(modes: int) -> float:
    """Mean energy distance over contexts between what the fitted Gaussian draws and the truth."""
    generator, distances = fitted(modes), []
    for at in range(4):
        context = 0.7 * normals(1, 3, seed=1000 + at).expand(400, 3)
        with torch.no_grad():
            ours = generator(context, seeded(at)).values
        distances.append(energy_distance(ours, drawn(context, modes, seed=2000 + at)))
    return sum(distances) / 4


def particle_distance() -> float:
    """The same for particles that went down the two-moded energy by Stein variational gradient descent."""
    distances = []
    for at in range(4):
        context = 0.7 * normals(1, 3, seed=1000 + at)
        modes = torch.cat([centre(context), -centre(context)])

        def energy(weights: Weights, modes: Tensor = modes) -> Tensor:
            away = (weights[ROWS] - modes).square().sum(-1) / (2 * SPREAD**2)
            return math.log(2) - torch.logsumexp(-away, -1)

        start = Start(
            {ROWS: normals(40, 1, 2, seed=at)}, {ROWS: torch.tensor(0.1)}, torch.zeros(40, dtype=torch.float64), 40
        )
        end = SVGDAdapter().adapt(start, energy, 200, differentiable=False)[-1][ROWS][:, 0]
        distances.append(energy_distance(end, drawn(context.expand(400, 3), 2, seed=2000 + at)))
    return sum(distances) / 4


def test_a_gaussian_fits_one_mode_and_particles_fit_two_where_it_cannot() -> None:
    one, two, particles = gaussian_distance(1), gaussian_distance(2), particle_distance()
    assert one < 0.2
    assert particles < 0.35
    assert two > 1.5 * particles
