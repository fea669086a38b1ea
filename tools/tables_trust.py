"""Tables of docs/trust.md and docs/scale.md."""

from __future__ import annotations

from collections.abc import Callable

from tables_files import read, table


def scale() -> str:
    """Throughput of meta-training against the number of processes."""
    rows = [
        [str(row["processes"]), f"{row['tasks_per_second']:.1f}", f"{row['speed_up']:.2f}",
         f"{row['model_tasks_per_second']:.1f}" if "model_tasks_per_second" in row else "—"]
        for row in read("scale")["grid"]
    ]  # fmt: skip
    return table(["Processes", "Tasks/s", "Speed-up", "Tasks/s of the model without s"], rows)


def page_load() -> str:
    """Answers that many clients of the web page got at once."""
    found = read("serve")
    row = [str(found["clients"]), f"`{found['model']}`", *[str(found[key]) for key in ("answers", "lost", "mixed_up")]]
    headers = ["Clients at once", "Checkpoint", "Answers", "Lost", "Mixed up", "Largest difference of a probability"]
    return table(headers, [[*row, f"{found['largest_difference']:.0e}"]])


def fuzz() -> str:
    """What was tried on each reader, and what came of it."""
    rows = [
        [
            f"`{row['target']}`", row["engine"], f"{row['inputs']:,}", f"{row['outcomes'].get('done', 0):,}",
            str(row["seconds"]), str(row["cpu_seconds"]), f"{row['slowest_seconds']:.2f}", str(len(row["findings"])),
        ]
        for row in read("fuzz")["runs"]
    ]  # fmt: skip
    headers = ["Reader", "Engine", "Inputs", "Not refused", "Seconds", "Processor seconds", "Slowest, s", "Findings"]
    return table(headers, rows)


TABLES: dict[str, Callable[[], str]] = {"scale": scale, "fuzz": fuzz, "page_load": page_load}
