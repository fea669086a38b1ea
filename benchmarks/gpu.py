"""Speed of a meta-step on a GPU against other libraries on the same card; gradients are compared before timing.

    python benchmarks/gpu.py                          # writes results/speed-gpu/results.json
    python benchmarks/run.py --device cuda            # the same
    python benchmarks/gpu.py --device cpu --quick     # a rehearsal: every line of it runs, the numbers mean nothing

Times are wall seconds between two CUDA events, with all work of the step between them, on an otherwise idle card;
rounds are interleaved, and every ratio is the median over rounds of the ratio within a round. Peak memory is what the
allocator gave out at most. The share of peak is that of the card's own float32 (or bfloat16) matrix product.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent))
import peers
import scaling
import work
from run import contenders, disagreement, flops, ratio
from work import Cell

from genmeta.core.files import write_json
from genmeta.core.randomness import seeded
from genmeta.engine.runtime import multiply_in
from genmeta.learners import LearnerConfig, build_learner
from genmeta.methods import build_method
from genmeta.scenarios import provenance

Step = Callable[[], object]
CHUNKS = (1, 2, 4, 8, 16, 32, 64, 128)


class Meter:
    """Seconds, memory and the peak of a device.

    Args:
        device: ``cuda``, or ``cpu`` for a rehearsal.
    """

    def __init__(self, device: str) -> None:
        self.device = torch.device(device)

    def seconds(self, step: Step) -> float:
        """Of one step, from the first of its work to the last."""
        if self.device.type != "cuda":
            began = time.perf_counter()
            step()
            return time.perf_counter() - began
        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize(self.device)
        first.record()
        step()
        last.record()
        torch.cuda.synchronize(self.device)
        return first.elapsed_time(last) / 1000

    def peak_mib(self, step: Step) -> float:
        """Memory that is held at most during a step, beyond what is held before it."""
        if self.device.type != "cuda":
            scaling.reset_peak()
            before = scaling.peak_mib()
            step()
            return round(scaling.peak_mib() - before, 1)
        torch.cuda.synchronize(self.device)
        torch.cuda.reset_peak_memory_stats(self.device)
        before = torch.cuda.memory_allocated(self.device)
        step()
        torch.cuda.synchronize(self.device)
        return round((torch.cuda.max_memory_allocated(self.device) - before) / 2**20, 1)

    def gemm_peak(self, dtype: torch.dtype, size: int) -> float:
        """Best GFLOP a second of a matrix product of a precision."""
        a, b = (torch.rand(size, size, generator=seeded(i)).to(self.device, dtype) for i in range(2))
        return 2 * size**3 / min(self.seconds(lambda: a @ b) for _ in range(10)) / 1e9

    def interleaved(self, steps: dict[str, Step], rounds: int) -> dict[str, list[float]]:
        """Seconds of every step in every round, after one round of warming up; the order turns about."""
        took: dict[str, list[float]] = {name: [] for name in steps}
        for i in range(rounds + 1):
            for name in list(steps)[:: 1 if i % 2 else -1]:
                seconds = self.seconds(steps[name])
                if i:
                    took[name].append(seconds)
        return took


def library_step(cell: Cell, meter: Meter, *, chunk: int = 0, precision: str = "float32") -> Step:
    """The library's meta-step, with so many tasks computed together and convolutions in a precision."""
    made, task = work.library(cell).to(meter.device).train(), work.task_batch(cell.tasks, cell.ways, cell.shots)
    made.chunk_size, task = chunk, task.to(meter.device)
    multiply_in(made, precision)
    return lambda: (made.zero_grad(), work.library_step(made, task))


