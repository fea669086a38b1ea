"""The average of the weights: its rule, and that the module gets its own weights back."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from toys import built

from genmeta.engine.averaging import WeightAverage


def line(value: float) -> nn.Linear:
    module = built(lambda: nn.Linear(1, 1)).float()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(value)
    module.bias.requires_grad_(False)
    return module


@pytest.mark.parametrize("decay", [0.5, 0.999])
def test_it_follows_the_rule(decay: float) -> None:
    module = line(1.0)
    average, expected = WeightAverage(module, decay), 1.0
    for step in range(1, 30):
        with torch.no_grad():
            module.weight.fill_(float(step))
        average.update(step)
        d = min(decay, (1 + step) / (10 + step))
        expected = d * expected + (1 - d) * step
    with average.applied():
        assert module.weight.item() == pytest.approx(expected, rel=1e-5)
        assert module.bias.item() == 1.0
    assert module.weight.item() == 29
    # it is part of the training state, and holds no second copy of the module
    assert list(average.state_dict()) == ["average0"]
    assert not list(average.parameters())


def interrupt() -> None:
    raise KeyboardInterrupt


def test_own_weights_come_back_after_an_error() -> None:
    module = line(1.0)
    average = WeightAverage(module, 0.5)
    with torch.no_grad():
        module.weight.fill_(7.0)
    with pytest.raises(KeyboardInterrupt), average.applied():
        interrupt()
    assert module.weight.item() == 7.0


def test_without_a_decay_there_is_none() -> None:
    module = line(2.0)
    average = WeightAverage(module, 0.0)
    average.update(5)
    assert not average.state_dict()
    with average.applied():
        assert module.weight.item() == 2.0
