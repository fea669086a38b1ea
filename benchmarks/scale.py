"""Meta-training throughput against the number of processes, each with one thread: ``results/scale/results.json``.

``python benchmarks/scale.py`` trains MAML on the built-in glyphs by the command that users run, at 1, 2, ... processes,
and takes the time between two lines of the log, so that starting up is left out and everything else is in: drawing the
tasks, the meta-steps, the sum of the gradients. Rounds are interleaved, and the medians are what is reported. Beside
each stands what the cost model of ``docs/scale.md`` says without its last term, from two numbers: the seconds to draw a
task, timed in this process, and those of a task's passes, the rest of a step of one process.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from genmeta.core.files import write_json
from genmeta.core.randomness import seeded
from genmeta.data import open_dataset
from genmeta.scenarios import provenance
from genmeta.tasks import ClassificationTasks

#: Meta-steps that warm up, and that are timed.
WARM, TIMED = 4, 8


def throughput(processes: int, tasks: int, method: str) -> float:
    """Tasks per second."""
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, "-m", "genmeta", "train", method, "--data", "glyphs", "--run", f"{directory}/run"]
        command += ["--steps", str(WARM + TIMED), "--validate-every", str(WARM), "--validate-tasks", "1"]
        command += ["--tasks-per-batch", str(tasks), "--queries", "10", "--device", "cpu", "--threads", "1"]
        command += ["--devices", str(processes), "--augment", "affine"]
        subprocess.run(command, check=True, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
        lines = [json.loads(line) for line in Path(directory, "run", "metrics.jsonl").read_text().splitlines()]
    took = {line["step"]: line["seconds"] for line in lines}
    return TIMED * tasks / (took[WARM + TIMED] - took[WARM])


def drawing(tasks: int) -> float:
    """Seconds to draw one task, as the training above draws it."""
    sampler = ClassificationTasks(open_dataset("glyphs"), "train", ways="5", shots="1", queries=10, augment="affine")
    took = []
    for step in range(WARM + TIMED):
        began = time.perf_counter()
        sampler.sample(tasks, rng=seeded(0, "tasks", step))
        took.append((time.perf_counter() - began) / tasks)
    return statistics.median(took[WARM:])


def model(processes: int, cores: int, tasks: int, passes: float, draw: float) -> float:
    """Tasks a second if gradients were summed in no time; processes beyond the cores take turns on them."""
    seconds = passes * math.ceil(tasks / processes) + draw * tasks
    return tasks / (seconds * max(1.0, processes / cores))


def main() -> None:
    """Runs the rounds, prints them and writes the result file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", default="results/scale/results.json")
    parser.add_argument("--method", default="maml")
    parser.add_argument("--processes", default="1,2,4")
    parser.add_argument("--tasks", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    counts = [int(n) for n in arguments.processes.split(",")]
    if counts[0] != 1:
        parser.error("--processes must begin with 1, which the others are compared with")
    speeds: dict[int, list[float]] = {n: [] for n in counts}
    for _ in range(arguments.rounds):
        for n in counts:
            speeds[n].append(throughput(n, arguments.tasks, arguments.method))
            print(n, f"{speeds[n][-1]:.2f} tasks/s", flush=True)
    torch.set_num_threads(1)
    draw, cores = drawing(arguments.tasks), os.cpu_count() or 1
    alone = statistics.median(speeds[counts[0]])
    passes = 1 / alone - draw  # a step of one process is tasks * (passes + draw)
    grid = [
        {
            "processes": n,
            "tasks_per_second": round(statistics.median(speeds[n]), 3),
            "speed_up": round(statistics.median(speeds[n]) / alone, 3),
            "model_tasks_per_second": round(model(n, cores, arguments.tasks, passes, draw), 3),
            "rounds": [round(speed, 3) for speed in speeds[n]],
        }
        for n in counts
    ]
    made = provenance()
    made["command"] = shlex.join(["python", "benchmarks/scale.py", *sys.argv[1:]])
    made["machine"] = {**made["machine"], "threads": 1}
    setting = {"method": arguments.method, "data": "glyphs", "tasks_per_batch": arguments.tasks, "steps_timed": TIMED}
    cost = {"passes_seconds": round(passes, 5), "draw_seconds": round(draw, 5)}
    write_json(
        Path(arguments.out), {"schema": "genmeta.scale/2", **made, "setting": setting, "of_a_task": cost, "grid": grid}
    )


if __name__ == "__main__":
    main()
