"""Randomness is an argument. Nothing in the library reads or moves the global generators."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator

import numpy as np
import torch


def seeded(*parts: int | str) -> torch.Generator:
    """A CPU generator whose stream depends on every part and on nothing else: ``seeded(seed, "episode", 17)``."""
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


@contextlib.contextmanager
def lent_to_torch(rng: torch.Generator) -> Iterator[None]:
    """Seeds torch's global generator from ``rng`` for the length of a block, then puts it back as it was.

    For building torch's own layers, which draw their initial weights from the global generator.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(0, 2**62, (), generator=rng)))
        yield


def numpy_rng(rng: torch.Generator) -> np.random.Generator:
    """A NumPy generator seeded by one draw from ``rng`` (so it advances ``rng`` by exactly one draw)."""
    seed = torch.randint(0, 2**62, (), generator=rng, dtype=torch.int64)
    return np.random.default_rng(int(seed))


def normal(shape: tuple[int, ...], like: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Standard normal noise in the dtype and on the device of ``like``; drawn on the CPU, so equal on every device."""
    return torch.randn(shape, generator=rng, dtype=torch.float32).to(like)
