"""Steps on codes: against finite differences, and what draws of one code share."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor
from toys import make_learner, make_method, make_task, normals, perturb

from genmeta.adapters import GradientAdapter, LatentAdapter
from genmeta.core.randomness import seeded
from genmeta.core.types import ROWS, Latent, Start, Weights
from genmeta.generators import LatentRows
from genmeta.generators.latent_rows import CODE
from genmeta.methods import MetaLearner

OPTIONS = {"code": 4, "hidden": 8, "latent_steps": 2, "row_steps": 1, "row_lr": 0.3}


def leo() -> MetaLearner:
    return perturb(make_method("leo", make_learner(), options=OPTIONS).double(), 0.1)


@pytest.mark.parametrize("training", [False, True])
def test_leo_steps_follow_finite_differences(training: bool) -> None:
    it, task = leo().train(training), make_task(n_tasks=2)
    features, _ = it.learner.features(task.support.images)
    with torch.no_grad():
        start = it.start(task.support, task.ways, seeded(1))
        *_, trajectory = it.answers(task, 3, seeded(1))
    assert start.latent is not None

    def loss(rows: Tensor) -> Tensor:
        return it.vision.loss(it.vision.outputs(features, rows), task.support.targets).detach().sum()

    codes = start.weights[CODE].detach()
    for step in range(2):
        slope, small = torch.zeros_like(codes), 1e-5
        for place in range(codes.numel()):
            nudge = torch.zeros_like(codes).view(-1).index_fill(0, torch.tensor([place]), small).view_as(codes)
            up, down = (loss(start.latent.decode({CODE: codes + way * nudge}, step)[ROWS]) for way in (1, -1))
            slope.view(-1)[place] = (up - down) / (2 * small)
        codes = codes - it.writer.alpha.detach() * task.ways * slope
        torch.testing.assert_close(trajectory[step + 1][CODE], codes, rtol=1e-5, atol=1e-7)
        torch.testing.assert_close(trajectory[step + 1][ROWS], start.latent.decode({CODE: codes}, step + 1)[ROWS])
    # then the rows move and the codes stay
    assert torch.equal(trajectory[3][CODE], trajectory[2][CODE])
    rows = trajectory[2][ROWS].detach().requires_grad_()
    value = it.vision.loss(it.vision.outputs(features.detach(), rows), task.support.targets).sum()
    (slope,) = torch.autograd.grad(value, rows)
    torch.testing.assert_close(trajectory[3][ROWS], rows - start.step_sizes[ROWS] * slope)


def test_leo_draws_in_training_and_decodes_means_in_use() -> None:
    it, task = leo(), make_task()
    for training, same in ((True, False), (False, True)):
        it.train(training)
        first, second = (it.start(task.support, task.ways, seeded(seed)).weights[ROWS] for seed in (1, 2))
        assert torch.equal(first, second) is same


def test_leo_pays_for_the_way_its_codes_went_through_the_encoder_alone() -> None:
    options = {**OPTIONS, "kl_weight": 0.0, "orthogonality": 0.0, "encoder_weight": 0.5}
    it, task = make_method("leo", make_learner(), options=options).double(), make_task()
    _, start, trajectory = it.answers(task, 3, seeded(1), differentiable=True)
    before, after = trajectory[0][CODE], trajectory[-1][CODE]
    torch.testing.assert_close(start.cost, 0.5 * (after - before).square().mean((1, 2)))
    (slope,) = torch.autograd.grad(start.cost.sum(), before)
    torch.testing.assert_close(slope, (before - after) / (before[0].numel()))


def test_orthogonal_directions_cost_nothing() -> None:
    with torch.random.fork_rng(devices=[]):
        writer = LatentRows(3, 5, 1.0, 0.0, 0.0, 1.0)
    with torch.no_grad():
        writer.decoder.weight.copy_(torch.eye(10)[:, :3] * 7)
        assert writer.correlation() < 1e-12
        writer.decoder.weight.copy_(torch.ones(10, 3))
        torch.testing.assert_close(writer.correlation(), torch.tensor(6 / 9))


def test_draws_that_share_a_code_move_it_by_their_mean_loss() -> None:
    noise = normals(2, 3, 4)  # two tasks, three draws, four weights
    target = normals(4, seed=1)

    def decode(at: Weights, step: int) -> Weights:
        return {ROWS: (at["code"][:, None] + noise).flatten(0, 1)}

    latent = Latent(
        ("code",),
        decode,
        {"code": torch.tensor(0.1, dtype=torch.float64)},
        lambda at: at["code"].square().sum(1),
        lambda at: at["code"].sum(1).repeat_interleave(3),
    )
    code = normals(2, 4, seed=2)
    start = Start({"code": code, **decode({"code": code}, 0)}, {}, torch.zeros(6), 3, latent)

    def loss(weights: Weights) -> Tensor:
        return 0.5 * (weights[ROWS] - target).square().sum(-1)

    for differentiable in (False, True):
        end = LatentAdapter().adapt(start, loss, 1, differentiable=differentiable)[-1]
        want = code - 0.1 * ((code[:, None] + noise - target).mean(1) + 2 * code)
        torch.testing.assert_close(end["code"], want)
        torch.testing.assert_close(end[ROWS], decode({"code": want}, 1)[ROWS])


def test_a_start_without_a_latent_is_the_wrong_part() -> None:
    start = Start({ROWS: normals(1, 2, 3)}, {}, torch.zeros(1))
    with pytest.raises(TypeError, match="need a start that has one"):
        LatentAdapter().adapt(start, lambda weights: weights[ROWS].sum((1, 2)), 1, differentiable=False)


def abml(**options: object) -> MetaLearner:
    return make_method("abml", make_learner(), options={"row_base": "constant", **options}).double().eval()


def test_abml_draws_anew_at_every_step() -> None:
    it, task = abml(samples=3), make_task()
    with torch.no_grad():
        _, start, trajectory = it.answers(task, 2, seeded(1))
    assert start.latent is not None
    for name in start.latent.names:
        assert trajectory[0][name].shape[0] == 3  # one for each task
    draws = [weights[ROWS].unflatten(0, (3, 3)) for weights in trajectory]
    noises = [
        (draw - weights["mean.rows"][:, None]) / weights["log_sigma.rows"].exp()[:, None]
        for draw, weights in zip(draws, trajectory, strict=True)
    ]
    assert not torch.allclose(noises[0], noises[1])
    assert not torch.allclose(noises[0][:, 0], noises[0][:, 1])


def test_abml_goes_down_the_support_loss_and_without_spread_is_anil() -> None:
    task = make_task()
    wide, narrow = abml(samples=100, row_sigma=0.5), abml(samples=2, row_sigma=1e-6, kl_weight=0.0)
    anil = make_method("anil", make_learner()).double().eval()
    features, _ = anil.learner.features(task.support.images)
    with torch.no_grad():
        ours, sharp, plain = (it.answers(task, 3, seeded(1))[2] for it in (wide, narrow, anil))
    losses = [anil.vision.loss(anil.vision.outputs(features, w["mean.rows"]), task.support.targets) for w in ours]
    for before, after in itertools.pairwise(losses):
        assert (after < before).all()
    torch.testing.assert_close(sharp[3]["mean.rows"], plain[3][ROWS], rtol=0, atol=1e-5)


def test_draws_that_move_on_their_own_are_one_maml_each() -> None:
    it, task = abml(samples=3, moves="draws", row_sigma=0.5), make_task()
    anil = make_method("anil", make_learner()).double().eval()
    with torch.no_grad():
        _, start, trajectory = it.answers(task, 2, seeded(1))
        draws = start.weights[ROWS].unflatten(0, (3, 3))
        assert start.latent is None
        assert (draws[:, 0] - draws[:, 1]).abs().mean() > 0.1
        features, _ = anil.learner.features(task.support.images)

    def loss(weights: Weights) -> Tensor:
        return anil.vision.loss(anil.vision.outputs(features, weights[ROWS]), task.support.targets)

    for s in range(3):
        alone = Start({ROWS: draws[:, s]}, start.step_sizes, torch.zeros(3))
        expected = GradientAdapter().adapt(alone, loss, 2, differentiable=False)
        for got, wanted in zip(trajectory, expected, strict=True):
            torch.testing.assert_close(got[ROWS].unflatten(0, (3, 3))[:, s], wanted[ROWS], rtol=1e-9, atol=1e-9)


def test_a_tensor_that_another_was_computed_from_gets_its_own_slope_only() -> None:
    base = normals(2, 3).requires_grad_()
    start = Start({"a": base, "b": 5 * base}, {name: torch.tensor(1.0) for name in "ab"}, torch.zeros(2))

    def loss(weights: Weights) -> Tensor:
        return (weights["a"] * weights["b"]).sum(-1)

    end = GradientAdapter().adapt(start, loss, 1, differentiable=True)[-1]
    torch.testing.assert_close(end["a"], base - 5 * base)
    torch.testing.assert_close(end["b"], 5 * base - base)
