"""What grows with what: the cost of a meta-step in tasks, ways, shots, steps and parameters; norms; hypernetworks;
adaptation to a new task; the sampler; the start of the command. Each part is a function of the timer and the rounds."""

from __future__ import annotations

import contextlib
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
import work
from torch import Tensor
from torch.func import functional_call
from work import Cell

from genmeta.core.batching import native
from genmeta.core.randomness import seeded
from genmeta.core.types import Task
from genmeta.learners import LearnerConfig, build_learner
from genmeta.methods import MetaLearner, build_method

Timer = Callable[[dict[str, Callable[[], object]], int], dict[str, list[float]]]


def reset_peak() -> None:
    """Lets :func:`peak_mib` begin anew, where the system is Linux."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_mib() -> float:
    """Most memory that this process has held. ``getrusage`` would count what the process before ``exec`` held, too."""
    with contextlib.suppress(OSError):
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _median(times: list[float]) -> float:
    return float(np.median(times))


def _slope(x: list[float], y: list[float]) -> float:
    """Of a straight line through the points in log-log scale: 1 is proportional."""
    return round(float(np.polyfit(np.log(x), np.log(y), 1)[0]), 3)


def _step(made: MetaLearner, task: Task) -> Callable[[], object]:
    return lambda: (made.zero_grad(), work.library_step(made, task))


def growth(timer: Timer, rounds: int) -> dict[str, Any]:
    """Seconds of a second-order meta-step as one thing grows and the others stay (5w1s, 3 steps, 1 task)."""

    def of(tasks: int = 1, ways: int = 5, shots: int = 1, steps: int = 3, width: int = 64) -> Callable[[], object]:
        learner = build_learner(LearnerConfig(width=width), seeded(1))
        made = build_method("maml", learner, options={"inner_steps": steps})
        return _step(made, work.task_batch(tasks, ways, shots))

    out = {}
    for name, values in {
        "tasks": (1, 2, 4, 8),
        "ways": (5, 10, 20),
        "shots": (1, 5, 10),
        "steps": (1, 2, 4, 8),
        "width": (32, 64, 128),
    }.items():
        took = timer({str(v): of(**{name: v}) for v in values}, rounds)
        seconds = [_median(took[str(v)]) for v in values]
        out[name] = {
            "values": list(values),
            "cpu_seconds": [round(s, 4) for s in seconds],
            "slope": _slope([float(v) for v in values], seconds),
        }
    return out


def meta_batch(timer: Timer, rounds: int) -> list[dict[str, float]]:
    """Processor time of a task and peak memory of the process, up to 1,000 tasks (FiLM and rows, 5w1s, 5 queries)."""
    rows = []
    learner = build_learner(LearnerConfig(width=32), seeded(1))
    made = build_method("maml", learner, options={"generate": "film", "inner_steps": 1})
    for n_tasks in (10, 100, 1000):
        task = work.task_batch(n_tasks, 5, 1, queries=5)
        data = sum(t.numel() * t.element_size() for t in (task.support.images, task.query.images)) / 2**20
        _step(made, task.slice(0, 10))()
        reset_peak()
        began = time.process_time()
        _step(made, task)()
        seconds = time.process_time() - began
        peak = peak_mib()
        row = {"tasks": n_tasks, "cpu_ms_per_task": 1000 * seconds / n_tasks, "peak_mib": peak, "images_mib": data}
        rows.append({name: round(value, 2) for name, value in row.items()})
    return rows


def norms(timer: Timer, rounds: int) -> dict[str, float]:
    """Images embedded and differentiated a processor second, by norm; FiLM writes scales and shifts for each task."""
    images = torch.rand(4, 25, 1, 28, 28, generator=seeded(3))
    steps: dict[str, Callable[[], object]] = {}
    for name, norm, film in (("batch", "batch", False), ("group", "group", False), ("group, FiLM", "group", True)):
        learner = build_learner(LearnerConfig(norm=norm), seeded(1))
        own = learner.own_weights()
        written = {n: own[n].expand(4, -1).clone().requires_grad_() for n, _ in learner.written_shapes("film")}

        def step(learner: Any = learner, weights: dict[str, Tensor] | None = written if film else None) -> None:
            features, _ = learner.features(images, weights)
            features.square().sum().backward()

        steps[name] = step
    took = timer(steps, rounds)
    return {name: round(100 / _median(times), 1) for name, times in took.items()}


def hypernetwork(timer: Timer, rounds: int) -> dict[str, float]:
    """A meta-step of ``hypernet`` that writes every kernel, against the same loss by a plain loop over tasks."""
    learner = build_learner(LearnerConfig(), seeded(1))
    made = build_method("hypernet", learner, options={"generate": "all", "inner_steps": 0})
    task = work.task_batch(4, 5, 1)
    module = work.PeerConv4(5, "group")

    def plain() -> None:
        made.zero_grad()
        start = made.start(task.support, task.ways, seeded(0))
        for t in range(task.n_tasks):
            own = {name: value[t] for name, value in start.weights.items()}
            weights = {f"convs.{i}.weight": own[f"blocks.{i}.conv.weight"] for i in range(4)}
            weights |= {f"norms.{i}.weight": own[f"blocks.{i}.norm.scale"] for i in range(4)}
            weights |= {f"norms.{i}.bias": own[f"blocks.{i}.norm.shift"] for i in range(4)}
            weights |= {"classifier.weight": own["rows"][:, :-1], "classifier.bias": own["rows"][:, -1]}
            loss = F.cross_entropy(functional_call(module, weights, (task.query.images[t],)), task.query.labels[t])
            (loss / task.n_tasks).backward(retain_graph=t < task.n_tasks - 1)

    took = timer({"genmeta": _step(made, task), "plain loop": plain}, rounds)
    ratios = [p / g for p, g in zip(took["plain loop"], took["genmeta"], strict=True)]
    seconds = {name: round(_median(times), 4) for name, times in took.items()}
    return {"speed_ratio": round(float(np.median(ratios)), 3), **{f"{n}_cpu_seconds": s for n, s in seconds.items()}}


def adaptation(timer: Timer, rounds: int) -> dict[str, float]:
    """Milliseconds of a processor to fit a new 5w1s task and answer one image."""
    task = work.task_batch(1, 5, 1, queries=1)
    asked = {
        "hypernet, 0 steps": ("hypernet", 0, {}),
        "hypernet, 1 step": ("hypernet", 1, {}),
        "maml, 5 steps": ("maml", 5, {}),
        "finetune, 50 steps": ("finetune", 50, {}),
    }
    steps: dict[str, Callable[[], object]] = {}
    for name, (method, k, options) in asked.items():
        made = build_method(method, build_learner(LearnerConfig(), seeded(1)), options=options).eval()

        def step(made: MetaLearner = made, k: int = k) -> None:
            with torch.no_grad():
                made.answers(task, k, seeded(0))

        steps[name] = step
    return {name: round(1000 * _median(times), 2) for name, times in timer(steps, rounds).items()}


def sampler(timer: Timer, rounds: int) -> dict[str, float]:
    """Episodes (5w1s, 15 queries) that the sampler draws in a processor second, and the step that consumes them."""
    from genmeta.data import open_dataset
    from genmeta.tasks import ClassificationTasks

    tasks = ClassificationTasks(open_dataset("glyphs"), "train", ways="5", shots="1", queries=15, min_images=16)
    count = 50
    cell = Cell(5, 1, True, 5, norm="group")
    made = work.library(cell)
    task = work.task_batch(1, 5, 1)
    took = timer({"draw": lambda: tasks.sample(count, rng=seeded(4)), "step": _step(made, task)}, rounds)
    draw, step = _median(took["draw"]) / count, _median(took["step"])
    return {"episodes_per_cpu_second": round(1 / draw, 1), "times_as_fast_as_the_step": round(step / draw, 1)}


def starting(timer: Timer, rounds: int) -> dict[str, float]:
    """Processor seconds of ``genmeta --help``, and of ``import genmeta`` beyond the interpreter and torch."""

    def run(code: str) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    def best(code: str) -> float:
        return min(run(code) for _ in range(max(3, rounds)))

    empty, with_torch = best("pass"), best("import torch")
    call = "import sys; sys.argv = ['genmeta', '--help']\nfrom genmeta.cli.main import main\n"
    shown = best(call + "try:\n main()\nexcept SystemExit: pass")
    return {
        "help_cpu_seconds": round(shown, 3),
        "import_cpu_seconds": round(best("import genmeta") - empty, 3),
        "import_engine_beyond_torch_cpu_seconds": round(best("import torch, genmeta.engine") - with_torch, 3),
    }


def fallback(timer: Timer, rounds: int) -> dict[str, float]:
    """How many times as fast the compiled kernels make a meta-step (5w1s, second order, 5 steps)."""
    import os

    cell = Cell(5, 1, True, 5)
    made, task = work.library(cell), work.task_batch(1, 5, 1)
    step = _step(made, task)

    def plain() -> None:
        os.environ["GENMETA_KERNELS"] = "off"
        try:
            step()
        finally:
            os.environ["GENMETA_KERNELS"] = "auto"

    if native.library() is None:
        return {}
    took = timer({"compiled": step, "plain": plain}, rounds)
    ratios = [p / c for p, c in zip(took["plain"], took["compiled"], strict=True)]
    return {"speed_ratio": round(float(np.median(ratios)), 3)}


#: Name in the result file -> what is measured.
PARTS: dict[str, Callable[[Timer, int], Any]] = {
    "growth": growth,
    "meta_batch": meta_batch,
    "norms": norms,
    "hypernetwork": hypernetwork,
    "adaptation_ms": adaptation,
    "sampler": sampler,
    "starting": starting,
    "kernels": fallback,
}
