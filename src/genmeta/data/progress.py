"""A progress bar that appears only when there is something to wait for and someone to watch."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
PATIENCE_SECONDS = 2.0


def track(items: Iterable[T], total: int, doing: str) -> Iterator[T]:
    """Yields ``items``; after two seconds shows a bar on stderr, if that is a terminal."""
    start = time.monotonic()
    iterator = iter(items)
    done = 0
    for item in iterator:
        yield item
        done += 1
        if time.monotonic() - start > PATIENCE_SECONDS:
            break
    else:
        return
    if not sys.stderr.isatty():
        yield from iterator
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task(doing, total=total, completed=done)
        for item in iterator:
            yield item
            progress.advance(bar)
