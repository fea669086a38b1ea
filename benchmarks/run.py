"""Speed of a meta-step against other libraries, interleaved in one process; gradients are compared before timing.

``make bench`` writes ``results/speed/results.json`` and ``docs/pictures/speed.svg``. Times are processor seconds of the
process (``time.process_time``), so that they stand on a machine that does other work too; with one thread on an idle
machine they are wall seconds. Every ratio is the median over rounds of the ratio within a round. ``--device cuda`` is
``benchmarks/gpu.py``.

Every part of the result file has a command, a commit, a time and a machine of its own, under ``made``, since parts may
be measured again one by one (``--only``).
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).parent))
import peers
import reach
import scaling
import work
from loaders import loaders
from work import Cell

from genmeta.core.batching import native
from genmeta.core.files import write_json, write_text
from genmeta.engine.runtime import keep_freed_memory
from genmeta.scenarios import provenance

Step = Callable[[], object]
CPU = torch.device("cpu")
SCHEMA = "genmeta.speed/3"


def grid(quick: bool) -> list[Cell]:
    """{5w1s, 20w5s} × {second, first order} × {5, 1 steps}."""
    return [
        Cell(ways, shots, second, steps, tasks=1 if quick or ways > 5 else 4)
        for ways, shots in ((5, 1), (20, 5))
        for second in (True, False)
        for steps in (5, 1)
    ]


def interleaved(steps: dict[str, Step], rounds: int) -> dict[str, list[float]]:
    """Processor seconds of every step in every round, after one round of warming up; the order turns about."""
    took: dict[str, list[float]] = {name: [] for name in steps}
    for i in range(rounds + 1):
        for name in list(steps)[:: 1 if i % 2 else -1]:
            began = time.process_time()
            steps[name]()
            if i:
                took[name].append(time.process_time() - began)
    return took


def ratio(took: dict[str, list[float]], name: str, base: str) -> float:
    """How many times as fast ``name`` is as ``base``."""
    return round(float(np.median([b / n for n, b in zip(took[name], took[base], strict=True)])), 3)


def gemm_peak(size: int = 1024, repeats: int = 20) -> float:
    """Best GFLOP a processor second of a float32 matrix product on one thread."""
    a, b = torch.rand(size, size), torch.rand(size, size)
    times = []
    for _ in range(repeats):
        began = time.process_time()
        a @ b
        times.append(time.process_time() - began)
    return 2 * size**3 / min(times) / 1e9


def flops(cell: Cell) -> float:
    """GFLOP of a meta-step: products and convolutions of the plain loop on one task, counted, times the tasks."""
    made = work.library(cell)
    module = work.peer(cell, made)
    task = work.task_batch(1, cell.ways, cell.shots)
    with FlopCounterMode(display=False) as counter:
        peers.plain_step(module, task, cell.steps, work.LR, cell.second)
    return counter.get_total_flops() * cell.tasks / 1e9


def disagreement(cell: Cell, step: peers.Step, device: torch.device = CPU) -> float:
    """Largest difference of meta-gradients to the library's, in float64 on two tasks, relative to the largest one."""
    made = work.library(cell).double()
    module = work.peer(cell, made).double().to(device)
    made = made.to(device)
    task = work.task_batch(2, cell.ways, cell.shots, queries=3, dtype=torch.float64).to(device)
    work.library_step(made, task)
    step(module, task, cell.steps, work.LR, cell.second)
    pairs = list(zip(work.library_gradients(made), work.peer_gradients(module), strict=True))
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in pairs)


def contenders(cell: Cell, found: dict[str, peers.Step], device: torch.device = CPU) -> dict[str, Step]:
    """Name -> a meta-step."""
    task = work.task_batch(cell.tasks, cell.ways, cell.shots).to(device)
    made = work.library(cell).to(device)
    steps: dict[str, Step] = {"genmeta": lambda: (made.zero_grad(), work.library_step(made, task))}
    for name, step in found.items():
        module = work.peer(cell, made).to(device)
        steps[name] = lambda m=module, s=step: (m.zero_grad(), s(m, task, cell.steps, work.LR, cell.second))
    return steps


