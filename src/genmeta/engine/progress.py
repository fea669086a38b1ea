"""Progress of long work on stderr: a live bar on a terminal, now and then a line elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class ProgressBar:
    """A bar with free text, e.g. loss, accuracy and tasks/s.

    Args:
        title: what is going on.
        total: how many steps it has.
        show: off makes every method a no-op.
        every: seconds between lines where stderr is no terminal.
    """

    #: Seconds between two notes on a live bar.
    REFRESH = 0.2

    def __init__(self, title: str, total: int, *, show: bool = True, every: float = 30.0) -> None:
        self._console = Console(stderr=True, markup=False, emoji=False)  # titles hold names of files
        self._show, self._title, self._total, self._every = show, title, total, every
        self._last, self._note = time.monotonic(), ""
        self._bar: Progress | None = None
        if show and self._console.is_terminal:
            title_column = TextColumn("{task.description}", markup=False)
            columns = (title_column, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
                       TextColumn("{task.fields[note]}"))  # fmt: skip
            self._bar = Progress(*columns, console=self._console, transient=True)
            self._task = self._bar.add_task(title, total=total, note="")

    def __enter__(self) -> ProgressBar:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, done: int, note: str | Callable[[], str] = "") -> None:
        """Says how many steps are done. A note that costs something is a function, called when it is to be shown."""
        now = time.monotonic()
        due = self._show and now - self._last > (self._every if self._bar is None else self.REFRESH)
        if due:
            self._last, self._note = now, note if isinstance(note, str) else note()
        if self._bar is not None:
            self._bar.update(self._task, completed=done, note=self._note)
        elif due:
            self._console.print(f"{self._title} {done}/{self._total} {self._note}", highlight=False)
