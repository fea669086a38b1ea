"""What every generator promises, whatever its family."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from toy_generators import AT_THE_BASE, CONTEXT, GENERATORS, trained
from toys import normals

import genmeta.generators
from genmeta.core.randomness import seeded
from genmeta.generators import HyperNetwork
from genmeta.generators.base import ParameterGenerator
from genmeta.generators.standardised import FittedGenerator, StandardisedGenerator

#: Meta-steps that fitting takes where it takes more than a few.
FITTING_STEPS = {"autoregressive": 400, "diffusion": 1200}

every_generator = pytest.mark.parametrize("name", GENERATORS)


def test_no_generator_is_forgotten() -> None:
    public = {thing for thing in vars(genmeta.generators).values() if inspect.isclass(thing)}
    families = {c for c in public if issubclass(c, ParameterGenerator) and not inspect.isabstract(c)}
    assert families == {type(make()) for make in GENERATORS.values()}


@every_generator
def test_the_same_rng_writes_the_same(name: str) -> None:
    generator, context = trained(name), normals(3, CONTEXT)
    first, second = (generator(context, seeded(1)) for _ in range(2))
    assert torch.equal(first.values, second.values)
    assert torch.equal(first.cost, second.cost)
    assert first.values.shape == (3, generator.length)
    assert first.cost.shape == (3,)


@every_generator
def test_only_the_own_context_matters(name: str) -> None:
    generator, context = trained(name), normals(3, CONTEXT)
    before = generator(context, seeded(1))
    other = context.clone()
    other[1] = 9.0
    after = generator(other, seeded(1))
    for t in (0, 2):
        torch.testing.assert_close(before.values[t], after.values[t], rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(before.cost[t], after.cost[t], rtol=1e-12, atol=1e-12)


@every_generator
def test_every_parameter_gets_a_finite_gradient(name: str) -> None:
    generator = trained(name)
    written = generator(normals(3, CONTEXT), seeded(1))
    if not list(generator.parameters()):
        assert not written.values.requires_grad
        return
    loss = written.values.square().sum() + written.cost.sum()
    if isinstance(generator, FittedGenerator):
        loss = loss + generator.fit(normals(3, generator.length, seed=1), normals(3, CONTEXT), seeded(2)).sum()
    loss.backward()
    for parameter_name, parameter in generator.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name
        assert parameter.grad.abs().max() > 0, parameter_name


@every_generator
def test_saved_and_loaded_it_writes_the_same(name: str, tmp_path: Path) -> None:
    generator, context = trained(name), normals(2, CONTEXT)
    save_file(generator.state_dict(), tmp_path / "g.safetensors")
    again = GENERATORS[name]()
    again.load_state_dict(load_file(tmp_path / "g.safetensors"))
    assert torch.equal(generator(context, seeded(1)).values, again(context, seeded(1)).values)


@every_generator
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_dtype_follows(name: str, dtype: torch.dtype) -> None:
    written = trained(name).to(dtype)(normals(2, CONTEXT).to(dtype), seeded(1))
    assert written.values.dtype == written.cost.dtype == dtype


@pytest.mark.parametrize("name", AT_THE_BASE)
def test_it_starts_at_the_base(name: str) -> None:
    # weights are base + scale · values, and the base is a good initialisation
    assert (GENERATORS[name]()(normals(2, CONTEXT), seeded(1)).values == 0).all()


@every_generator
def test_costs_are_not_negative(name: str) -> None:
    assert (trained(name)(normals(20, CONTEXT), seeded(1)).cost >= 0).all()


def test_chunks_differ_from_the_start() -> None:
    generator = GENERATORS["hypernet in chunks"]()
    assert isinstance(generator, HyperNetwork)
    assert generator.n_chunks == 9
    assert torch.pdist(generator.chunks.detach()).min() > 0.1


def test_the_penalty_is_the_mean_square() -> None:
    generator = trained("hypernet")
    assert isinstance(generator, HyperNetwork)
    generator.penalty = 0.5
    written = generator(normals(3, CONTEXT), seeded(1))
    torch.testing.assert_close(written.cost, 0.5 * (written.values**2).sum(1) / generator.length)


@pytest.mark.parametrize("name", [name for name in GENERATORS if name != "constant"])
def test_it_fits_a_conditional_map(name: str) -> None:
    generator = GENERATORS[name]()

    def pairs(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        context = normals(64, CONTEXT, seed=seed)
        return context, torch.sin(context[:, :2]).repeat(1, generator.length)[:, : generator.length]

    optimizer = torch.optim.Adam(generator.parameters(), lr=0.01)
    for step in range(FITTING_STEPS.get(name, 120)):
        context, wanted = pairs(step)
        optimizer.zero_grad()
        if isinstance(generator, FittedGenerator):
            loss = generator.fit(wanted, context, seeded(step)).mean()
        else:
            loss = (generator(context, seeded(step)).values - wanted).square().mean()
        loss.backward()
        optimizer.step()
    context, wanted = pairs(-1)
    with torch.no_grad():
        drawn = torch.stack([generator.eval()(context, seeded(draw)).values for draw in range(8)]).mean(0)
    # a generator deaf to its context could do no better than the spread of what is wanted
    assert (drawn - wanted).square().mean() < 0.2 * wanted.var(0).mean()


@pytest.mark.parametrize("name", [name for name in GENERATORS if isinstance(GENERATORS[name](), StandardisedGenerator)])
def test_values_are_in_the_units_of_the_bank(name: str) -> None:
    generator, context = trained(name), normals(2, CONTEXT)
    assert isinstance(generator, StandardisedGenerator)
    before = generator(context, seeded(1)).values
    mean, std = normals(generator.length), 2 + normals(generator.length, seed=1).abs()
    generator.set_statistics(mean, std)
    after = generator(context, seeded(1)).values
    torch.testing.assert_close(after, mean + std * before)
    torch.testing.assert_close(generator.standardise(after), before)
