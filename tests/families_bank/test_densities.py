"""The mathematics of each family against what is known: a Gaussian score, quadrature, a density written out."""

from __future__ import annotations

import math

import pytest
import torch
from toys import built, normals, perturb

from genmeta.core.randomness import seeded
from genmeta.generators import AutoregressiveGenerator, DiffusionGenerator, ImplicitGenerator, VariationalGenerator
from genmeta.generators.diffusion import sample, signal_levels
from genmeta.generators.vae import gaussian_kl

MEAN, SPREAD, N = 1.5, 0.4, 20000


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_with_the_exact_denoiser_of_a_gaussian_draws_are_that_gaussian(eta: float) -> None:
    signal = signal_levels(200).double()

    def denoise(u: torch.Tensor, level: int) -> torch.Tensor:
        a = signal[level]
        return (1 - a).sqrt() * (u - a.sqrt() * MEAN) / (a * SPREAD**2 + 1 - a)

    first = normals(N, 1)
    draws = sample(denoise, first, signal, 200, seeded(0), eta=eta)
    assert draws.mean().item() == pytest.approx(MEAN, abs=0.02)
    assert draws.std().item() == pytest.approx(SPREAD, abs=0.02)
    if not eta:  # the deterministic sampler is a monotone map from noise to draws
        order = first[:, 0].argsort()
        assert (draws[order].diff(dim=0) > 0).all()


def test_noise_levels_fall_from_almost_all_signal_to_almost_none() -> None:
    signal = signal_levels(100)
    assert (signal.diff() < 0).sum() >= 98
    assert signal[0] > 0.999
    assert signal[-1] < 2e-3


def test_guidance_pushes_away_from_the_blind_prediction() -> None:
    it = perturb(built(lambda: DiffusionGenerator(2, 3, levels=20, steps=4, hidden=16, blocks=1)), 0.3).eval()
    context = normals(5, 2)
    plain = it.draw(context, seeded(0))
    it.guidance = 0.5
    assert not torch.equal(it.draw(context, seeded(0)), plain)
    it.nothing.data.zero_()
    # where the context is the learned nothing and the gradient is zero there is nothing to be pushed away from
    blind = torch.zeros(5, 2, dtype=torch.float64)
    slope = torch.zeros(5, 4, dtype=torch.float64)
    one, level = torch.ones(5, 1, dtype=torch.float64), torch.full((5,), 3)
    u = normals(5, 3)
    torch.testing.assert_close(it._noise(u, level, blind, slope, one), it._noise(u, level, blind, slope, 0 * one))


def test_the_divergence_of_two_gaussians_is_the_integral() -> None:
    points = torch.linspace(-30, 30, 200001, dtype=torch.float64)
    for mean, log_std, other, other_log_std in ((0.3, -0.5, -1.0, 0.2), (2.0, 0.4, 2.0, 0.4), (0.0, 0.0, 1.0, -0.7)):
        p = torch.distributions.Normal(torch.tensor(mean).double(), math.exp(log_std)).log_prob(points)
        q = torch.distributions.Normal(torch.tensor(other).double(), math.exp(other_log_std)).log_prob(points)
        want = torch.trapezoid(p.exp() * (p - q), points)
        first, second = (
            tuple(torch.tensor(x).double() for x in pair) for pair in ((mean, log_std), (other, other_log_std))
        )
        torch.testing.assert_close(gaussian_kl(first, second), want, rtol=1e-6, atol=1e-9)


def test_the_evidence_bound_is_a_bound() -> None:
    """With one weight and one latent coordinate, ``log p(u | c)`` is an integral that can be taken."""
    it = perturb(built(lambda: VariationalGenerator(2, 1, latent=1, hidden=8, free_bits=0.0)), 0.3)
    context, u = normals(1, 2), torch.tensor([[0.7]], dtype=torch.float64)
    z = torch.linspace(-12, 12, 4001, dtype=torch.float64)[:, None]
    with torch.no_grad():
        mean, log_std = it.prior(context).chunk(2, -1)
        prior = torch.distributions.Normal(mean, log_std.exp()).log_prob(z)
        decoded = it._decode(z, context.expand(len(z), -1))
        likelihood = torch.distributions.Normal(decoded, it.log_std.exp()).log_prob(u)
        evidence = torch.trapezoid((prior + likelihood).exp()[:, 0], z[:, 0]).log()
        many = it.fit(u.expand(4000, 1), context.expand(4000, 2), seeded(0))
    bound = -many.mean()
    assert bound < evidence + 3 * many.std() / 4000**0.5
    assert bound > evidence - 2


