"""Reruns rows of a result file: ``python tools/reproduce.py omniglot-5w1s hypernet``.

Without arguments it lists what there is, with the command that made each file. With a name it trains the rows (all of
them, or those that are named) from the settings that the file holds, what they start from included, scores them on the
file's own episodes, and prints the recorded numbers beside the new ones. Runs go to ``runs/reproduce`` and are resumed.
The same numbers are to be expected from the same torch version with one thread on a CPU, and elsewhere numbers that
differ by less than their intervals.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

from genmeta.core.settings import EvaluationConfig, TrainConfig
from genmeta.engine.runtime import use_threads
from genmeta.scenarios import compare

ROOT = Path(__file__).parents[1]


def known(kind: type, values: dict[str, Any], **instead: Any) -> Any:
    """Settings as this version knows them; those that a file lacks have their defaults."""
    names = {field.name for field in dataclasses.fields(kind)}
    lost = set(values) - names
    if lost:
        raise SystemExit(f"This version has no setting {', '.join(sorted(lost))}; check out the commit in the file.")
    return kind(**{**values, **instead})


def recipes(found: dict[str, Any], rows: list[str], where: Path) -> dict[str, TrainConfig]:
    """How to train each row and what it starts from, in order."""
    run_of = {entry["training"]["run"].rstrip("/"): name for name, entry in found["methods"].items()}
    made: dict[str, TrainConfig] = {}

    def add(name: str) -> None:
        training = found["methods"][name]["training"]
        start = training["init"].rstrip("/")
        if start and start not in run_of:
            raise SystemExit(
                f"{name} starts from {start}, which is no row of this file. Train that first: see command."
            )
        if start:
            add(run_of[start])
        again = str(where / run_of[start]) if start else ""
        made.setdefault(name, known(TrainConfig, training, run=str(where / name), init=again))

    for name in rows:
        add(name)
    return made


def reproduce(file: Path, rows: list[str], where: Path, *, tasks: int = 0) -> list[tuple[str, str, str, str, bool]]:
    """Row, steps, recorded score, score now, and whether their intervals overlap."""
    found = json.loads(file.read_text(encoding="utf-8"))
    entries = found.get("methods", {})
    if found["schema"] != "genmeta.comparison/1" or not all("training" in entry for entry in entries.values()):
        raise SystemExit(f"{file.parent.name} is made by a script of its own: {found.get('command')}")
    for name in rows:
        if name not in entries:
            raise SystemExit(f"{file.parent.name} has no row {name}; it has {', '.join(entries)}.")
    configs = recipes(found, rows or list(entries), where)
    episodes = known(EvaluationConfig, found["episodes"], **({"tasks": tasks} if tasks else {}))
    use_threads(max(config.threads for config in configs.values()))
    (scored,) = compare(configs, [episodes])
    lines = []
    for name, evaluation in scored.evaluations.items():
        for step, scores in evaluation.items():
            old, new = entries[name]["scores"][str(step)], scores.summary()
            score = next(key for key in old if f"{key}_ci95" in old)
            near = abs(old[score] - new[score]) <= old[f"{score}_ci95"] + new[f"{score}_ci95"]
            said = [f"{each[score]:.2f} ± {each[f'{score}_ci95']:.2f}" for each in (old, new)]
            lines.append((name, str(step), *said, near))
    return lines


def main() -> int:
    """Lists, or reruns and compares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?", help="directory under results/")
    parser.add_argument("rows", nargs="*", help="rows to rerun; all by default")
    parser.add_argument("--runs", default="runs/reproduce", help="where the trainings go")
    parser.add_argument("--tasks", type=int, default=0, help="episodes to score on; 0 for as many as the file has")
    options = parser.parse_args()
    if not options.name:
        for file in sorted((ROOT / "results").glob("*/results.json")):
            found = json.loads(file.read_text(encoding="utf-8"))
            print(f"{file.parent.name}: {', '.join(found.get('methods', found.get('rows', {})) or [found['schema']])}")
            print(f"    {found.get('command')}")
        return 0
    file = ROOT / "results" / options.name / "results.json"
    if not file.is_file():
        raise SystemExit(f"There is no {file.relative_to(ROOT)}.")
    lines = reproduce(file, options.rows, Path(options.runs) / options.name, tasks=options.tasks)
    for name, step, old, new, near in lines:
        print(f"{name}, {step} steps: recorded {old}, now {new}{'' if near else '  <- apart'}")
    return int(not all(line[-1] for line in lines))


if __name__ == "__main__":
    sys.exit(main())
