"""What classification means: losses, tokens, rows."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from toys import normals

from genmeta.vision import Classification

TARGETS = torch.tensor([[0, 2, 1, 2], [1, 1, 0, 2]])


def test_the_loss_is_least_at_the_truth() -> None:
    vision = Classification()
    truth = 10 * F.one_hot(TARGETS, 3).double()
    least = vision.loss(truth, TARGETS)
    assert (least < 2e-4).all()
    for to in ([1, 0, 2], [2, 1, 0], [0, 2, 1], [1, 2, 0]):
        wrong = vision.loss(truth[..., to], TARGETS)
        assert (wrong > least + 1).all()
    noisy = [vision.loss(truth + normals(2, 4, 3, seed=i) * 20, TARGETS) for i in range(20)]
    assert all((loss > least).any() for loss in noisy)


def test_the_loss_is_the_mean_of_each_task_in_nats() -> None:
    vision, logits = Classification(), normals(2, 4, 3)
    torch.testing.assert_close(vision.loss(torch.zeros(2, 4, 3), TARGETS), torch.full((2,), math.log(3)))
    for t in range(2):
        want = F.cross_entropy(logits[t], TARGETS[t])
        torch.testing.assert_close(vision.loss(logits, TARGETS)[t], want)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_token_speaks_for_one_class(dtype: torch.dtype) -> None:
    features = normals(2, 4, 5).to(dtype)
    tokens = Classification().tokens(features, TARGETS, 4)
    assert tokens.membership is not None
    assert tokens.values is features
    assert tokens.membership.dtype == dtype
    assert (tokens.membership.sum(2) == 1).all()
    assert tokens.membership.sum(1).tolist() == [[1, 1, 2, 0], [1, 2, 1, 0]]
    assert torch.equal(tokens.membership.argmax(2), TARGETS)


def test_without_targets_tokens_speak_for_none() -> None:
    assert Classification().tokens(normals(2, 4, 5), None, 3).membership is None


def test_a_row_is_weights_and_a_bias() -> None:
    vision, features = Classification(), normals(2, 4, 5)
    rows = normals(2, 3, vision.row_length(5))
    outputs = vision.outputs(features, rows)
    for t, n, k in ((0, 0, 0), (1, 3, 2)):
        torch.testing.assert_close(outputs[t, n, k], features[t, n] @ rows[t, k, :5] + rows[t, k, 5])