def compare(cell: Cell, found: dict[str, peers.Step], rounds: int, peak: float) -> dict[str, Any]:
    """One cell of the grid."""
    usable = {name: step for name, step in found.items() if cell.second or name != "torchopt"}
    differences = {name: disagreement(cell, step) for name, step in usable.items()}
    wrong = {name: value for name, value in differences.items() if value > 1e-6}
    if wrong:
        raise SystemExit(f"the gradients of {cell} do not agree: {wrong}")
    took = interleaved(contenders(cell, usable), rounds)
    seconds = {name: round(float(np.median(times)), 4) for name, times in took.items()}
    work_done = flops(cell)
    return {
        "task": cell.name,
        "order": 2 if cell.second else 1,
        "inner_steps": cell.steps,
        "tasks": cell.tasks,
        "cpu_seconds": seconds,
        "speed_ratio": {name: ratio(took, "genmeta", name) for name in usable},
        "images_per_cpu_second": {name: round(cell.images / s, 1) for name, s in seconds.items()},
        "share_of_gemm_peak": {name: round(work_done / s / peak, 3) for name, s in seconds.items()},
        "largest_relative_gradient_difference": differences,
    }


def peak_memory(name: str, cell: Cell) -> float:
    """MiB that two meta-steps add to the peak of a process of their own."""
    command = [sys.executable, __file__, "--memory-of", name, "--cell", json.dumps(vars(cell))]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return round(float(done.stdout.strip().splitlines()[-1]), 1)


def _print_memory(name: str, cell: Cell) -> None:
    keep_freed_memory()
    step = _contender(name, cell)
    scaling.reset_peak()
    before = scaling.peak_mib()
    step()
    step()
    print(scaling.peak_mib() - before)


def as_they_come(found: dict[str, peers.Step], rounds: int) -> dict[str, Any]:
    """Wall seconds of a meta-step, each contender in a process of its own, with all threads, as a user starts it.

    The grid gives every contender the engine's way with freed memory, which makes the others faster too; here they have
    the C library's own way, and only genmeta has what its engine sets.
    """
    cell = Cell(5, 1, True, 5, tasks=4)
    took: dict[str, list[float]] = {name: [] for name in ("genmeta", *found)}
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    for _ in range(rounds):
        for name, times in took.items():
            command = [sys.executable, __file__, "--alone", name, "--cell", json.dumps(vars(cell))]
            done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
            times.append(float(done.stdout.strip().splitlines()[-1]))
    return {
        "task": cell.name,
        "order": 2,
        "inner_steps": cell.steps,
        "tasks": cell.tasks,
        "threads": os.cpu_count(),
        "seconds": {name: round(float(np.median(times)), 4) for name, times in took.items()},
        "speed_ratio": {name: ratio(took, "genmeta", name) for name in found},
    }


def _print_alone(name: str, cell: Cell) -> None:
    if name == "genmeta":
        keep_freed_memory()
    step = _contender(name, cell)
    times = []
    for _ in range(6):
        began = time.perf_counter()
        step()
        times.append(time.perf_counter() - began)
    print(float(np.median(times[1:])))


def both_cores(names: list[str], seconds: float) -> dict[str, Any]:
    """What all cores do together: a process of one thread on each, meta-steps side by side (5w1s, order 2, 5 steps).

    The peak is that of matrix products in as many processes, before and after, the better of the two.
    """
    cell, cores = Cell(5, 1, True, 5, tasks=4), os.cpu_count() or 1
    rates = [(name, _side_by_side(name, cell, cores, seconds)) for name in ("product", *names, "product")]
    peak = max(rate for name, rate in rates if name == "product") * _PRODUCT
    done = {name: rate for name, rate in rates if name != "product"}
    work_done = flops(cell)
    return {
        "task": cell.name,
        "order": 2,
        "inner_steps": cell.steps,
        "processes": cores,
        "threads_each": 1,
        "gemm_peak_gflops": round(peak, 1),
        "tasks_per_second": {name: round(cell.tasks * rate, 3) for name, rate in done.items()},
        "share_of_gemm_peak": {name: round(work_done * rate / peak, 3) for name, rate in done.items()},
        "speed_ratio": {name: round(done["genmeta"] / rate, 3) for name, rate in done.items() if name != "genmeta"},
    }


