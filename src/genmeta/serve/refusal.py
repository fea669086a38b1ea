"""What the page says no to, as one error that carries the HTTP status."""

from __future__ import annotations

from genmeta.core.errors import UsageError


class Refusal(UsageError):
    """A request that cannot be served; the message is shown in the page, in the words of its user.

    Attributes:
        status: HTTP status of the answer.
    """

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status
