"""Work that takes time leaves the thread that answers requests, in lanes of bounded width, first come first served."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, Literal, TypeVar

from genmeta.core.errors import GenmetaError
from genmeta.serve.refusal import Refusal

Result = TypeVar("Result")
State = Literal["waiting", "running", "done", "failed"]


class Ticket(Generic[Result]):
    """One piece of work in a lane: where it stands, and what came of it."""

    def __init__(self) -> None:
        self.state: State = "waiting"
        self.result: Result | None = None
        self.error = ""
        self.began = 0.0
        self.task: asyncio.Task[None] | None = None

    @property
    def seconds(self) -> float:
        """How long it has been running."""
        return time.monotonic() - self.began if self.state == "running" else 0.0

    @property
    def over(self) -> bool:
        """Whether it ended, well or not."""
        return self.state in ("done", "failed")

    def cancel(self) -> None:
        """Gives up a place in the queue; what runs already is left to end, and its result dropped."""
        if self.task is not None:
            self.task.cancel()


class Lane:
    """A queue with ``width`` workers."""

    def __init__(self, name: str, width: int, waiting: int) -> None:
        self._pool = ThreadPoolExecutor(width, thread_name_prefix=f"genmeta-{name}")
        self._places = asyncio.Semaphore(width)
        self._queue: list[Ticket] = []
        self._width, self._waiting = width, waiting

    def submit(self, work: Callable[[], Result], then: Callable[[Result], None]) -> Ticket[Result]:
        """Queues work; ``then`` gets its result on the thread that answers requests.

        Raises:
            Refusal: too much waits already.
        """
        if len(self._queue) >= self._width + self._waiting:
            raise Refusal("Too many people are waiting right now. Try again in a minute.", 503)
        ticket: Ticket[Result] = Ticket()
        self._queue.append(ticket)
        ticket.task = asyncio.get_running_loop().create_task(self._run(ticket, work, then))
        ticket.task.add_done_callback(_log)
        return ticket

    def ahead(self, ticket: Ticket) -> int:
        """How many must end before the ticket's turn comes."""
        return max(0, self._queue.index(ticket) - self._width + 1) if ticket in self._queue else 0

    async def call(self, work: Callable[[], Result]) -> Result:
        """Queues work and waits for what it returns or raises."""
        if len(self._queue) >= self._width + self._waiting:
            raise Refusal("Too many people are waiting right now. Try again in a minute.", 503)
        ticket: Ticket[Result] = Ticket()
        self._queue.append(ticket)
        try:
            async with self._places:
                return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._queue.remove(ticket)

    def close(self) -> None:
        """Takes no more work."""
        for ticket in list(self._queue):
            ticket.cancel()
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _run(self, ticket: Ticket[Result], work: Callable[[], Result], then: Callable[[Result], None]) -> None:
        try:
            async with self._places:
                ticket.state, ticket.began = "running", time.monotonic()
                ticket.result = await asyncio.get_running_loop().run_in_executor(self._pool, work)
            ticket.state = "done"
            then(ticket.result)
        except GenmetaError as error:
            ticket.state, ticket.error = "failed", str(error)
        except asyncio.CancelledError:
            ticket.state, ticket.error = "failed", "It was given up."
            raise
        finally:
            if not ticket.over:
                # an error that nobody foresaw: the log has it, the page says so in its own words
                ticket.state, ticket.error = "failed", "Something went wrong here that should not have. Try again."
            self._queue.remove(ticket)


def _log(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logging.getLogger(__name__).error("Work failed in a way that nobody foresaw.", exc_info=error)
