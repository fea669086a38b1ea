"""Meta-training throughput against the number of processes, each with one thread: ``results/scale/results.json``.

``python benchmarks/scale.py`` trains MAML on the built-in glyphs by the command that users run, at 1, 2, ... processes,
and takes the time between two lines of the log, so that starting up is left out and everything else is in: drawing the
tasks, the meta-steps, the sum of the gradients. Rounds are interleaved, and the medians are what is reported.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from genmeta.core.files import write_json
from genmeta.scenarios import provenance

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


def main() -> None:
    """Runs the rounds, prints them and writes the result file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", default="results/scale/results.json")
    parser.add_argument("--method", default="maml")
    parser.add_argument("--processes", default="1,2")
    parser.add_argument("--tasks", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    counts = [int(n) for n in arguments.processes.split(",")]
    speeds: dict[int, list[float]] = {n: [] for n in counts}
    for _ in range(arguments.rounds):
        for n in counts:
            speeds[n].append(throughput(n, arguments.tasks, arguments.method))
            print(n, f"{speeds[n][-1]:.2f} tasks/s", flush=True)
    alone = statistics.median(speeds[counts[0]])
    grid = [
        {
            "processes": n,
            "tasks_per_second": round(statistics.median(speeds[n]), 3),
            "speed_up": round(statistics.median(speeds[n]) / alone, 3),
            "rounds": [round(speed, 3) for speed in speeds[n]],
        }
        for n in counts
    ]
    made = provenance()
    made["command"] = shlex.join(["python", "benchmarks/scale.py", *sys.argv[1:]])
    made["machine"] = {**made["machine"], "threads": 1}
    setting = {"method": arguments.method, "data": "glyphs", "tasks_per_batch": arguments.tasks, "steps_timed": TIMED}
    write_json(Path(arguments.out), {"schema": "genmeta.scale/1", **made, "setting": setting, "grid": grid})


if __name__ == "__main__":
    main()