def as_graph(step: Step) -> Step:
    """A step as one CUDA graph, launched as a whole: it must not wait for the device anywhere, and does not."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def compare(cell: Cell, found: dict[str, peers.Step], meter: Meter, rounds: int, peaks: dict[str, float]) -> Any:
    """One cell of the grid: the library as it is, in bfloat16 and as a CUDA graph, and the others."""
    usable = {name: step for name, step in found.items() if cell.second or name != "torchopt"}
    differences = {name: disagreement(cell, step, meter.device) for name, step in usable.items()}
    if wrong := {name: value for name, value in differences.items() if value > 1e-6}:
        raise SystemExit(f"the gradients of {cell} do not agree: {wrong}")
    steps = contenders(cell, usable, meter.device)
    steps["genmeta, bf16"] = library_step(cell, meter, precision="bf16")
    without: dict[str, str] = {}
    try:
        if meter.device.type != "cuda":
            raise RuntimeError("there are no CUDA graphs on a CPU")
        steps["genmeta, CUDA graph"] = as_graph(library_step(cell, meter))
    except RuntimeError as error:
        without["genmeta, CUDA graph"] = str(error).splitlines()[0]
    took = meter.interleaved(steps, rounds)
    seconds = {name: float(np.median(times)) for name, times in took.items()}
    done = flops(cell)
    return {
        "task": cell.name,
        "order": 2 if cell.second else 1,
        "inner_steps": cell.steps,
        "tasks": cell.tasks,
        "seconds": {name: round(s, 5) for name, s in seconds.items()},
        "speed_ratio": {name: ratio(took, "genmeta", name) for name in steps if name != "genmeta"},
        "images_per_second": {name: round(cell.images / s, 1) for name, s in seconds.items()},
        "share_of_gemm_peak": {
            name: round(done / s / peaks["bf16" if "bf16" in name else "float32"], 4) for name, s in seconds.items()
        },
        # a graph's memory was set aside when it was captured
        "peak_mib": {name: meter.peak_mib(step) for name, step in steps.items() if "graph" not in name},
        "skipped": without,
        "largest_relative_gradient_difference": differences,
    }


def chunks(cell: Cell, meter: Meter, rounds: int) -> list[dict[str, float]]:
    """Seconds and peak memory of a meta-step as more of its tasks are computed together."""
    sizes = [size for size in CHUNKS if size <= cell.tasks]
    steps = {str(size): library_step(cell, meter, chunk=size) for size in sizes}
    took = meter.interleaved(steps, rounds)
    return [
        {
            "tasks_per_chunk": size,
            "seconds": round(float(np.median(took[str(size)])), 5),
            "peak_mib": meter.peak_mib(steps[str(size)]),
        }
        for size in sizes
    ]


def methods(meter: Meter, tasks: int, rounds: int, width: int = 0) -> dict[str, Any]:
    """Seconds of a meta-step (5w1s) by what is written for a task, tasks together and one by one."""
    steps: dict[str, Step] = {}
    task = work.task_batch(tasks, 5, 1).to(meter.device)
    for method, generate in (("maml", "film"), ("anil", "rows"), ("hypernet", "all"), ("protonet", "")):
        for chunk in (0, 1):
            learner = build_learner(LearnerConfig(width=width), seeded(1))
            made = build_method(method, learner, options={"generate": generate} if generate else {})
            made = made.to(meter.device).train()
            made.chunk_size = chunk
            name = f"{method} {generate}".strip() + (", one by one" if chunk else "")
            steps[name] = lambda m=made: (m.zero_grad(), work.library_step(m, task))
    took = meter.interleaved(steps, rounds)
    return {
        name: {"seconds": round(float(np.median(times)), 5), "peak_mib": meter.peak_mib(steps[name])}
        for name, times in took.items()
    }


def measure(
    meter: Meter, cells: list[Cell], rounds: int, size: int, save: Callable[[dict[str, Any]], None], width: int = 0
) -> None:
    """Everything, handed to ``save`` as it grows; a matrix product of ``size`` is the peak."""
    found, missing = peers.available()
    found = {"plain": peers.plain_step, **found}
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    peaks = {n: meter.gemm_peak(t, size) for n, t in (("float32", torch.float32), ("bf16", torch.bfloat16))}
    made: dict[str, Any] = {
        "schema": "genmeta.speed-gpu/1",
        **provenance(),
        "command": shlex.join(["python", *sys.argv]),
        "measured_on": torch.cuda.get_device_name() if meter.device.type == "cuda" else "cpu (a rehearsal)",
        "rounds": rounds,
        "tf32": False,
        "gemm_peak_gflops": {name: round(peak, 1) for name, peak in peaks.items()},
        "skipped": missing,
        "grid": [],
    }
    for cell in cells:
        made["grid"].append(compare(cell, found, meter, rounds, peaks))
        print(json.dumps(made["grid"][-1]), flush=True)
        save(made)
    made["chunks"] = chunks(cells[0], meter, rounds)
    made["methods"] = methods(meter, cells[0].tasks, rounds, width)
    print(json.dumps({name: made[name] for name in ("chunks", "methods")}), flush=True)
    save(made)


def main(arguments: list[str] | None = None) -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--tasks", type=int, default=32, help="of a meta-step")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="two tasks, one round, one cell")
    parser.add_argument("--out", default="", help="by default results/speed-gpu/results.json; nothing on a CPU")
    given = parser.parse_args(arguments)
    if given.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("There is no GPU that torch can use here. --device cpu --quick rehearses without one.")
    if given.quick:
        cells, rounds, size = [Cell(5, 1, True, 1, tasks=2)], 1, 256
    else:
        cells = [
            Cell(ways, shots, second, steps, tasks=given.tasks)
            for ways, shots in ((5, 1), (20, 5))
            for second in (True, False)
            for steps in (5, 1)
        ]
        rounds, size = given.rounds, 8192
    out = given.out or ("results/speed-gpu/results.json" if given.device == "cuda" else "")
    measure(Meter(given.device), cells, rounds, size, lambda made: write_json(out, made) if out else None)


if __name__ == "__main__":
    main()
