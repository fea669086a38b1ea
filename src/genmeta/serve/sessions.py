"""Visitors: each has a secret token, and what they made is found by it alone. All of it is in memory."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from genmeta.serve.adapting import Adapted
from genmeta.serve.board import Board
from genmeta.serve.limits import Limits
from genmeta.serve.refusal import Refusal
from genmeta.serve.work import Ticket


@dataclass
class Session:
    """What one visitor made.

    Attributes:
        token: the secret that names the visitor.
        board: classes and images.
        checkpoint: name of the checkpoint that is adapted.
        ticket: the last adaptation asked for.
        adapted: the last adaptation that succeeded.
        seen: when the visitor was last heard of, in seconds of `Sessions`' clock.
    """

    token: str
    board: Board
    checkpoint: str
    seen: float
    ticket: Ticket[Adapted] | None = None
    adapted: Adapted | None = None


@dataclass
class Sessions:
    """All visitors. Used by one thread, the one that answers requests.

    Attributes:
        limits: see `Limits`.
        clock: seconds; replaced by tests.
    """

    limits: Limits
    clock: Callable[[], float] = time.monotonic
    _all: dict[str, Session] = field(default_factory=dict)

    def open(self, checkpoint: str) -> Session:
        """A new visitor.

        Raises:
            Refusal: there are as many as the machine can take.
        """
        self.forget_idle()
        if len(self._all) >= self.limits.sessions:
            raise Refusal("Too many people are using this page right now. Try again in a few minutes.", 503)
        session = Session(secrets.token_urlsafe(24), Board(self.limits), checkpoint, self.clock())
        self._all[session.token] = session
        return session

    def find(self, token: str | None) -> Session:
        """The visitor with that token.

        Raises:
            Refusal: there is none, or it was silent for too long.
        """
        self.forget_idle()
        session = self._all.get(token or "")
        if session is None:
            raise Refusal("This session has ended, and its images are gone. Reload the page to begin again.", 410)
        session.seen = self.clock()
        return session

    def close(self, token: str) -> None:
        """Forgets a visitor and stops what they wait for."""
        session = self._all.pop(token, None)
        if session is not None and session.ticket is not None:
            session.ticket.cancel()

    def forget_idle(self) -> None:
        """Closes every session that was silent for longer than the limit."""
        oldest = self.clock() - 60 * self.limits.idle_minutes
        for token in [token for token, session in self._all.items() if session.seen < oldest]:
            self.close(token)

    def close_all(self) -> None:
        """Forgets everybody."""
        for token in list(self._all):
            self.close(token)

    def check_memory(self, size: int) -> None:
        """Refuses ``size`` more bytes where all visitors together would hold too many."""
        if size + sum(session.board.size for session in self._all.values()) > 1e6 * self.limits.memory_mb:
            raise Refusal("This page has no room for more images right now. Remove some, or try again later.", 503)

    def __len__(self) -> int:
        return len(self._all)
