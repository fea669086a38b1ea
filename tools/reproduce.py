"""Reruns rows of a result file: ``python tools/reproduce.py omniglot-5w1s hypernet``.

Without arguments it lists what there is, with the command that made each file. With a name it trains the rows (all of
them, or those that are named) from the settings that the file holds, what they start from included, scores them on the
file's own episodes, and prints the recorded numbers beside the new ones. Runs go to ``runs/reproduce`` and are resumed.
The same numbers are to be expected from the same torch version with one thread on a CPU, and elsewhere numbers that
differ by less than their intervals.

What a script made is made by that script again, as a whole. It writes where the recorded file lies, which is put aside
before and put back afterwards; the new one goes to ``runs/reproduce/NAME/results.json``.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from genmeta.core.settings import EvaluationConfig, TrainConfig
from genmeta.engine.runtime import use_threads
from genmeta.scenarios import compare

ROOT = Path(__file__).parents[1]

#: Beginning of a name -> the script that makes the file; REST is what follows, RUNS where trainings go.
SCRIPTS: dict[str, tuple[str, ...]] = {
    "segmentation-": ("python", "tools/segmentation.py", "RUNS/segmentation", "REST"),
    "detection-": ("python", "tools/detection/study.py", "RUNS/detection", "REST"),
    "body-along": ("python", "tools/detection/along.py", "RUNS/detection-along"),
    "domains-rotated-digits-labelled": ("bash", "tools/scenarios.sh", "labelled"),
    "domains-emoji-labelled": ("bash", "tools/scenarios.sh", "labelled"),
    "domains-emoji": ("bash", "tools/scenarios.sh", "emoji"),
    "domains-glyph-styles": ("bash", "tools/scenarios.sh", "styles"),
    "domains-rotated-digits": ("bash", "tools/scenarios.sh", "rotated"),
    "domains-pacs": ("bash", "tools/scenarios.sh", "pacs"),
    "incremental-caltech-blind": ("bash", "tools/scenarios.sh", "blind"),
    "incremental-caltech-corrected": ("bash", "tools/scenarios.sh", "corrected"),
    "incremental-signs-corrected": ("bash", "tools/scenarios.sh", "corrected"),
    "incremental-": ("bash", "tools/scenarios.sh", "REST"),
    "multitask-visual": ("bash", "tools/scenarios.sh", "multitask"),
    "multitask-datasets": ("bash", "tools/scenarios.sh", "datasets"),
    "task-sequence-digits": ("python", "tools/task_sequence.py", "results/task-sequence-digits/results.json"),
    "pareto-two-digits": ("python", "tools/pareto.py", "results/pareto-two-digits/results.json"),
    "training-classes": ("python", "tools/training_classes.py", "--steps", "200", "--seeds", "0"),
}


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


def intervals(found: Any, path: str = "") -> Iterator[tuple[str, float, float]]:
    """Where in a result file, mean and half-width of every number that has an interval: ``mean`` and ``ci95``, or
    ``NAME`` and ``NAME_ci95``."""
    if isinstance(found, dict):
        for key, value in found.items():
            width = found.get("ci95" if key == "mean" else f"{key}_ci95")
            if isinstance(value, int | float) and isinstance(width, int | float):
                yield (path if key == "mean" else f"{path}.{key}".lstrip(".")), float(value), float(width)
            else:
                yield from intervals(value, f"{path}.{key}".lstrip("."))


def compared(recorded: Any, now: Any) -> list[tuple[str, str, str, bool]]:
    """Where, recorded number, number now, and whether their intervals overlap; for what both files hold."""
    there = {path: (mean, width) for path, mean, width in intervals(now)}
    lines = []
    for path, mean, width in intervals(recorded):
        if path in there:
            other, other_width = there[path]
            near = abs(mean - other) <= width + other_width
            lines.append((path, f"{mean:.2f} ± {width:.2f}", f"{other:.2f} ± {other_width:.2f}", near))
    return lines


def script_of(name: str, runs: Path) -> list[str] | None:
    """The command that makes a result file as a whole, if a script does."""
    for beginning, command in SCRIPTS.items():
        if name.startswith(beginning):
            words = [word.replace("RUNS", str(runs)).replace("REST", name[len(beginning) :]) for word in command]
            return [sys.executable, *words[1:]] if words[0] == "python" else words
    return None


def again(file: Path, command: list[str], kept: Path) -> list[tuple[str, str, str, bool]]:
    """Has a script make a result file again, which goes to ``kept``; the recorded one stays where it is.

    Raises:
        SystemExit: the script failed, or made no such file.
    """
    aside = file.with_suffix(".recorded")
    os.replace(file, aside)
    environment = {**os.environ, "PYTHON": sys.executable, "GENMETA": str(Path(sys.executable).parent / "genmeta")}
    try:
        ran = subprocess.run(command, cwd=ROOT, env=environment, check=False)
        if file.is_file():
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(file, kept)
        elif not ran.returncode:
            raise SystemExit(f"{' '.join(command)} made no {file.name}: are its data there?")
        if ran.returncode:
            raise SystemExit(f"{' '.join(command)} ended with {ran.returncode}.")
    finally:
        os.replace(aside, file)
    return compared(json.loads(file.read_text(encoding="utf-8")), json.loads(kept.read_text(encoding="utf-8")))


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
    command = script_of(options.name, Path(options.runs))
    if command:
        if options.rows or options.tasks:
            raise SystemExit(f"{options.name} is made as a whole, by {' '.join(command)}: leave rows and --tasks out.")
        found = again(file, command, Path(options.runs) / options.name / "results.json")
        for path, recorded, now, near in found:
            print(f"{path}: recorded {recorded}, now {now}{'' if near else '  <- apart'}")
        return int(not found or not all(line[-1] for line in found))
    lines = reproduce(file, options.rows, Path(options.runs) / options.name, tasks=options.tasks)
    for name, step, old, new, near in lines:
        print(f"{name}, {step} steps: recorded {old}, now {new}{'' if near else '  <- apart'}")
    return int(not all(line[-1] for line in lines))


if __name__ == "__main__":
    sys.exit(main())
