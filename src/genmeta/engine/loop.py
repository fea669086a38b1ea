"""The meta-training loop. It knows losses, an optimiser and a run directory, and nothing of meta-learning."""

from __future__ import annotations

import contextlib
import functools
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any

from lightning_fabric import Fabric
from torch import Tensor, nn

from genmeta.core.errors import GenmetaError, RunError
from genmeta.engine.checkpoint import load_state, save_state
from genmeta.engine.faults import Faults
from genmeta.engine.optimisers import Optimisers, Part, Player
from genmeta.engine.progress import ProgressBar
from genmeta.engine.reading import read_numbers, runs_ahead
from genmeta.engine.run_directory import RunDirectory
from genmeta.engine.workers import ALONE, Workers


@dataclass(frozen=True)
class LoopConfig:
    """Settings of the loop.

    Attributes:
        steps: meta-steps.
        lr: peak learning rate of Adam; a linear warm-up over 2 % of the steps, then a cosine down to 1 % of it.
        clip: largest norm of the meta-gradient.
        validate_every: steps between validations.
        save_seconds: seconds between saves of the resumable state.
        on_nonfinite: what a loss or gradient that is not finite does: ``stop`` ends the run, ``skip`` leaves it out.
    """

    steps: int
    lr: float = 1e-3
    clip: float = 10.0
    validate_every: int = 200
    save_seconds: float = 30.0
    on_nonfinite: str = "stop"


@dataclass(frozen=True)
class LoopResult:
    """How a run ended.

    Attributes:
        step: steps done.
        best: best validation score, ``nan`` without validation.
        finished: all steps were done; otherwise it was interrupted and can be resumed.
        seconds: of training, over all resumptions.
        cpu_seconds: that the process was on a core for, over all resumptions; all cores count, waiting does not.
    """

    step: int
    best: float
    finished: bool
    seconds: float
    cpu_seconds: float


