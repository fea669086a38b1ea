"""Made-up scores, tasks and weights, and a reader of pages."""

from __future__ import annotations

from collections.abc import Callable
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from reports_helpers import Page

from genmeta.core.types import Examples, Weights
from genmeta.engine.scores import Evaluation, StepScores

HOSTILE = '<script>alert("1")</script> & $\\frac$'


def scores(mean: float, seed: int, episodes: int = 20, seconds: float = 0.0123) -> StepScores:
    rng = np.random.default_rng(seed)
    confidence = rng.uniform(0.2, 1.0, episodes * 15)
    correct = rng.random(episodes * 15) < mean
    return StepScores(correct.reshape(episodes, 15).mean(1), rng.uniform(0, 1, episodes), confidence, correct, seconds)


@pytest.fixture
def evaluations() -> dict[str, Evaluation]:
    return {
        "maml": {0: scores(0.2, 1), 1: scores(0.5, 2), 5: scores(0.8, 3, seconds=0.0456)},
        "hypernet": {0: scores(0.7, 4), 1: scores(0.8, 5), 5: scores(0.9, 6, seconds=float("nan"))},
        "protonet": {0: scores(0.75, 7)},
    }


@pytest.fixture
def one() -> dict[str, Evaluation]:
    """One method at one step: one episode, hence no interval, and no time."""
    return {HOSTILE: {3: scores(0.6, 8, episodes=1, seconds=float("nan"))}}


@pytest.fixture
def make_task() -> Callable[..., tuple[Examples, Examples, torch.Tensor]]:
    def make(ways: int, channels: int, shots: int = 2, queries: int = 3) -> tuple[Examples, Examples, torch.Tensor]:
        rng = torch.Generator().manual_seed(ways)

        def part(each: int) -> Examples:
            images = torch.rand(1, ways * each, channels, 12, 12, generator=rng)
            return Examples(images, torch.arange(ways).repeat_interleave(each)[None])

        query = part(queries)
        return part(shots), query, torch.nn.functional.one_hot(query.targets[0], ways) * 0.875 + 0.125 / ways

    return make


@pytest.fixture
def make_weights() -> Callable[..., Weights]:
    def make(ways: int, channels: int = 1, seed: int = 0) -> Weights:
        rng = torch.Generator().manual_seed(seed)
        shapes = {
            "rows": (1, ways, 9),
            "blocks.0.conv.weight": (1, 5, channels, 3, 3),
            "blocks.0.norm.scale": (1, 5),
            "blocks.0.norm.shift": (1, 5),
            "blocks.1.norm.scale": (1, 8),
            "blocks.1.norm.shift": (1, 8),
        }
        return {name: torch.randn(shape, generator=rng) for name, shape in shapes.items()}

    return make


@pytest.fixture
def read() -> Callable[[str], Page]:
    def parse(text: str) -> Page:
        page = Page()
        page.feed(text)
        page.close()
        return page

    assert issubclass(Page, HTMLParser)
    return parse
