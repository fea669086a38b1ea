"""Task sequences: the regulariser holds earlier tasks in place, and classes of different tasks can be compared."""

from __future__ import annotations

import pytest
import torch
from toys import make_classes

from genmeta.core.errors import DataError, UsageError
from genmeta.core.randomness import seeded
from genmeta.data import open_dataset
from genmeta.methods.continual import ContinualConfig, ContinualHypernetwork, squared_errors
from genmeta.scenarios.task_sequence import score_sequence


def test_errors_by_hand() -> None:
    weights = {"mean": torch.zeros(1, 1, 3), "basis": torch.tensor([[[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]]])}
    # what lies in the basis is rebuilt, the rest is not
    errors = squared_errors(weights, torch.tensor([[3.0, 4.0, 0.0], [1.0, 1.0, 2.0]]))
    torch.testing.assert_close(errors, torch.tensor([[[0.0], [4.0]]]))


def test_the_regulariser_keeps_what_was_learned() -> None:
    data = open_dataset("digits?size=8")
    config = ContinualConfig(inputs=64, steps=120, code=6)
    kept = score_sequence(data, config, seeds=(0,))
    lost = score_sequence(data, ContinualConfig(inputs=64, steps=120, code=6, beta=0.0), seeds=(0,))
    assert kept.class_incremental[0] > lost.class_incremental[0] + 0.2
    assert kept.task_known[0] > lost.task_known[0]
    assert set(kept.summary()) == {"task_known", "domain", "class_incremental", "first_task", "inferred"}


def test_weights_of_an_earlier_task_stay_where_they_were() -> None:
    moved = {}
    for beta in (0.0, 10.0):
        model = ContinualHypernetwork(ContinualConfig(inputs=16, steps=30, beta=beta), seeded(0))
        rng = seeded(1)
        for _ in range(2):
            before = model.written().detach() if model.n_tasks else None
            model.learn(torch.rand(20, 16, generator=rng), torch.arange(20) % 2)
        moved[beta] = float((model.written().detach()[:1] - before).abs().mean())
    assert moved[10.0] < 0.5 * moved[0.0]
    assert model.answers(torch.zeros(3, 16)).shape == (2, 3, 2)


def test_bad_sequences_are_refused() -> None:
    with pytest.raises(DataError, match="do not make two or more tasks of 5"):
        score_sequence(make_classes(12, 8), ContinualConfig(inputs=144, classes=5))
    with pytest.raises(UsageError, match="beta of 0 or more"):
        ContinualConfig(inputs=4, beta=-1)