class Interruption:
    """Turns SIGINT and SIGTERM into a wish to stop after the current step."""

    def __init__(self) -> None:
        self.wanted = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interruption:
        # only the main thread may set handlers; elsewhere the caller's own rule
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.wanted:
            raise KeyboardInterrupt  # asked twice: stop now, the last saved state stands
        self.wanted = True

    def __exit__(self, *details: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


def run_loop(
    fabric: Fabric,
    module: nn.Module,
    losses: Callable[[int], Iterator[Part]],
    validate: Callable[[], float] | None,
    keep_best: Callable[[], None],
    run: RunDirectory,
    config: LoopConfig,
    *,
    players: Mapping[str, Player] | None = None,
    resume: bool = False,
    title: str = "training",
    tasks_per_step: int = 1,
    progress: bool = True,
    describe: Callable[[int, float, float], str] | None = None,
    workers: Workers = ALONE,
) -> LoopResult:
    """Trains ``module`` in place.

    Args:
        fabric: device and precision.
        module: everything that has trainable parameters.
        losses: step number -> the parts of that step's loss. It must be a function of the step number alone, which is
            what makes a resumed run equal to an uninterrupted one, bit for bit on a CPU.
        validate: score, higher is better; the model is kept whenever it rises.
        keep_best: saves the model.
        run: where state and metrics go.
        config: settings.
        players: parameters that an optimiser of their own moves, e.g. a critic's.
        resume: go on from ``run``'s state.
        title: for the progress bar.
        tasks_per_step: for the tasks/s in the progress bar.
        progress: show it.
        describe: ``(step, from, to) -> text``, which tasks lie between two fractions of this process's part of a step;
            for messages about losses that are not finite.
        workers: the processes that share the tasks of every step. Each calls this function; ``losses`` then yields the
            parts of its own tasks, whose shares add up to 1. The leader alone writes.

    Raises:
        RunError: the loss is not finite, or a process was lost.
    """
    optimisers = Optimisers(module, players or {}, config.lr, config.clip)
    first, last = workers.share(tasks_per_step)
    weight = (last - first) / tasks_per_step
    step, best, seconds, cpu_seconds, window = 0, -math.inf, 0.0, 0.0, _Window()
    # a GPU runs behind the program: a loss is read when a step's work is queued, and not before each backward pass. Not
    # so where other players step in the middle of a step, which cannot be taken back
    faults = Faults(config.on_nonfinite, describe, late=runs_ahead(fabric.device) and not players)
    if resume:
        state = workers.told(load_state(run.state_path) if workers.leads else {})
        module.load_state_dict(state["module"])
        optimisers.load_state_dict(state["optimizers"])
        step, best, seconds = state["step"], state["best"], state["seconds"]
        cpu_seconds = state.get("cpu_seconds", 0.0)
        faults.skipped = state.get("skipped", 0)
        if workers.leads:
            # the others begin with empty windows; sums over all of them are what is saved
            window.load(state["window"])
            run.truncate_metrics(step)
    elif workers.size > 1:
        module.load_state_dict(workers.told(module.state_dict()))
    began, saved, cpu_began = time.monotonic() - seconds, time.monotonic(), time.process_time() - cpu_seconds

    def save() -> None:
        sums = _Window.merged(workers.gather(window.state()))
        if workers.leads:
            state = {"module": module.state_dict(), "optimizers": optimisers.state_dict(), "step": step, "best": best}
            state |= {"seconds": time.monotonic() - began, "cpu_seconds": time.process_time() - cpu_began}
            state |= {"window": sums.state(), "skipped": faults.skipped}
            save_state(run.state_path, state)

    def descend(player: str, *notes: float) -> list[float]:
        noted = workers.add(optimisers.parameters[player], weight, notes)
        if not optimisers.step(player):
            faults.gradient(step, optimisers.parameters[player], losses, module)
        return noted

    if not resume:
        save()  # from the first moment on there is something to resume
    unbegun = _forgetting(run, lambda: step == 0 and not resume and workers.leads)
    with unbegun, Interruption() as stop, ProgressBar(title, config.steps, show=progress) as bar:
        wanted = False
        while step < config.steps and not wanted:
            optimisers.set_rate(_schedule(step, config.steps))
            module.train()
            faults.begin()
            while True:
                module.zero_grad()
                said = []
                for part in losses(step):
                    if faults.accept(step, part):
                        fabric.backward(part.value)
                        said.append((part.logs, part.share * weight))
                    if part.closes:
                        descend(part.player)
                if faults.settled(step):
                    break
            for logs, share in said:
                window.add(logs, share)
            due = time.monotonic() - saved > config.save_seconds
            noted = descend("learner", float(stop.wanted), float(due and workers.leads), faults.found)
            wanted, due = noted[0] > 0, noted[1] > 0
            faults.end(step, noted[2])
            step += 1
            rate = step * tasks_per_step / (time.monotonic() - began)
            bar.update(step, functools.partial(_note, window, faults, rate))
            if step % config.validate_every == 0 or step == config.steps:
                sums = _Window.merged(workers.gather(window.state()))
                numbers = {f"train_{name}": value for name, value in sums.means().items()}
                window.clear()
                score = math.nan
                if validate is not None:
                    module.eval()
                    score = validate()
                    numbers["val_score"] = score
                if workers.leads:
                    numbers |= {"skipped": float(faults.skipped)} if faults.skipped else {}
                    run.log(step, {**numbers, "seconds": time.monotonic() - began})
                if validate is None or score >= best:
                    best = score
                    if workers.leads:
                        keep_best()
                due = True
            if due or wanted:
                save()
                saved = time.monotonic()
    return LoopResult(
        step,
        best if math.isfinite(best) else math.nan,
        step >= config.steps,
        time.monotonic() - began,
        time.process_time() - cpu_began,
    )


@contextlib.contextmanager
def _forgetting(run: RunDirectory, unbegun: Callable[[], bool]) -> Iterator[None]:
    """Settings under which the first step is impossible leave nothing that would stand in the way of other ones.

    What went wrong for another reason, such as a process that died, can be resumed.
    """
    try:
        yield
    except RunError:
        raise
    except GenmetaError:
        if unbegun():
            run.forget()
        raise


def _schedule(step: int, steps: int) -> float:
    warm = max(1, steps // 50)
    if step < warm:
        return (step + 1) / warm
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def _note(window: _Window, faults: Faults, rate: float) -> str:
    note = "  ".join(f"{name} {value:.3f}" for name, value in window.means().items())
    return f"{note}{f'  {faults.skipped} skipped' if faults.skipped else ''}  {rate:.0f} tasks/s"


class _Window:
    """Means of the logs since the last validation. Tensors are kept as they are and read together when asked for."""

    #: Unread logs that are kept at most.
    UNREAD = 1000

    def __init__(self) -> None:
        self._sums: dict[str, list[float]] = {}
        self._unread: list[tuple[Mapping[str, float | Tensor], float]] = []

    def add(self, logs: Mapping[str, float | Tensor], share: float) -> None:
        self._unread.append((logs, share))
        if len(self._unread) > self.UNREAD:
            self._read()

    def _read(self) -> None:
        values = iter(read_numbers([value for logs, _ in self._unread for value in logs.values()]))
        for logs, share in self._unread:
            for name, value in zip(logs, values, strict=False):
                total = self._sums.setdefault(name, [0.0, 0.0])
                total[0] += value * share
                total[1] += share
        self._unread = []

    @classmethod
    def merged(cls, states: Sequence[Mapping[str, list[float]]]) -> _Window:
        """The sums of several processes as one."""
        window = cls()
        for state in states:
            for name, (total, weight) in state.items():
                before = window._sums.setdefault(name, [0.0, 0.0])
                before[0] += total
                before[1] += weight
        return window

    def means(self) -> dict[str, float]:
        self._read()
        return {name: total / weight for name, (total, weight) in self._sums.items() if weight}

    def clear(self) -> None:
        self._sums.clear()
        self._unread = []

    def state(self) -> dict[str, list[float]]:
        self._read()
        return {name: list(pair) for name, pair in self._sums.items()}

    def load(self, state: Mapping[str, list[float]]) -> None:
        self._sums = {name: list(pair) for name, pair in state.items()}
