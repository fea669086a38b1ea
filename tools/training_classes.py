"""How accuracy on unseen characters grows with the number of classes to train on: ``python tools/training_classes.py``.

The same network, method, number of meta-steps and test episodes each time; training draws its tasks from so many of
Omniglot's training characters, chosen by the seed (their quarter turns count as further classes, as everywhere). Writes
``results/training-classes/results.json``; the trainings are short, so it is the slope that counts.
"""

from __future__ import annotations

import argparse
import dataclasses
import shlex
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from genmeta.core.files import write_json
from genmeta.core.randomness import seeded
from genmeta.data import ImageClasses, open_dataset
from genmeta.engine import evaluate
from genmeta.learners import LearnerConfig, build_learner
from genmeta.methods import MetaLearner, build_method
from genmeta.methods.objectives import QueryLoss
from genmeta.scenarios import provenance
from genmeta.tasks import ClassificationTasks

ROOT = Path(__file__).parents[1]
COUNTS = (5, 20, 100, 10_000)  # the last: all there are
WAYS, SHOTS, QUERIES = 5, 1, 5


def some(data: ImageClasses, count: int, seed: int) -> ImageClasses:
    """The data with ``count`` training classes."""
    order = np.random.default_rng(seed).permutation(data.splits["train"])
    return dataclasses.replace(data, splits={**data.splits, "train": np.sort(order[:count])})


def trained(method: str, data: ImageClasses, given: argparse.Namespace, seed: int) -> MetaLearner:
    """A meta-learner after the given number of meta-steps."""
    config = LearnerConfig("conv4", channels=1, size=data.image_shape[1], width=given.width)
    it = build_method(method, build_learner(config, seeded(seed, "learner")), rng=seeded(seed, "method")).train()
    tasks = ClassificationTasks(data, "train", ways=WAYS, shots=SHOTS, queries=QUERIES, augment="affine")
    objective, optimizer = QueryLoss("last"), torch.optim.Adam(it.parameters(), lr=given.lr)
    for step in range(given.steps):
        for group in optimizer.param_groups:
            group["lr"] = given.lr * 0.5 * (1 + np.cos(np.pi * step / given.steps))
        task = tasks.sample(given.tasks_per_batch, rng=seeded(seed, "task", step))
        optimizer.zero_grad()
        for part in objective.losses(it, task, seeded(seed, "noise", step)):
            part.value.backward()
        torch.nn.utils.clip_grad_norm_(it.parameters(), 10.0)
        optimizer.step()
    return it.eval()


def main() -> int:
    """Trains and scores every cell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="omniglot")
    parser.add_argument("--methods", default="protonet")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--tasks-per-batch", type=int, default=4)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--lr", type=float, default=4e-3)
    parser.add_argument("--seeds", default="0,1")
    parser.add_argument("--tasks", type=int, default=300, help="test episodes")
    parser.add_argument("--out", default=str(ROOT / "results" / "training-classes" / "results.json"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    data = open_dataset(given.data)
    test = ClassificationTasks(data, "test", ways=WAYS, shots=SHOTS, queries=QUERIES)
    rows: list[dict[str, Any]] = []
    for method in given.methods.split(","):
        for count in COUNTS:
            each, began = [], time.process_time()
            for seed in map(int, given.seeds.split(",")):
                it = trained(method, some(data, count, seed), given, seed)
                each.append(100 * evaluate(it, test, n_tasks=given.tasks, steps=(it.inner_steps,), time_tasks=1)[
                    it.inner_steps].accuracy)  # fmt: skip
            mean = np.mean(each, axis=0)
            rows.append({
                "method": method, "classes": min(count, len(data.splits["train"])),
                "accuracy": {"mean": round(float(mean.mean()), 2),
                             "ci95": round(1.96 * float(mean.std(ddof=1)) / len(mean) ** 0.5, 2)},
                "by_seed": [round(float(a.mean()), 2) for a in each],
                "cpu_seconds": round(time.process_time() - began, 1),
            })  # fmt: skip
            print(rows[-1], flush=True)
    made = {**provenance(), "command": f"python tools/training_classes.py {shlex.join(sys.argv[1:])}".strip()}
    protocol = {"ways": WAYS, "shots": SHOTS, "queries": QUERIES, "tasks": given.tasks, "steps": given.steps,
                "tasks_per_batch": given.tasks_per_batch, "width": given.width, "lr": given.lr, "seeds": given.seeds,
                "data": given.data, "split": "test"}  # fmt: skip
    write_json(given.out, {"schema": "genmeta.training-classes/1", **made, "protocol": protocol, "rows": rows})
    return 0


if __name__ == "__main__":
    sys.exit(main())
