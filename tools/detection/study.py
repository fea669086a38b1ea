"""Trains and scores what docs/detection.md shows: ``python tools/detection/study.py RUNS [NAME ...]``.

A NAME is a training or a set of episodes; all by default. Trainings go on where they were interrupted; the scores of
each row on each set are kept in RUNS. ``results/detection-SET/results.json`` holds the rows of a set that are scored;
what stands there already is kept as long as all rows of a file start from one base.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import settings
from rows import score

from genmeta.core.errors import DataWarning
from genmeta.core.files import write_json, write_text
from genmeta.engine import Interval, paired, train
from genmeta.engine.runtime import keep_freed_memory, use_threads
from genmeta.scenarios import provenance

ROOT = Path(__file__).parents[2]


def main() -> None:
    """Trains, scores, writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path)
    names = (*settings.METHODS, *settings.SETS)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(names)}")
    parser.add_argument("--rows", nargs="*", default=[], help="score these rows alone")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(names):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    warnings.simplefilter("ignore", DataWarning)  # emoji without transparency, images without objects: known
    keep_freed_memory()
    use_threads(1)
    wanted = arguments.names or names
    for name in (name for name in settings.METHODS if name in wanted):
        train(settings.training(name, arguments.runs), resume=True, progress=False)
        print("trained", name, flush=True)
    for name in (name for name in settings.SETS if name in wanted):
        found = committed(name, arguments.runs)
        for row in settings.rows_of(name):
            kept = arguments.runs / "scores" / name / f"{row.replace(' ', '-')}.json"
            if not kept.exists() and row not in found and (not arguments.rows or row in arguments.rows):
                write_json(kept, {**score(row, name, arguments.runs), "scored_at": provenance()})
                found[row] = json.loads(kept.read_text(encoding="utf-8"))
                each = found[row]["ap50_of_episode"]
                shown = {step: str(Interval.of(100 * np.array(values))) for step, values in each.items()}
                print(name, row, shown, found[row]["cpu_seconds_per_task"], "s", flush=True)
            elif kept.exists():
                found[row] = json.loads(kept.read_text(encoding="utf-8"))
        if found:
            found = {row: found[row] for row in settings.rows_of(name) if row in found}
            path = result_file(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text(path, compact(assemble(name, found)))


def result_file(name: str) -> Path:
    """Where the rows of a set stand."""
    return ROOT / "results" / f"detection-{name}" / "results.json"


def committed(name: str, runs: Path) -> dict[str, dict[str, Any]]:
    """The rows of a set's result file, as they were scored, that can stand beside those of RUNS.

    All of them where RUNS has no base of its own for the set; otherwise those that start from none. Not those that were
    scored on fewer episodes than they are to be.
    """
    file = result_file(name)
    if not file.exists():
        return {}
    rows = json.loads(file.read_text(encoding="utf-8"))["methods"]
    own = (runs / ("photo" if settings.is_real(name) else "base")).exists()
    rows = {row: entry for row, entry in rows.items() if not own or row in settings.WITHOUT_BASE}
    rows = {row: entry for row, entry in rows.items() if _episodes(entry) >= settings.episodes_of(row, name)}
    for entry in rows.values():
        del entry["paired_difference_to"]
    return rows


def _episodes(entry: dict[str, Any]) -> int:
    return min(len(values) for values in entry["ap50_of_episode"].values())


def assemble(name: str, found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The result file of a set: every row, and paired differences to the best that each baseline does."""
    each = {
        row: {step: np.array(values) for step, values in entry["ap50_of_episode"].items()}
        for row, entry in found.items()
    }
    baselines = [row for row in found if row in settings.BASELINES]
    best = {row: max(each[row], key=lambda step, row=row: each[row][step].mean()) for row in baselines}  # type: ignore[misc]
    methods = {
        row: {
            **entry,
            "paired_difference_to": {
                f"{other} after {step}": {mine: _gap(values, each[other][step]) for mine, values in each[row].items()}
                for other, step in best.items()
                if other != row
            },
        }
        for row, entry in found.items()
    }
    return {
        "schema": "genmeta.comparison/1",
        **provenance(),
        "command": f"python tools/detection/study.py RUNS {name}",
        "episodes": dataclasses.asdict(settings.SETS[name]),
        "methods": methods,
    }


def _gap(first: np.ndarray, second: np.ndarray) -> dict[str, float]:
    """Paired, over the episodes that both rows have been scored on."""
    count = min(len(first), len(second))
    return paired(first[:count], second[:count]).rounded()


def compact(content: dict[str, Any]) -> str:
    """Indented JSON, but a list of numbers on one line; what is not a number is null."""
    text = json.dumps(json.loads(json.dumps(content), parse_constant=lambda _: None), indent=1, ensure_ascii=False)
    return re.sub(r"\[\s+([^][{}]*?)\s+\]", lambda found: "[" + " ".join(found[1].split()) + "]", text) + "\n"


if __name__ == "__main__":
    main()
