"""A run directory: settings, best model, resumable state, metrics; used by one process at a time."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from genmeta.core.errors import RunError
from genmeta.core.files import explain_os_error, write_json, write_text

CONFIG, STATE, METRICS, LOCK = "config.json", "last.ckpt", "metrics.jsonl", ".lock"


class RunDirectory:
    """``runs/<name>/`` with ``config.json``, ``model.safetensors``, ``last.ckpt``, ``metrics.jsonl`` and TensorBoard.

    Use as a context manager; it holds the directory's lock until it is left.

    Args:
        path: of the run.
        resume: go on with what is there; otherwise a run that has begun is refused.
        leads: this process writes. The others of a run only read; the lock is the leader's.

    Raises:
        RunError: without a name, in use by another process, already begun, nothing to resume, or not writable.
    """

    def __init__(self, path: str | Path, *, resume: bool = False, leads: bool = True) -> None:
        if not str(path):  # what an unset variable in a script leaves of --run "$RUN"
            raise RunError("The run directory has no name: it is ''. Give it one, as in --run runs/mine.")
        self.path = Path(path)
        self._metrics: IO[str] | None = None
        self._board: Any = None
        self._lock: IO[str] | None = None
        if leads:
            self._take(resume)

    def _take(self, resume: bool) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = (self.path / LOCK).open("a")
        except OSError as error:
            raise explain_os_error(error, self.path, "creating the run directory") from error
        try:
            # held by the open file, so it goes with the process, however that ends
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise RunError(
                f"The run directory {str(self.path)!r} is in use by another process. "
                "Wait for it, or choose another --run."
            ) from None
        for left in self.path.glob(".*.part"):
            left.unlink(missing_ok=True)  # begun by a process that was killed; we hold the lock, so nobody else's
        begun = (self.path / STATE).exists()
        if begun and not resume:
            self.close()
            raise RunError(
                f"The run directory {str(self.path)!r} already holds a run. Pass --resume to go on with it, "
                "or choose another --run."
            )

    def __enter__(self) -> RunDirectory:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()

    def close(self) -> None:
        """Flushes the logs and gives the lock back."""
        if self._metrics is not None:
            self._metrics.close()
        if self._board is not None:
            self._board.close()
        if self._lock is not None:
            self._lock.close()

    @property
    def state_path(self) -> Path:
        """Where the resumable state lies."""
        return self.path / STATE

    def forget(self) -> None:
        """Takes the state and the settings back: the directory holds no run any more."""
        for name in (STATE, CONFIG):
            (self.path / name).unlink(missing_ok=True)

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Saves the settings as data."""
        write_json(self.path / CONFIG, config)

    def read_config(self) -> dict[str, Any]:
        """The saved settings; empty if there are none."""
        file = self.path / CONFIG
        if not file.exists():
            return {}
        try:
            return dict(json.loads(file.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise RunError(f"{str(file)!r} is not readable JSON ({error}). Start a new run.") from error

    def truncate_metrics(self, step: int) -> None:
        """Drops logged lines past ``step``: they will be logged again after a resume."""
        file = self.path / METRICS
        if not file.exists():
            return
        kept = []
        for line in file.read_text(encoding="utf-8").splitlines():
            try:
                if json.loads(line)["step"] <= step:
                    kept.append(line + "\n")
            except (ValueError, KeyError, TypeError):
                continue  # the line that a crash cut short
        write_text(file, "".join(kept))

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """Appends a line to ``metrics.jsonl`` and the same numbers to the TensorBoard events."""
        try:
            if self._metrics is None:
                from torch.utils.tensorboard import SummaryWriter

                self._metrics = (self.path / METRICS).open("a", encoding="utf-8")
                self._board = SummaryWriter(str(self.path / "tensorboard"), purge_step=step)
            self._metrics.write(json.dumps({"step": step, **numbers}) + "\n")
            self._metrics.flush()
            os.fsync(self._metrics.fileno())  # the state that is saved next must not know more than the log
        except OSError as error:
            raise explain_os_error(error, self.path / METRICS, "logging to") from error
        for name, value in numbers.items():
            self._board.add_scalar(name, value, step)


def git_commit(directory: str | Path) -> str:
    """The commit of the checkout that holds ``directory``, or an empty string; ``+`` marks local changes."""
    import subprocess

    def git(*arguments: str) -> str:
        command = ["git", "-C", os.fspath(directory), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return ""
