"""Makes ``results/photos-5w/results.json`` of what ``table.py`` has written: means, intervals, paired differences.

python tools/photos/merge.py PART... --seconds SECONDS.json --out results/photos-5w/results.json
"""

from __future__ import annotations

import argparse
import datetime
import json
from pathlib import Path
from typing import Any

import numpy as np

from genmeta.core.files import write_text
from genmeta.engine.calibration import calibration_error
from genmeta.engine.run_directory import git_commit
from genmeta.engine.runtime import machine
from genmeta.engine.scores import Interval

#: Row -> rows it is compared with, on the episodes both have answered.
PAIRS = (
    "logistic regression",
    "prototypes",
    "fine-tuning",
    "constant, 0 steps",
    "constant, 4 steps",
    "generated, 0 steps",
)


def interval(values: list[float], scale: float = 100) -> dict[str, float]:
    """Mean and half-width of the 95 % interval."""
    it = Interval.of(scale * np.array(values))
    return {"mean": round(it.mean, 3), "ci95": round(it.half_width, 3)}


def summary(lines: list[dict]) -> dict[str, Any]:
    """Scores over episodes."""
    confidence = np.concatenate([line["confidence"] for line in lines])
    correct = np.concatenate([line["correct"] for line in lines])
    return {
        "episodes": len(lines),
        "accuracy": interval([line["accuracy"] for line in lines]),
        "nll": interval([line["nll"] for line in lines], 1),
        "ece": round(100 * calibration_error(confidence, correct), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("parts", nargs="+", type=Path)
    parser.add_argument("--seconds", type=Path)
    parser.add_argument("--notes", default="{}")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    lines = [line for part in args.parts for line in json.loads(part.read_text())]
    sets, rows = (list(dict.fromkeys(line[key] for line in lines)) for key in ("set", "row"))
    scores: dict[str, Any] = {}
    together: dict[str, dict[str, list[float]]] = {}
    for shots in (1, 5):
        at: dict[str, dict[tuple[str, int], dict]] = {row: {} for row in rows}
        for line in lines:
            if line["shots"] == shots:
                at[line["row"]][line["set"], line["episode"]] = line
        for row in rows:
            entry: dict[str, Any] = {}
            for name in [*sets, "all"]:
                mine = {key: line for key, line in at[row].items() if name in (key[0], "all")}
                if not mine:
                    continue
                entry[name] = {**summary(list(mine.values())), "minus": {}}
                for other in PAIRS:
                    both = [key for key in mine if key in at.get(other, {})]
                    if other != row and len(both) > 1:
                        gaps = [mine[key]["accuracy"] - at[other][key]["accuracy"] for key in both]
                        entry[name]["minus"][other] = {**interval(gaps), "episodes": len(both)}
                        if name == "all":
                            together.setdefault(row, {}).setdefault(other, []).extend(gaps)
            scores.setdefault(f"{shots}-shot", {})[row] = entry
    result = {
        "schema": "genmeta.photos/1",
        "command": "tools/photos/table.py, tools/photos/merge.py",
        "commit": git_commit(Path(__file__).parent),
        "machine": machine(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "episodes": {"ways": 5, "queries": 5, "sets": sets, "list": "episode i of a set is the same for every row"},
        **json.loads(args.notes),
        "seconds": json.loads(args.seconds.read_text()) if args.seconds else None,
        "scores": scores,
        "both_shots_minus": {
            row: {other: {**interval(gaps), "episodes": len(gaps)} for other, gaps in others.items()}
            for row, others in together.items()
        },
    }
    write_text(args.out, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