def autoregressive(length: int, **settings: int) -> AutoregressiveGenerator:
    shape = {"chunk": 2, "components": 3, "width": 8, "layers": 1, "heads": 2, **settings}
    return perturb(built(lambda: AutoregressiveGenerator(2, length, **shape)), 0.3).eval()


def test_the_likelihood_is_the_product_over_chunks_written_out() -> None:
    it, context, u = autoregressive(5), normals(4, 2), normals(4, 5)
    total = torch.zeros(4, dtype=torch.float64)
    padded = torch.cat([u, torch.zeros(4, 1, dtype=torch.float64)], 1).view(4, 3, 2)
    for i in range(3):
        log_weights, means, log_stds = (part[:, -1] for part in it._mixtures(context, padded[:, :i]))
        density = torch.zeros(4, dtype=torch.float64)
        for m in range(3):
            each = torch.distributions.Normal(means[:, m], log_stds[:, m].exp()).log_prob(padded[:, i])
            kept = each[:, : 1 if i == 2 else 2]  # the last chunk's second place is padding
            density += log_weights[:, m].exp() * kept.sum(-1).exp()
        total += density.log()
    torch.testing.assert_close(it.log_likelihood(u, context), total)


def test_the_likelihood_integrates_to_one() -> None:
    it, grid = autoregressive(1), torch.linspace(-60, 60, 20001, dtype=torch.float64)
    context = normals(1, 2).expand(len(grid), 2)
    assert torch.trapezoid(it.log_likelihood(grid[:, None], context).exp(), grid).item() == pytest.approx(1, abs=1e-4)


def test_the_order_of_weights_is_causal() -> None:
    it, context, u = autoregressive(6), normals(1, 2), normals(1, 6)
    changed = u.clone()
    changed[:, 4:] += 1
    before, after = (it._mixtures(context, x.view(1, 3, 2)[:, :-1])[1] for x in (u, changed))
    torch.testing.assert_close(before, after)  # the last chunk conditions nothing
    changed[:, :2] += 1
    assert not torch.allclose(it._mixtures(context, changed.view(1, 3, 2)[:, :-1])[1][:, 1:], before[:, 1:])


def test_draws_follow_the_likelihood() -> None:
    """The mean log-likelihood of draws is minus the entropy, taken by quadrature."""
    it, grid = autoregressive(1), torch.linspace(-60, 60, 20001, dtype=torch.float64)
    one = normals(1, 2)
    with torch.no_grad():
        log_density = it.log_likelihood(grid[:, None], one.expand(len(grid), 2))
        draws = it.draw(one.expand(N, 2), seeded(0))
        mean = torch.trapezoid(log_density.exp() * grid, grid)
        entropy = -torch.trapezoid(log_density.exp() * log_density, grid)
        found = -it.log_likelihood(draws, one.expand(N, 2)).mean()
    assert draws.mean().item() == pytest.approx(mean.item(), abs=0.03)
    assert found.item() == pytest.approx(entropy.item(), abs=0.03)


@pytest.mark.parametrize("kind", ["implicit", "vae", "autoregressive", "diffusion"])
def test_without_noise_there_is_one_draw_and_it_follows_the_rows(kind: str) -> None:
    make = {
        "implicit": lambda: ImplicitGenerator(2, 3, hidden=8, truncation=0.0),
        "vae": lambda: VariationalGenerator(2, 3, latent=2, hidden=8, temperature=0.0),
        "autoregressive": lambda: AutoregressiveGenerator(2, 3, 2, width=8, layers=1, heads=2, temperature=0.0),
        "diffusion": lambda: DiffusionGenerator(2, 3, levels=20, steps=4, hidden=8, blocks=1, temperature=0.0),
    }[kind]
    it, context = perturb(built(make), 0.3).eval(), normals(4, 2)
    draw = it.draw(context, seeded(0))
    torch.testing.assert_close(it.draw(context, seeded(1)), draw)
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(it.draw(context[order], seeded(0)), draw[order])


def test_truncated_noise_stays_inside_and_keeps_its_shape() -> None:
    it = built(lambda: ImplicitGenerator(2, 3, noise=4, truncation=1.5)).eval()
    z = it.latent(torch.zeros(N, 2, dtype=torch.float64), seeded(0))
    assert z.abs().max() <= 1.5
    # of the normal truncated at ±1.5: variance 1 − 2·1.5·φ(1.5)/(2Φ(1.5)−1)
    assert z.var().item() == pytest.approx(0.5514, abs=0.01)
    assert it.train().latent(torch.zeros(N, 2, dtype=torch.float64), seeded(0)).abs().max() > 3