#: GFLOP of the product that the peak is measured by.
_PRODUCT = 2 * 1024**3 / 1e9


def _side_by_side(name: str, cell: Cell, processes: int, seconds: float) -> float:
    """Steps a second of all processes together, from a moment on at which all of them are ready."""
    command = [sys.executable, __file__, "--side-by-side", name, "--cell", json.dumps(vars(cell))]
    command += ["--seconds", str(seconds)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    started = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        for _ in range(processes)
    ]
    for each in started:
        while each.stdout.readline().strip() not in ("ready", ""):  # type: ignore[union-attr]
            pass
    for each in started:
        each.stdin.write("go\n")  # type: ignore[union-attr]
        each.stdin.flush()  # type: ignore[union-attr]
    return sum(float(each.communicate()[0].strip().splitlines()[-1]) for each in started)


def _print_side_by_side(name: str, cell: Cell, seconds: float) -> None:
    keep_freed_memory()
    if name == "product":
        a, b = torch.rand(1024, 1024), torch.rand(1024, 1024)
        step: Step = lambda: a @ b  # noqa: E731
    else:
        step = _contender(name, cell)
    step()
    print("ready", flush=True)
    sys.stdin.readline()
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        step()
        count += 1
    print(count / (time.perf_counter() - began))


def _contender(name: str, cell: Cell) -> Step:
    found, _ = peers.available()
    found["plain"] = peers.plain_step
    return contenders(cell, {name: found[name]} if name != "genmeta" else {})[name]


def reach_goal(rows: list[str], cap: float) -> list[dict[str, Any]]:
    """``benchmarks/reach.py``, a process for each row; a row that fails is left out, with what it said."""
    done: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as place:
        for row in rows:
            out = Path(place) / "row.json"
            command = [sys.executable, str(Path(__file__).with_name("reach.py")), row, "--out", str(out)]
            if subprocess.run([*command, "--cap", str(cap)], check=False).returncode == 0:
                done.append(json.loads(out.read_text(encoding="utf-8")))
    return done


