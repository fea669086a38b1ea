"""Trade-offs between two tasks: the front of losses that a row reaches, and the area that it dominates."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch

from genmeta.core.errors import UsageError
from genmeta.core.randomness import seeded
from genmeta.data.two_digits import TwoDigits, two_digits
from genmeta.methods.pareto import ParetoConfig, ParetoNetwork, fit

#: Losses in nats that the dominated area is cut off at, as in Navon et al., 2021.
REFERENCE = (2.0, 2.0)
#: Images of each part, and preferences that a hypernetwork is asked for.
TRAIN, TEST, RAYS = 6000, 2000, 25


class Point(NamedTuple):
    """What a network for one preference does on held-out images.

    Attributes:
        preference: weights of both tasks.
        losses: nats.
        accuracies: fractions.
    """

    preference: tuple[float, float]
    losses: tuple[float, float]
    accuracies: tuple[float, float]


@dataclass(frozen=True)
class ParetoRow:
    """Points of one row of the comparison.

    Attributes:
        points: in the order of preferences.
        parameters: of all its networks.
        steps: training steps of all its networks.
    """

    points: tuple[Point, ...]
    parameters: int
    steps: int

    @property
    def volume(self) -> float:
        """Hypervolume of its losses, see :func:`hypervolume`."""
        return hypervolume(np.array([point.losses for point in self.points]))


def hypervolume(losses: np.ndarray, reference: tuple[float, float] = REFERENCE) -> float:
    """Area of ``{y : l ≤ y ≤ reference for some point l}``; more is better.

    Zitzler and Thiele, "Multiobjective evolutionary algorithms", 1999 (https://doi.org/10.1109/4235.797969).

    Args:
        losses: ``[N 2]``, less is better.
        reference: both losses at which a point is worth nothing.

    Raises:
        UsageError: not a list of pairs.
    """
    if losses.ndim != 2 or losses.shape[1] != len(reference):
        raise UsageError(f"The hypervolume of two losses needs points of shape [N 2], got {list(losses.shape)}.")
    area, height = 0.0, reference[1]
    for first, second in losses[np.argsort(losses[:, 0], kind="stable")]:
        # from left to right each point adds the strip below what the others before it reach
        if first < reference[0] and second < height:
            area += (reference[0] - first) * (height - second)
            height = second
    return float(area)


def preferences(count: int) -> torch.Tensor:
    """``[count 2]``, evenly spread between the first task and the second; neither is ever left out altogether."""
    first = 1 - (torch.arange(count) + 0.5) / count
    return torch.stack([first, 1 - first], 1)


def points_of(network: ParetoNetwork, data: TwoDigits, rays: torch.Tensor) -> tuple[Point, ...]:
    """What the network of each preference does on ``data``."""
    found = []
    with torch.no_grad():
        for ray in rays:
            losses = network.losses(data.images, data.labels, ray[None])[0]
            right = network.outputs(data.images, ray[None])[0].argmax(-1) == data.labels
            accuracies = right.double().mean(0).tolist()
            found.append(Point(tuple(ray.tolist()), tuple(losses.tolist()), tuple(accuracies)))
    return tuple(found)


def pareto_rows(config: ParetoConfig, *, networks: int = 5, seed: int = 0) -> dict[str, ParetoRow]:
    """One hypernetwork for all preferences against a network for each of a few, on the same images.

    Args:
        config: settings; ``steps`` are those of each single network.
        networks: single networks, their preferences evenly spread.
        seed: of images, initial weights and order.

    Returns:
        ``single networks``; ``hypernetwork``, with as many steps as all of them together, and the same asked for the
        single networks' preferences alone; ``hypernetwork, steps of one``; ``single networks, each as long``.
    """
    data, held_out = two_digits("train", TRAIN, seed=seed), two_digits("test", TEST, seed=seed)
    few, many = preferences(networks), preferences(RAYS)
    longer = replace(config, steps=networks * config.steps)

    def singles(settings: ParetoConfig) -> ParetoRow:
        points: list[Point] = []
        parameters = 0
        for number, ray in enumerate(few):
            network = ParetoNetwork(settings, seeded(seed, "single", number), generated=False)
            fit(network, data, settings, seeded(seed, "order", number), ray)
            points += points_of(network, held_out, ray[None])
            parameters += _size(network)
        return ParetoRow(tuple(points), parameters, networks * settings.steps)

    def hypernetwork(settings: ParetoConfig) -> ParetoNetwork:
        network = ParetoNetwork(settings, seeded(seed, "hypernetwork"))
        fit(network, data, settings, seeded(seed, "order"))
        return network

    whole, brief = hypernetwork(longer), hypernetwork(config)
    size = _size(whole)
    return {
        "single networks": singles(config),
        "hypernetwork": ParetoRow(points_of(whole, held_out, many), size, longer.steps),
        f"hypernetwork, {networks} preferences": ParetoRow(points_of(whole, held_out, few), size, longer.steps),
        "hypernetwork, steps of one": ParetoRow(points_of(brief, held_out, many), size, config.steps),
        "single networks, each as long": singles(longer),
    }


def _size(network: ParetoNetwork) -> int:
    return sum(p.numel() for p in network.parameters())
