"""Tables of docs/segmentation.md, from ``results/segmentation-*``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tables_files import count, read_if_there, table

#: Sets in the order of the page, each with what its episodes are.
SETS = {
    "scripts-3w1s": "glyphs of unseen scripts",
    "scripts-3w5s": "glyphs of unseen scripts",
    "emoji-3w1s": "unseen emoji",
    "emoji-3w5s": "unseen emoji",
    "nuclei": "nuclei",
    "membranes": "membranes",
    "camvid": "CamVid",
}

NOTHING = "There is no result file yet; `python tools/segmentation.py RUNS` makes them."


def caption(name: str, found: dict[str, Any]) -> str:
    """What a set's episodes are."""
    of = found["episodes"]
    classes = f"{of['ways']} classes" if of["ways"] > 1 else "one class"
    images = f"{of['shots']} labelled images" if of["shots"] > 1 else "one labelled image"
    return f"**{SETS[name][0].upper()}{SETS[name][1:]}**, {classes}, {images}, {of['tasks']} episodes"


def scores() -> str:
    """Mean IoU of every row after every number of steps, and what a task costs."""
    parts = []
    for name in SETS:
        found = read_if_there(f"segmentation-{name}")
        if found is None:
            continue
        methods = found["methods"]
        steps = sorted({step for entry in methods.values() for step in entry["scores"]}, key=int)
        rows = []
        for row, entry in methods.items():
            each = [entry["scores"].get(step) for step in steps]
            cells = [f"{one['miou']:.1f} ± {one['miou_ci95']:.1f}" if one else "" for one in each]
            rows.append([f"`{row}`", *cells, f"{entry['processor_seconds_per_task']:.1f}"])
        headers = ["Row", *[count(step) for step in steps], "processor s a task"]
        parts += [caption(name, found), table(headers, rows)]
    return "\n\n".join(parts or [NOTHING])


def gains() -> str:
    """Paired differences of every row that is no baseline to every baseline, in points."""
    parts = []
    for name in SETS:
        found = read_if_there(f"segmentation-{name}")
        if found is None:
            continue
        rows, columns = [], []
        for row, entry in found["methods"].items():
            if row in found["baselines"]:
                continue
            gaps = entry["paired_difference_to"]
            columns = list(gaps)
            for step in sorted(entry["scores"], key=int):
                cells = [f"{gaps[other][step]['mean']:+.1f} ± {gaps[other][step]['ci95']:.1f}" for other in columns]
                rows.append([f"`{row}`", step, *cells])
        columns, rows = _without_repeats(columns, rows)
        parts += [caption(name, found), table(["Row", "Steps", *[f"less {other}" for other in columns]], rows)]
    return "\n\n".join(parts or [NOTHING])


def _without_repeats(columns: list[str], rows: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    """Columns of one baseline that say the same after several numbers of steps, put together."""
    kept: list[tuple[str, str, list[str]]] = []  # heading, baseline, cells
    for at, column in enumerate(columns, start=2):
        baseline, _, step = column.rpartition(" after ")
        cells = [row[at] for row in rows]
        if kept and kept[-1][1:] == (baseline, cells):
            first = kept[-1][0].split(" to ")[0]
            kept[-1] = f"{first} to {step}", baseline, cells
        else:
            kept.append((column, baseline, cells))
    return [one[0] for one in kept], [[*row[:2], *(one[2][i] for one in kept)] for i, row in enumerate(rows)]


TABLES: dict[str, Callable[[], str]] = {"segmentation": scores, "segmentation_gains": gains}