def picture(cells: list[dict[str, Any]]) -> str:
    """Speed ratios as bars, one group for each cell."""
    from genmeta.reports.colours import SERIES

    names = sorted({name for cell in cells for name in cell["speed_ratio"]})
    highest = max(max(cell["speed_ratio"].values()) for cell in cells)
    width, height, left, floor = 760, 260, 40, 200
    step = (width - left) / len(cells)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="11">',  # noqa: E501
        '<rect width="100%" height="100%" fill="white"/>',
        '<text x="8" y="16">speed of a meta-step of genmeta, times that of each library (Conv4-64, one thread)</text>',
    ]
    scale = (floor - 40) / highest
    for value in range(int(highest) + 1):
        y = floor - value * scale
        out.append(
            f'<line x1="{left}" x2="{width}" y1="{y:.1f}" y2="{y:.1f}" stroke="{"#888" if value == 1 else "#ddd"}"/>'
        )
        out.append(f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{value}×</text>')
    for i, cell in enumerate(cells):
        bar = step * 0.8 / len(names)
        for j, name in enumerate(names):
            if name in cell["speed_ratio"]:
                tall = cell["speed_ratio"][name] * scale
                x = left + i * step + step * 0.1 + j * bar
                colour = SERIES[j % len(SERIES)][0]
                place = f'x="{x:.1f}" y="{floor - tall:.1f}" width="{bar - 1:.1f}" height="{tall:.1f}"'
                out.append(f'<rect {place} fill="{colour}"/>')
        label = f"{cell['task']}, order {cell['order']}"
        middle = left + (i + 0.5) * step
        out.append(f'<text x="{middle:.1f}" y="{floor + 15}" text-anchor="middle">{label}</text>')
        out.append(f'<text x="{middle:.1f}" y="{floor + 29}" text-anchor="middle">k = {cell["inner_steps"]}</text>')
    for j, name in enumerate(names):
        x = left + j * 130
        out.append(f'<rect x="{x}" y="{floor + 42}" width="10" height="10" fill="{SERIES[j % len(SERIES)][0]}"/>')
        out.append(f'<text x="{x + 15}" y="{floor + 51}">{name}</text>')
    return "\n".join([*out, "</svg>"]) + "\n"


def main() -> None:
    """Runs the grid and the rest, prints each line and writes the result file and the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--out", default="results/speed/results.json")
    parser.add_argument("--picture", default="docs/pictures/speed.svg")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cap", type=float, default=240.0, help="processor seconds of training of each row of `reach`")
    parser.add_argument("--quick", action="store_true", help="one task for each meta-step, and a short cap")
    parser.add_argument("--only", default="", help="parts to run, separated by commas; the others stay as they are")
    for hidden in ("--memory-of", "--alone", "--side-by-side", "--cell"):
        parser.add_argument(hidden, default="", help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=6.0, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.device == "cuda":
        import gpu

        gpu.main(["--device", "cuda", *(["--quick"] if given.quick else [])])
        return
    if given.alone:
        _print_alone(given.alone, Cell(**json.loads(given.cell)))
        return
    torch.set_num_threads(1)
    if given.memory_of:
        _print_memory(given.memory_of, Cell(**json.loads(given.cell)))
        return
    if given.side_by_side:
        _print_side_by_side(given.side_by_side, Cell(**json.loads(given.cell)), given.seconds)
        return
    keep_freed_memory()
    found, missing = peers.available()
    found = {"plain": peers.plain_step, **found}
    out, names = Path(given.out), ["genmeta", *found]
    before: dict[str, Any] = json.loads(out.read_text(encoding="utf-8")) if out.exists() else {}
    result: dict[str, Any] = {"schema": SCHEMA, "made": {}, "gpu": "not yet measured"}
    if given.only and before.get("schema") == SCHEMA:
        result = before
    peak = gemm_peak()
    rows = ["protonet", "maml"] if given.quick else list(reach.ROWS)
    parts: dict[str, Callable[[], Any]] = {
        "grid": lambda: [_said(compare(cell, found, given.rounds, peak)) for cell in grid(given.quick)],
        "both_cores": lambda: _said(both_cores(names, given.seconds)),
        "as_they_come": lambda: _said(as_they_come(found, given.rounds)),
        "memory_mib": lambda: _said({name: peak_memory(name, Cell(5, 1, True, 5, tasks=4)) for name in names}),
        **{name: lambda f=f: _said(f(interleaved, given.rounds)) for name, f in scaling.PARTS.items()},
        "loaders": lambda: _said(loaders(interleaved, given.rounds, peer="learn2learn" in found)),
        "reach": lambda: reach_goal(rows, 20.0 if given.quick else given.cap),
    }
    for name in given.only.split(",") if given.only else parts:
        result[name] = parts[name]()
        result["made"][name] = {
            **provenance(),
            "command": shlex.join(["python", *sys.argv]),
            "rounds": given.rounds,
            "gemm_peak_gflops": round(peak, 1),
            "compiled_kernels": native.library() is not None,
            "skipped": missing,
        }
        write_json(out, result)
        if name == "grid":
            write_text(given.picture, picture(result["grid"]))
        if name == "reach":
            write_text(Path(given.picture).with_name("reach.svg"), reach.picture(result["reach"]))


def _said(row: Any) -> Any:
    print(json.dumps(row), flush=True)
    return row


if __name__ == "__main__":
    main()
