"""Speed of a meta-step against a plain loop over tasks, interleaved in one process; gradients are compared first.

``make bench`` writes ``results/speed/results.json``: ratios in one run, on identical weights, data and work. The loop
is what one writes without a library: ``torch.func.functional_call`` on an ordinary module, one task after the other,
``torch.autograd.grad`` for the inner steps.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from genmeta.core.files import write_json
from genmeta.core.randomness import seeded
from genmeta.core.types import Examples, Task
from genmeta.engine.runtime import keep_freed_memory
from genmeta.learners import LearnerConfig, build_learner
from genmeta.methods import MetaLearner, build_method
from genmeta.methods.objectives import QueryLoss
from genmeta.scenarios import provenance

ROUNDS = 7


class PlainConv4(nn.Module):
    """The library's Conv4 as one would write it, in torch's own layers and layout."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(1 if i == 0 else width, width, 3, padding=1, bias=False) for i in range(4))
        self.norms = nn.ModuleList(nn.GroupNorm(8, width) for _ in range(4))

    def forward(self, images: Tensor, rows: Tensor) -> Tensor:
        x = images
        for i, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            x = F.max_pool2d(norm(conv(x)), 2)
            x = F.relu(x) if i < 3 else x
        x = x.flatten(1)
        x = x - x.mean(-1, keepdim=True)
        x = x * torch.rsqrt(x.square().sum(-1, keepdim=True) + 1e-6)
        return x @ rows[:, :-1].t() + rows[:, -1]


def task_batch(n_tasks: int, ways: int, shots: int, queries: int) -> Task:
    """Random images; the arithmetic is the same for any."""
    rng = seeded(0, "benchmark")

    def examples(each: int) -> Examples:
        targets = torch.arange(ways).repeat_interleave(each).expand(n_tasks, -1).contiguous()
        return Examples(torch.rand(n_tasks, ways * each, 1, 28, 28, generator=rng), targets)

    return Task(examples(shots), examples(queries), ways, torch.zeros(n_tasks, ways, dtype=torch.int64))


def plain_step(plain: PlainConv4, row: Tensor, task: Task, steps: int, lr: float, row_lr: float, second: bool) -> None:
    """One MAML meta-step; gradients are left on ``plain``'s parameters."""
    names = [name for name, _ in plain.named_parameters()]
    for t in range(task.n_tasks):
        weights = [*plain.parameters(), row.expand(task.ways, -1)]
        for _ in range(steps):
            if not second:
                weights = [w.detach().requires_grad_() for w in weights]
            named = dict(zip(names, weights, strict=False))
            out = functional_call(plain, named, (task.support.images[t], weights[-1]))
            loss = F.cross_entropy(out, task.support.targets[t])
            gradients = torch.autograd.grad(loss, weights, create_graph=second)
            rates = [lr] * len(names) + [row_lr * task.ways]
            weights = [w - a * g for w, a, g in zip(weights, rates, gradients, strict=True)]
            if not second:
                weights = [w.detach().requires_grad_() for w in weights]
        out = functional_call(plain, dict(zip(names, weights, strict=False)), (task.query.images[t], weights[-1]))
        loss = F.cross_entropy(out, task.query.targets[t]) / task.n_tasks
        if second:
            loss.backward()
        else:
            # to first order, the gradient at the adapted weights is the meta-gradient
            for p, g in zip(plain.parameters(), torch.autograd.grad(loss, weights[:-1]), strict=True):
                p.grad = g if p.grad is None else p.grad + g


def library_step(meta_learner: MetaLearner, task: Task) -> None:
    """The same meta-step by the library."""
    for part in QueryLoss("last").losses(meta_learner, task, seeded(0)):
        part.value.backward()


def compare(ways: int, shots: int, steps: int, second: bool, width: int, n_tasks: int) -> dict[str, float | int | str]:
    """Times both, checks that they agree, and returns medians of interleaved rounds."""
    learner = build_learner(LearnerConfig(width=width), seeded(1))
    options = {"inner_steps": steps, "first_order": not second, "inner_lr": 0.1, "row_lr": 1.0}
    meta_learner = build_method("maml", learner, options=options)
    plain = PlainConv4(width)
    with torch.no_grad():
        for i in range(4):
            plain.convs[i].weight.copy_(learner.own_weights()[f"blocks.{i}.conv.weight"])
    row = torch.zeros(learner.feature_size + 1, requires_grad=True)
    task = task_batch(n_tasks, ways, shots, 15)

    def run_plain() -> None:
        plain.zero_grad()
        plain_step(plain, row, task, steps, 0.1, 1.0, second)

    def run_library() -> None:
        meta_learner.zero_grad()
        library_step(meta_learner, task)

    run_plain()
    run_library()
    worst = 0.0
    for i in range(4):
        ours = learner.own_weights()[f"blocks.{i}.conv.weight"].grad
        theirs = plain.convs[i].weight.grad
        worst = max(worst, ((ours - theirs).abs().max() / theirs.abs().max()).item())  # type: ignore[operator, union-attr]
    took: dict[Callable[[], None], list[float]] = {run_plain: [], run_library: []}
    for _ in range(ROUNDS):
        for step in took:
            began = time.perf_counter()
            step()
            took[step].append(time.perf_counter() - began)
    plain_s, library_s = float(np.median(took[run_plain])), float(np.median(took[run_library]))
    ratios = [a / b for a, b in zip(took[run_plain], took[run_library], strict=True)]
    images = n_tasks * ways * (15 + shots * steps)
    return {
        "task": f"{ways}w{shots}s",
        "order": 2 if second else 1,
        "inner_steps": steps,
        "plain_seconds": round(plain_s, 4),
        "library_seconds": round(library_s, 4),
        "speed_ratio": round(float(np.median(ratios)), 3),
        "library_images_per_second": round(images / library_s, 1),
        "largest_relative_gradient_difference": worst,
    }


def main() -> None:
    """Runs the grid, prints it and writes the result file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", default="results/speed/results.json")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--width", type=int, default=64)
    arguments = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(arguments.threads)
    rows = []
    for ways, shots, n_tasks in ((5, 1, 4), (20, 5, 1)):
        for second in (True, False):
            for steps in (1, 5):
                rows.append(compare(ways, shots, steps, second, arguments.width, n_tasks))
                print(json.dumps(rows[-1]), flush=True)
    made = provenance()
    made["command"] = f"python benchmarks/run.py --threads {arguments.threads} --width {arguments.width}"
    write_json(Path(arguments.out), {"schema": "genmeta.speed/1", **made, "rounds": ROUNDS, "grid": rows})


if __name__ == "__main__":
    main()
