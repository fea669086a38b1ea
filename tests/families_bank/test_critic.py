"""The critic's games, and its gradient penalty against finite differences and a second derivative taken by hand."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from toys import built, normals

from genmeta.core.errors import UsageError
from genmeta.encoders import BlankEncoder
from genmeta.methods.adversarial import mode_seeking
from genmeta.methods.critic import GAMES, Critic, critic_loss, generator_loss, gradient_penalty

LENGTH, CONTEXT, ROWS = 3, 2, 5


def critic(game: str = "wgan-gp") -> Critic:
    return built(lambda: Critic(BlankEncoder(CONTEXT), CONTEXT, LENGTH, game, hidden=8))


def test_the_penalty_agrees_with_finite_differences() -> None:
    it, rows, condition = critic(), normals(ROWS, LENGTH), normals(ROWS, CONTEXT)
    step, slopes = 1e-6, []
    for i in range(LENGTH):
        shift = step * F.one_hot(torch.tensor(i), LENGTH)
        slopes.append((it(rows + shift, condition) - it(rows - shift, condition)) / (2 * step))
    want = ((torch.stack(slopes, -1).norm(dim=-1) - 1) ** 2).mean()
    got = gradient_penalty(lambda w: it(w, condition), rows)
    torch.testing.assert_close(got, want, rtol=1e-6, atol=1e-8)


def test_the_penaltys_own_gradient_agrees_with_finite_differences() -> None:
    it, rows, condition = critic(), normals(ROWS, LENGTH), normals(ROWS, CONTEXT)
    weight = it.score[0].weight
    (slope,) = torch.autograd.grad(gradient_penalty(lambda w: it(w, condition), rows), weight)
    for place in ((0, 0), (3, 1), (7, 4)):
        values = []
        for step in (1e-6, -1e-6):
            with torch.no_grad():
                weight[place] += step
            values.append(gradient_penalty(lambda w: it(w, condition), rows).item())
            with torch.no_grad():
                weight[place] -= step
        assert slope[place].item() == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-4, abs=1e-7)


def test_the_penalty_of_a_linear_score_is_known() -> None:
    direction = torch.tensor([3.0, 4.0, 0.0], dtype=torch.float64)
    assert gradient_penalty(lambda w: w @ direction, normals(ROWS, LENGTH)).item() == pytest.approx(16)  # (5 − 1)²


def test_games_are_what_they_say() -> None:
    real, fake, condition, mix = normals(ROWS, LENGTH), normals(ROWS, LENGTH, seed=1), normals(ROWS, CONTEXT), 0.5
    mix = torch.full((ROWS, 1), mix, dtype=torch.float64)
    for game in GAMES:
        it = critic(game).eval()
        a, b = it(real, condition), it(fake, condition)
        loss, logs = critic_loss(it, real, fake, condition, mix, penalty=10.0)
        want = {
            "wgan-gp": b.mean()
            - a.mean()
            + 10 * gradient_penalty(lambda w, it=it: it(w, condition), (real + fake) / 2),
            "hinge": F.relu(1 - a).mean() + F.relu(1 + b).mean(),
            "minmax": -F.logsigmoid(a).mean() - torch.log(1 - torch.sigmoid(b)).mean(),
        }[game]
        torch.testing.assert_close(loss, want)
        assert logs["critic_gap"] == pytest.approx((a - b).mean().item())
        generator = -F.logsigmoid(b).mean() if game == "minmax" else -b.mean()
        torch.testing.assert_close(generator_loss(it, fake, condition), generator)


def test_the_critics_loss_does_not_reach_the_generator() -> None:
    it, fake = critic(), normals(ROWS, LENGTH).requires_grad_()
    condition, mix = normals(ROWS, CONTEXT), normals(ROWS, 1).sigmoid()
    loss, _ = critic_loss(it, normals(ROWS, LENGTH, seed=1), fake, condition, mix, 10.0)
    loss.backward()
    assert fake.grad is None


def test_spectral_norm_bounds_the_hinge_critic() -> None:
    it = critic("hinge")
    for _ in range(50):
        it(normals(ROWS, LENGTH), normals(ROWS, CONTEXT))  # power iterations
    for layer in (it.score[0], it.score[2], it.score[4]):
        assert torch.linalg.matrix_norm(layer.weight, 2).item() == pytest.approx(1, abs=1e-3)


def test_mode_seeking_grows_with_heed() -> None:
    z = [normals(ROWS, 4, seed=seed) for seed in (0, 1)]
    weak, strong = (mode_seeking(scale * z[0], scale * z[1], *z) for scale in (0.1, 1.0))
    assert strong.item() == pytest.approx(0, abs=1e-4)
    assert weak.item() == pytest.approx(-2.302585, abs=1e-3)


def test_an_unknown_adversary_is_refused() -> None:
    with pytest.raises(UsageError, match=r"Unknown adversary 'hinged'.*hinge"):
        critic("hinged")


@pytest.mark.parametrize("game", GAMES)
def test_gradients_are_those_of_the_game_played_in_two_steps(game: str) -> None:
    it, noise, condition = critic(game).eval(), normals(ROWS, 4), normals(ROWS, CONTEXT)
    generator, mix = normals(4, LENGTH, seed=2).requires_grad_(), normals(ROWS, 1).sigmoid()
    real, parameters = normals(ROWS, LENGTH, seed=1), list(it.parameters())
    # at once: one graph from the noise through the generator to the critic's scores
    fake = noise @ generator
    loss, _ = critic_loss(it, real, fake, condition, mix, 10.0)
    at_once = torch.autograd.grad(loss, parameters, allow_unused=True)
    (learnt,) = torch.autograd.grad(generator_loss(it, fake, condition), generator)
    # in two steps: rows that are numbers for the critic; then the generator's rows follow the critic's slope there
    numbers = (noise @ generator).detach()
    loss, _ = critic_loss(it, real, numbers, condition, mix, 10.0)
    for one, two in zip(at_once, torch.autograd.grad(loss, parameters, allow_unused=True), strict=True):
        assert (one is None) == (two is None)
        if one is not None and two is not None:
            torch.testing.assert_close(one, two)
    numbers.requires_grad_()
    (slope,) = torch.autograd.grad(generator_loss(it, numbers, condition), numbers)
    torch.testing.assert_close(learnt, noise.T @ slope)
    assert learnt.abs().sum() > 0
