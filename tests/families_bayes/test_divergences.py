"""Every divergence that a family pays, against numerical integration."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from toys import built, normals, perturb

from genmeta.core.randomness import seeded
from genmeta.core.spec import ParamSpec
from genmeta.core.types import ROWS, Context, Start
from genmeta.generators import AmortisedGaussian, GaussianStart, LatentRows, NeuralProcessGenerator
from genmeta.generators.vae import gaussian_kl


def integrated(first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]) -> Tensor:
    """``∫ q log(q / p)`` of one-dimensional Gaussians by the trapezoid rule; arguments are ``(mean, log std)``."""
    (mean, log_std), (other, other_log_std) = first, second
    unit = torch.linspace(-12, 12, 4001, dtype=torch.float64)
    x = mean[..., None] + log_std.exp()[..., None] * unit

    def log_density(mean: Tensor, log_std: Tensor) -> Tensor:
        z = (x - mean[..., None]) / log_std.exp()[..., None]
        return -0.5 * z.square() - log_std[..., None] - 0.5 * math.log(2 * math.pi)

    log_q = log_density(mean, log_std)
    return torch.trapezoid(log_q.exp() * (log_q - log_density(other, other_log_std)), x, dim=-1)


def standard(like: Tensor) -> tuple[Tensor, Tensor]:
    return torch.zeros_like(like), torch.zeros_like(like)


def test_the_closed_form_is_the_integral() -> None:
    first = (normals(7), 0.5 * normals(7, seed=1))
    second = (normals(7, seed=2), 0.5 * normals(7, seed=3))
    torch.testing.assert_close(gaussian_kl(first, second), integrated(first, second))
    assert (gaussian_kl(first, first).abs() < 1e-12).all()


def test_the_amortised_gaussian_pays_what_free_bits_leave() -> None:
    generator = perturb(built(lambda: AmortisedGaussian(4, 5, hidden=8, kl_weight=0.5, free_bits=0.4)), 0.3)
    context = normals(3, 4)
    moments = generator.moments(context, seeded(0))
    want = 0.5 * integrated(moments, standard(moments[0])).clamp_min(0.4).sum(-1)
    torch.testing.assert_close(generator(context, seeded(0)).cost, want)


def test_latent_rows_pay_the_mean_over_classes_and_coordinates() -> None:
    writer = built(lambda: LatentRows(3, 5, 1.0, kl_weight=0.7, encoder_weight=0.0, orthogonality=0.0))
    classes = 0.5 * normals(2, 4, 6)
    start = Start({ROWS: normals(2, 4, 5)}, {}, torch.zeros(2, dtype=torch.float64))
    cost = writer(start, Context(classes.mean(1), classes), seeded(0)).cost
    moments = (classes[..., :3], classes[..., 3:])
    torch.testing.assert_close(cost, 0.7 * integrated(moments, standard(moments[0])).mean((1, 2)))


def test_a_gaussian_start_pays_the_way_from_the_start() -> None:
    writer = built(lambda: GaussianStart(ParamSpec((("a", (3,)),), 4), sigma=0.3, row_sigma=0.5, kl_weight=0.2))
    weights = {"a": normals(2, 3).repeat_interleave(2, 0), ROWS: normals(2, 5, 4).repeat_interleave(2, 0)}
    alpha = torch.tensor(0.1, dtype=torch.float64)
    start = Start(weights, {"a": alpha, ROWS: alpha}, torch.zeros(4, dtype=torch.float64), samples=2)
    latent = writer(start, None, seeded(0)).latent
    assert latent is not None
    before = {name: writer(start, None, seeded(0)).weights[name] for name in latent.names}
    assert (latent.cost(before).abs() < 1e-9).all()
    after = {name: value + 0.3 * normals(*value.shape, seed=4) for name, value in before.items()}
    want = torch.zeros(2, dtype=torch.float64)
    for name in ("a", ROWS):
        pairs = ((codes["mean." + name], codes["log_sigma." + name]) for codes in (after, before))
        want += 0.2 * integrated(*pairs).flatten(1).sum(1)
    torch.testing.assert_close(latent.cost(after), want.repeat_interleave(2))


def test_a_neural_process_pays_posterior_against_prior() -> None:
    generator = built(lambda: NeuralProcessGenerator(4, 5, latent=3, hidden=8, free_bits=0.01))
    context, evidence = normals(6, 4), normals(6, 4, seed=1)

    def gaussian(of: Tensor) -> tuple[Tensor, Tensor]:
        mean, rho = generator.moments(of).chunk(2, -1)
        return mean, (0.1 + 0.9 * torch.sigmoid(rho)).log()

    want = integrated(gaussian(evidence), gaussian(context)).clamp_min(0.01).sum(-1)
    torch.testing.assert_close(generator.match(context, evidence, seeded(0)).cost, want)
    same = generator.match(context, context, seeded(0))
    torch.testing.assert_close(same.cost, torch.full((6,), 0.03, dtype=torch.float64))
    assert torch.equal(same.values, generator(context, seeded(0)).values)
