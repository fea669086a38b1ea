"""The meta-training loop. It knows losses, an optimiser and a run directory, and nothing of meta-learning."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import FrameType
from typing import Any, Protocol

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from genmeta.core.errors import RunError
from genmeta.engine.checkpoint import load_state, save_state
from genmeta.engine.progress import ProgressBar
from genmeta.engine.run_directory import RunDirectory


class Part(Protocol):
    """A loss to back-propagate; :class:`genmeta.methods.objectives.Loss` is one."""

    @property
    def value(self) -> Tensor: ...
    @property
    def logs(self) -> Mapping[str, float]: ...
    @property
    def share(self) -> float: ...
    @property
    def player(self) -> str: ...
    @property
    def closes(self) -> bool: ...


class Player(Protocol):
    """Parameters with an optimiser of their own; :class:`genmeta.methods.objectives.PlayerConfig` is one."""

    @property
    def parameters(self) -> list[nn.Parameter]: ...
    @property
    def lr(self) -> float: ...
    @property
    def betas(self) -> tuple[float, float]: ...


@dataclass(frozen=True)
class LoopConfig:
    """Settings of the loop.

    Attributes:
        steps: meta-steps.
        lr: peak learning rate of Adam; a linear warm-up over 2 % of the steps, then a cosine down to 1 % of it.
        clip: largest norm of the meta-gradient.
        validate_every: steps between validations.
        save_seconds: seconds between saves of the resumable state.
    """

    steps: int
    lr: float = 1e-3
    clip: float = 10.0
    validate_every: int = 200
    save_seconds: float = 30.0


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

    Raises:
        RunError: the loss is not finite.
    """
    players = players or {}
    others = {id(p) for player in players.values() for p in player.parameters}
    parameters = {"learner": [p for p in module.parameters() if p.requires_grad and id(p) not in others]}
    optimizers = {"learner": torch.optim.Adam(parameters["learner"], lr=config.lr)}
    for name, player in players.items():
        parameters[name] = player.parameters
        optimizers[name] = torch.optim.Adam(player.parameters, lr=player.lr, betas=player.betas)
    rates = {name: optimizer.param_groups[0]["lr"] for name, optimizer in optimizers.items()}
    step, best, seconds, cpu_seconds, window = 0, -math.inf, 0.0, 0.0, _Window()
    if resume:
        state = load_state(run.state_path)
        module.load_state_dict(state["module"])
        for name, optimizer in optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        step, best, seconds = state["step"], state["best"], state["seconds"]
        cpu_seconds = state.get("cpu_seconds", 0.0)
        window.load(state["window"])
        run.truncate_metrics(step)
    began, saved, cpu_began = time.monotonic() - seconds, time.monotonic(), time.process_time() - cpu_seconds

    def save() -> None:
        states = {name: optimizer.state_dict() for name, optimizer in optimizers.items()}
        state = {"module": module.state_dict(), "optimizers": states, "step": step, "best": best}
        spent = {"seconds": time.monotonic() - began, "cpu_seconds": time.process_time() - cpu_began}
        save_state(run.state_path, {**state, **spent, "window": window.state()})

    def descend(player: str) -> None:
        torch.nn.utils.clip_grad_norm_(parameters[player], config.clip)
        optimizers[player].step()
        # a critic's loss also reaches the learner and the other way round: each step starts clean
        optimizers[player].zero_grad()

    if not resume:
        save()  # from the first moment on there is something to resume
    with Interruption() as stop, ProgressBar(title, config.steps, show=progress) as bar:
        while step < config.steps and not stop.wanted:
            for name, optimizer in optimizers.items():
                optimizer.param_groups[0]["lr"] = rates[name] * _schedule(step, config.steps)
            module.train()
            module.zero_grad()
            for part in losses(step):
                if not math.isfinite(part.value.item()):
                    raise RunError(
                        f"The loss of step {step} is {part.value.item()}. Lower --lr or the method's inner_lr; "
                        f"the state before this step is in {str(run.path)!r}."
                    )
                fabric.backward(part.value)
                window.add(part.logs, part.share)
                if part.closes:
                    descend(part.player)
            descend("learner")
            step += 1
            elapsed = time.monotonic() - began
            note = "  ".join(f"{name} {value:.3f}" for name, value in window.means().items())
            bar.update(step, f"{note}  {step * tasks_per_step / elapsed:.0f} tasks/s")
            if step % config.validate_every == 0 or step == config.steps:
                numbers = {f"train_{name}": value for name, value in window.means().items()}
                window.clear()
                score = math.nan
                if validate is not None:
                    module.eval()
                    score = validate()
                    numbers["val_score"] = score
                run.log(step, {**numbers, "seconds": time.monotonic() - began})
                if validate is None or score >= best:
                    best = score
                    keep_best()
                save()
                saved = time.monotonic()
            elif time.monotonic() - saved > config.save_seconds or stop.wanted:
                save()
                saved = time.monotonic()
    if stop.wanted:
        save()
    return LoopResult(
        step,
        best if math.isfinite(best) else math.nan,
        step >= config.steps,
        time.monotonic() - began,
        time.process_time() - cpu_began,
    )


def _schedule(step: int, steps: int) -> float:
    warm = max(1, steps // 50)
    if step < warm:
        return (step + 1) / warm
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


class _Window:
    """Means of the logs since the last validation."""

    def __init__(self) -> None:
        self._sums: dict[str, list[float]] = {}

    def add(self, logs: Mapping[str, float], share: float) -> None:
        for name, value in logs.items():
            total = self._sums.setdefault(name, [0.0, 0.0])
            total[0] += value * share
            total[1] += share

    def means(self) -> dict[str, float]:
        return {name: total / weight for name, (total, weight) in self._sums.items() if weight}

    def clear(self) -> None:
        self._sums.clear()

    def state(self) -> dict[str, list[float]]:
        return {name: list(pair) for name, pair in self._sums.items()}

    def load(self, state: Mapping[str, list[float]]) -> None:
        self._sums = {name: list(pair) for name, pair in state.items()}
