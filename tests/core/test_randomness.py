"""Randomness is an argument: streams differ by name, and by nothing else."""

from __future__ import annotations

import torch
from toys import normals

from genmeta.core.randomness import normal, numpy_rng, seeded


def test_a_stream_depends_on_every_part_and_its_place() -> None:
    parts = [(0,), (1,), (0, "a"), ("a", 0), (0, "a", 1), (0, "a1")]
    draws = {torch.randint(0, 2**62, (), generator=seeded(*p)).item() for p in parts}
    assert len(draws) == len(parts)
    assert torch.equal(torch.rand(3, generator=seeded(0, "a")), torch.rand(3, generator=seeded(0, "a")))


def test_numpy_generators_take_one_draw() -> None:
    first, second = seeded(0), seeded(0)
    assert numpy_rng(first).random() == numpy_rng(second).random()
    torch.randint(0, 2**62, (), generator=seeded(0))
    assert numpy_rng(first).random() != numpy_rng(seeded(0)).random()
    skipped = seeded(0)
    torch.randint(0, 2**62, (), generator=skipped)
    numpy_rng(skipped)
    assert torch.equal(first.get_state(), skipped.get_state())


def test_noise_follows_the_dtype_and_is_the_same_in_all() -> None:
    double, single = normal((4,), normals(1), seeded(0)), normal((4,), normals(1).float(), seeded(0))
    assert (double.dtype, single.dtype) == (torch.float64, torch.float32)
    assert torch.equal(double, single.double())
