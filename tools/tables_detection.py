"""Tables of docs/detection.md, from ``results/detection-*``."""

from __future__ import annotations

from collections.abc import Callable

from tables_files import count, read_if_there, table

#: Sets in the order of the page, each with what its episodes are.
PAINTED = {
    "scripts-3w1s": "Glyphs of unseen scripts, one labelled image",
    "scripts-3w5s": "Glyphs of unseen scripts, five labelled images",
    "emoji-3w1s": "Unseen emoji, one labelled image",
    "emoji-3w5s": "Unseen emoji, five labelled images",
}
REAL = {"raccoon": "Raccoons", "blood-cells": "Blood cells", "cards": "Playing cards"}
#: Rows that generate or learn a start; the others are what they are compared with.
GENERATORS = (
    "hypernet", "meta-sgd-hn", "versa", "maml-gan", "bmaml",
    "photo", "photo, Adam", "hypernet, every weight",
)  # fmt: skip


#: Rows that take no steps.
NO_STEPS = ("protonet", "two protonets, averaged")


def scores(sets: dict[str, str]) -> str:
    """AP50 of every row after every number of steps, and what a task costs."""
    parts = []
    for name, said in sets.items():
        found = read_if_there(f"detection-{name}")
        if found is None:
            continue
        methods, of = found["methods"], found["episodes"]
        steps = sorted({step for entry in methods.values() for step in entry["scores"]}, key=int)
        rows = []
        for row, entry in methods.items():
            # a method that takes no steps says the same after each
            taken = {"0"} if row in NO_STEPS else set(steps)
            each = [entry["scores"].get(step) if step in taken else None for step in steps]
            cells = [f"{one['ap50']:.1f} ± {one['ap50_ci95']:.1f}" if one else "" for one in each]
            rows.append([f"`{row}`", *cells, f"{entry['cpu_seconds_per_task']:.2g}"])
        classes = "one class" if of["ways"] == 1 else f"{of['ways']} classes"
        caption = f"**{said}**, {classes}, {of['tasks']} episodes, AP50 in %"
        parts += [caption, table(["Row", *map(count, steps), "Processor s a task"], rows)]
    return "\n\n".join(parts)


def gaps(sets: dict[str, str]) -> str:
    """Each generator where it is best, less each baseline where that is best, on the same episodes."""
    parts = []
    for name, said in sets.items():
        found = read_if_there(f"detection-{name}")
        if found is None:
            continue
        methods = found["methods"]
        against = list(
            dict.fromkeys(key for row in GENERATORS for key in methods.get(row, {}).get("paired_difference_to", {}))
        )
        rows = []
        for row in (row for row in GENERATORS if row in methods):
            entry = methods[row]
            best = max(entry["scores"], key=lambda step, entry=entry: entry["scores"][step]["ap50"])  # type: ignore[misc]
            cells = []
            for key in against:
                gap = entry["paired_difference_to"].get(key, {}).get(best)
                cells.append(f"{gap['mean']:+.1f} ± {gap['ci95']:.1f}" if gap else "")
            rows.append([f"`{row}` after {count(best)}", *cells])
        parts += [f"**{said}**", table(["Less", *[_named(key) for key in against]], rows)]
    return "\n\n".join(parts)


def along() -> str:
    """Rows of longer trainings: AP50 on every set, and less prototypes after as many meta-steps."""
    found = read_if_there("body-along")
    if found is None:
        return "There is no result file yet; `python tools/detection/along.py RUNS` makes it."
    sets, rows = found["sets"], []
    for row, steps in next(iter(sets.values())).items():
        said = f"`{row}`" if row in found["trained"] else row
        for step, first in steps.items():
            for i, other in enumerate(first["less"] or ("",)):
                cells = []
                for name in sets:
                    one = sets[name][row][step]
                    gap = one["less"].get(other)
                    less = f"({gap['mean']:+.1f} ± {gap['ci95']:.1f})" if gap else ""
                    score = "" if i else f"{one['ap50']['mean']:.1f} ± {one['ap50']['ci95']:.1f}"
                    cells.append(f"{score} {less}".strip())
                named = said if len(steps) == 1 else f"{said} after {count(step)}"
                rows.append(["" if i else named, f"`{other}`" if other else "", *cells])
    heads = [f"{'scripts' if name.startswith('scripts') else 'emoji'}, {name[-2]} image" for name in sets]
    return table(["Row", "less", *(f"{head}s" if not head.endswith("1 image") else head for head in heads)], rows)


def _named(key: str) -> str:
    """``ROW after STEP`` as a heading."""
    row, _, step = key.rpartition(" after ")
    return f"`{row}`" if row in (*NO_STEPS, "template matching") else f"`{row}` after {count(step)}"


TABLES: dict[str, Callable[[], str]] = {
    "detection_scores": lambda: scores(PAINTED),
    "detection_gaps": lambda: gaps(PAINTED),
    "detection_along": along,
    "detection_real": lambda: scores(REAL),
    "detection_real_gaps": lambda: gaps(REAL),
}
