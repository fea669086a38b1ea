"""Tables of docs/performance.md, from results/speed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tables_files import read, table


def speed() -> str:
    """Meta-steps of second- and first-order MAML against the other libraries."""
    grid = read("speed")["grid"]
    peers = list(grid[0]["speed_ratio"])
    rows = [
        [row["task"], str(row["order"]), str(row["inner_steps"]),
         *[f"{row['speed_ratio'][p]:.2f}" if p in row["speed_ratio"] else "–" for p in peers],
         f"{row['images_per_cpu_second']['genmeta']:.0f}", f"{100 * row['share_of_gemm_peak']['genmeta']:.0f}"]
        for row in grid
    ]  # fmt: skip
    headers = ["Task", "Order", "Inner steps", *[f"times {p}" for p in peers], "Images/s", "% of GEMM peak"]
    return table(headers, rows)


def speedparts() -> str:
    """Everything that was timed beside the grid, a line each."""
    found = read("speed")
    rows = []
    if "both_cores" in found:
        both = found["both_cores"]
        shares = ", ".join(f"{name} {100 * share:.0f}" for name, share in both["share_of_gemm_peak"].items())
        rows.append([f"{both['processes']} processes of one thread, 5w1s, order 2, 5 steps: % of GEMM peak", shares])
        ratios = ", ".join(f"{ratio:.2f} {name}" for name, ratio in both["speed_ratio"].items())
        rows.append([f"{both['processes']} processes of one thread: times", ratios])
    own, memory = found["as_they_come"], found["memory_mib"]
    for peer, times in own["speed_ratio"].items():
        rows.append([f"each in a process of its own, {own['threads']} threads: times {peer}", f"{times:.2f}"])
    rows.append(["memory that two meta-steps add, MiB", ", ".join(f"{n} {v:.0f}" for n, v in memory.items())])
    for row in found["meta_batch"]:
        each = f"{row['cpu_ms_per_task']:.1f} ms a task, peak {row['peak_mib']:.0f} MiB"
        rows.append([f"a meta-batch of {row['tasks']} tasks (FiLM, 5w1s, 5 queries)", each])
    slopes = ", ".join(f"{name} {of['slope']:.2f}" for name, of in found["growth"].items())
    rows.append(["slope of cost in log-log scale", slopes])
    rows.append(["images/s by norm", ", ".join(f"{name} {v:.0f}" for name, v in found["norms"].items())])
    written = f"{found['hypernetwork']['speed_ratio']:.2f}"
    rows.append(["hypernetwork that writes every kernel: times a plain loop", written])
    adapting = ", ".join(f"{name}: {ms:.0f}" for name, ms in found["adaptation_ms"].items())
    rows.append(["ms to adapt and answer one image", adapting])
    for row in found.get("loaders", []):
        drawn = ", ".join(f"{name}: {rate:.0f}" for name, rate in row["episodes_per_cpu_second"].items())
        rows.append([f"Omniglot episodes drawn a second, {row['task']}, {row['queries']} queries", drawn])
    sampler, start = found["sampler"], found["starting"]
    rows.append(["sampler: times the step that consumes its tasks", f"{sampler['times_as_fast_as_the_step']:.0f}"])
    rows.append(["`genmeta --help`, s", f"{start['help_cpu_seconds']:.2f}"])
    rows.append(["`import genmeta`, s", f"{start['import_cpu_seconds']:.2f}"])
    rows.append(["compiled kernels: times the plain formulation", f"{found['kernels']['speed_ratio']:.2f}"])
    return table(["What", "Measured"], rows)


def reach() -> str:
    """Seconds of meta-training to 95 % on 5-way 1-shot episodes of the validation alphabets."""
    rows = []
    for row in read("speed")["reach"]:
        last, best = row["curve"][-1], max(row["curve"], key=lambda point: point["accuracy"])
        reached = row["reached_cpu_seconds"]
        rows.append([
            f"`{row['row']}`", "not reached" if reached is None else f"{reached:.0f}", f"{last['cpu_seconds']:.0f}",
            str(last["steps"]), _accuracy(last), _accuracy(best),
        ])  # fmt: skip
    return table(["Row", "Seconds to 95 %", "Seconds trained", "Meta-steps", "Accuracy at the end", "Best"], rows)


def _accuracy(point: dict[str, Any]) -> str:
    return f"{point['accuracy']:.1f} ± {point['ci95']:.1f}"


def _commit(full: str) -> str:
    """Seven places of it, and the mark of local changes."""
    return full[:7] + "+" * full.endswith("+")


def speedmade() -> str:
    """When each part was measured, from which commit, and how fast the processor's matrix product was then."""
    found, groups = read("speed"), {}
    for part, how in found["made"].items():
        key = (_commit(how["commit"]), how["date"][:16].replace("T", " "), how["gemm_peak_gflops"], how["rounds"])
        groups.setdefault(key, []).append(f"`{part}`")
    for row in found.get("reach", []):
        how = row["made"]
        key = (_commit(how["commit"]), how["date"][:16].replace("T", " "), None, None)
        groups.setdefault(key, []).append(f"`reach: {row['row']}`")
    rows = [
        [", ".join(parts), f"`{commit}`" if commit else "not kept", date, "–" if peak is None else f"{peak:.0f}",
         "–" if rounds is None else str(rounds)]
        for (commit, date, peak, rounds), parts in groups.items()
    ]  # fmt: skip
    return table(["Part", "Commit", "Time (UTC)", "GEMM peak, GFLOP/s", "Rounds"], rows)


TABLES: dict[str, Callable[[], str]] = {
    "speed": speed,
    "speedparts": speedparts,
    "reach": reach,
    "speedmade": speedmade,
}
