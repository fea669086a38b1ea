"""Trade-offs between two tasks: images without leaks, a hypernetwork that reads its preference, areas counted twice."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from genmeta.core.errors import UsageError
from genmeta.core.randomness import seeded
from genmeta.data.two_digits import DIGIT, two_digits
from genmeta.methods.pareto import ParetoConfig, ParetoNetwork, draw_preference, fit
from genmeta.scenarios.pareto import hypervolume, pareto_rows, points_of, preferences

TINY = ParetoConfig(width=16, context=8, hidden=16, steps=3, batch=16)


def union_of_rectangles(losses: np.ndarray, reference: tuple[float, float]) -> float:
    """By inclusion and exclusion over all sets of points: slow, exact, and another way round."""
    area = 0.0
    for size in range(1, len(losses) + 1):
        for chosen in itertools.combinations(losses, size):
            corner = np.max(chosen, axis=0)
            sides = np.clip(np.array(reference) - corner, 0, None)
            area += (-1) ** (size + 1) * float(sides.prod())
    return area


@pytest.mark.parametrize("seed", range(5))
def test_the_hypervolume_is_the_area_of_a_union(seed: int) -> None:
    random = np.random.default_rng(seed)
    losses = random.random((9, 2)) * 2.6  # some beyond the reference
    losses[3] = losses[4]
    assert hypervolume(losses) == pytest.approx(union_of_rectangles(losses, (2.0, 2.0)))
    better = np.concatenate([losses, losses[:1] - 0.1])
    assert hypervolume(better) >= hypervolume(losses)
    assert hypervolume(losses[::-1]) == hypervolume(losses)


def test_the_hypervolume_by_hand() -> None:
    assert hypervolume(np.array([[1.0, 1.0]])) == 1
    assert hypervolume(np.array([[0.5, 1.5], [1.0, 0.5], [1.2, 1.7], [3.0, 0.0]])) == pytest.approx(0.75 + 1.0)
    assert hypervolume(np.empty((0, 2))) == 0
    with pytest.raises(UsageError, match="hypervolume of two losses needs points"):
        hypervolume(np.ones(3))


def test_no_digit_is_in_two_parts_and_labels_are_right() -> None:
    parts = {part: two_digits(part, 3000) for part in ("train", "val", "test")}
    used = {part: set(data.digits.flatten().tolist()) for part, data in parts.items()}
    assert not used["train"] & used["test"]
    assert not used["train"] & used["val"]
    assert not used["val"] & used["test"]
    assert len(set().union(*used.values())) > 1700
    one = two_digits("test", 400, seed=3)
    assert (one.digits[:, 0] != one.digits[:, 1]).all()
    from sklearn.datasets import load_digits

    assert (load_digits().target[one.digits.numpy()] == one.labels.numpy()).all()
    # what is not overlapped is the digit alone
    other = two_digits("test", 400, seed=4)
    same = (one.digits[:, None, 0] == other.digits[None, :, 0]).nonzero()
    first, second = same[0].tolist()
    free = slice(0, 16 - DIGIT)
    assert torch.equal(one.images[first, 0, free, :DIGIT], other.images[second, 0, free, :DIGIT])
    assert torch.equal(two_digits("test", 400, seed=3).images, one.images)
    with pytest.raises(UsageError, match="Did you mean 'test'"):
        two_digits("tset", 3)
    with pytest.raises(UsageError, match="1 or more images of two digits"):
        two_digits("test", 0)


def test_the_preference_decides_what_is_written() -> None:
    data, network = two_digits("train", 30), ParetoNetwork(TINY, seeded(0))
    rays = preferences(3)
    first = network.outputs(data.images, rays)
    torch.testing.assert_close(first[0], first[2])  # before training, the base for every preference
    fit(network, data, TINY, seeded(1))
    second = network.outputs(data.images, rays)
    assert not torch.allclose(second[0], second[2])
    # a preference alone is answered as among others
    torch.testing.assert_close(network.outputs(data.images, rays[1:2])[0], second[1], rtol=1e-4, atol=1e-4)
    single = ParetoNetwork(TINY, seeded(0), generated=False)
    fit(single, data, TINY, seeded(1), rays[0])
    again = single.outputs(data.images, rays)
    assert torch.equal(again[0], again[2])


def test_every_parameter_is_trained_and_losses_fall() -> None:
    data = two_digits("train", 200)
    network = ParetoNetwork(TINY, seeded(0))
    before = network.losses(data.images, data.labels, preferences(3)).mean().item()
    fit(network, data, ParetoConfig(width=16, context=8, hidden=16, steps=60, batch=64, lr=0.02), seeded(1))
    network.zero_grad()
    after = network.losses(data.images, data.labels, preferences(3)).mean()
    after.backward()
    assert after.item() < before - 0.3
    assert not [name for name, p in network.named_parameters() if p.grad is None or not p.grad.isfinite().all()]


def test_preferences_are_on_the_simplex_and_follow_their_generator() -> None:
    drawn = torch.stack([draw_preference(0.5, seeded(0, i)) for i in range(300)])
    torch.testing.assert_close(drawn.sum(1), torch.ones(300))
    assert drawn.min() >= 0
    # of a symmetric Dirichlet distribution with α = 1/2 the first part has mean 1/2 and variance 1/8
    assert drawn[:, 0].mean() == pytest.approx(0.5, abs=0.07)
    assert drawn[:, 0].var() == pytest.approx(0.125, abs=0.03)
    assert torch.equal(draw_preference(0.5, seeded(1)), draw_preference(0.5, seeded(1)))
    assert preferences(1).tolist() == [[0.5, 0.5]]


def test_rows_say_what_they_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genmeta.scenarios.pareto.TRAIN", 50)
    monkeypatch.setattr("genmeta.scenarios.pareto.TEST", 20)
    rows = pareto_rows(TINY, networks=2)
    assert [row.steps for row in rows.values()] == [6, 6, 6, 3, 12]
    assert [len(row.points) for row in rows.values()] == [2, 25, 2, 25, 2]
    assert rows["single networks"].parameters == 2 * sum(
        p.numel() for p in ParetoNetwork(TINY, seeded(0), generated=False).parameters()
    )
    assert all(0 <= row.volume <= 4 for row in rows.values())
    network = ParetoNetwork(TINY, seeded(0))
    data = two_digits("test", 20)
    (point,) = points_of(network, data, preferences(1))
    assert point.losses == pytest.approx(network.losses(data.images, data.labels, preferences(1))[0].tolist())


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(UsageError, match="every size of 1 or more"):
        ParetoConfig(width=0)
    with pytest.raises(UsageError, match="alpha and lr must be above 0"):
        ParetoConfig(alpha=0)
