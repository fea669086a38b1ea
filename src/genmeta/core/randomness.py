"""Randomness is an argument. Nothing in the library reads or moves the global generators."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Callable, Iterator

import numpy as np
import torch

from genmeta.core.transfer import sent

_LENT = threading.RLock()


def seeded(*parts: int | str) -> torch.Generator:
    """A CPU generator whose stream depends on every part and on nothing else: ``seeded(seed, "episode", 17)``."""
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


@contextlib.contextmanager
def lent_to_torch(rng: torch.Generator) -> Iterator[None]:
    """Seeds torch's global generator from ``rng`` for the length of a block, then puts it back as it was.

    For building torch's own layers, which draw their initial weights from the global generator. One thread at a time:
    otherwise one would put back what another has lent.
    """
    with _LENT, torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(0, 2**62, (), generator=rng, device="cpu")))
        yield


def numpy_rng(rng: torch.Generator) -> np.random.Generator:
    """A NumPy generator seeded by one draw from ``rng`` (so it advances ``rng`` by exactly one draw)."""
    seed = torch.randint(0, 2**62, (), generator=rng, dtype=torch.int64, device="cpu")
    return np.random.default_rng(int(seed))


class TaskStreams(torch.Generator):
    """A generator that also holds a stream of its own for each task of a meta-batch.

    What is drawn for a task then depends on the task's place in the meta-batch and on nothing else, so noise is the
    same however the batch is cut into chunks or dealt out to processes. Draws that belong to no task come from the
    generator itself, as ever.

    Args:
        parts: as for :func:`seeded`.
    """

    def __new__(cls, *parts: int | str) -> TaskStreams:
        return super().__new__(cls)

    def __init__(self, *parts: int | str) -> None:
        self.manual_seed(seeded(*parts).initial_seed())
        self._parts = parts
        self._streams: dict[int, torch.Generator] = {}

    def of(self, first: int, count: int) -> torch.Generator:
        """The streams of ``count`` tasks from the one at ``first`` on; each goes on where its last draw left it."""
        for task in range(first, first + count):
            if task not in self._streams:
                self._streams[task] = seeded(*self._parts, "task", task)
        return _Window([self._streams[task] for task in range(first, first + count)])


class _Window(torch.Generator):
    """The streams of some tasks: an axis of ``T * m`` draws takes ``m`` from each, those of a task in a row."""

    def __new__(cls, streams: list[torch.Generator]) -> _Window:
        return super().__new__(cls)

    def __init__(self, streams: list[torch.Generator]) -> None:
        self.streams = streams


def of_tasks(rng: torch.Generator, first: int, count: int) -> torch.Generator:
    """The streams of some tasks where ``rng`` has such; an ordinary generator as it is."""
    return rng.of(first, count) if isinstance(rng, TaskStreams) else rng


def _draw(
    draw: Callable[[tuple[int, ...], torch.Generator], torch.Tensor], shape: tuple[int, ...], rng: torch.Generator
) -> torch.Tensor:
    if not isinstance(rng, _Window):
        return draw(shape, rng)
    each, rest = divmod(shape[0], len(rng.streams))
    if rest:
        raise TypeError(f"{shape[0]} draws cannot be dealt out to {len(rng.streams)} tasks")
    return torch.cat([draw((each, *shape[1:]), stream) for stream in rng.streams])


def normal(shape: tuple[int, ...], like: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Standard normal noise in the dtype and on the device of ``like``; drawn on the CPU, so equal on every device."""
    drawn = _draw(lambda s, g: torch.randn(s, generator=g, dtype=torch.float32), tuple(shape), rng)
    return sent(drawn.to(like.dtype), like.device)


def uniform(shape: tuple[int, ...], rng: torch.Generator) -> torch.Tensor:
    """Noise that is uniform in ``[0, 1)``, float32, on the CPU."""
    return _draw(lambda s, g: torch.rand(s, generator=g), tuple(shape), rng)


def forked(rng: torch.Generator) -> Callable[..., torch.Generator]:
    """A family of generators, one for each list of parts, that one draw from ``rng`` (from each task's stream) names.

    For noise that is asked for again: the same parts give the same noise.
    """
    if isinstance(rng, _Window):
        families = [forked(stream) for stream in rng.streams]
        return lambda *parts: _Window([family(*parts) for family in families])
    seed = int(torch.randint(0, 2**62, (), generator=rng, device="cpu"))
    return lambda *parts: seeded(seed, *parts)
