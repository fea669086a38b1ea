"""``genmeta demo``: the product in three minutes, on data that every installation has."""

from __future__ import annotations

import time
from pathlib import Path

from rich.console import Console

from genmeta.cli.commands import Demo
from genmeta.cli.output import console, print_json
from genmeta.core.files import write_json
from genmeta.core.settings import EvaluationConfig, TrainConfig
from genmeta.engine import Interval, paired
from genmeta.engine.runtime import keep_freed_memory, use_threads
from genmeta.reports import accuracy_table, comparison_report, print_table, write_report
from genmeta.scenarios import Comparison, compare

#: Rows of the table, in order. `scratch` gets the rule and rate that did best for it on Omniglot's validation tasks.
METHODS = {
    "protonet": {"steps": 500},
    "maml": {"steps": 50, "options": {"inner_steps": 3, "row_lr": 0.5}},
    "hypernet": {"steps": 80},
    "meta-sgd-hn": {"steps": 80},
    "scratch": {"options": {"inner_rule": "adam", "inner_lr": 0.003}},
}
TARGETS = {"unseen scripts": "glyphs", "handwritten digits": "digits"}
STEPS = "0,1,5,10,50"

#: Channels of Conv4: half the usual, for the sake of the three minutes.
WIDTH = 32


def run(command: Demo) -> None:
    """Trains, scores on both targets, prints tables and writes ``report.html``."""
    began = time.monotonic()
    keep_freed_memory()
    use_threads(command.threads)
    out, say = Path(command.out), Console(stderr=True, highlight=False)
    say.print("Meta-training on printed characters: a prototype network, then three learners that start from it.")
    runs = {name: _training(name, out, command.threads) for name in METHODS}
    episodes = [EvaluationConfig(data=data, tasks=100, adapt_steps=STEPS) for data in TARGETS.values()]
    comparisons = compare(runs, episodes)
    results = {target: c.as_json() for target, c in zip(TARGETS, comparisons, strict=True)}
    seconds = time.monotonic() - began
    write_json(out / "results.json", {"schema": "genmeta.demo/1", "seconds": round(seconds, 1), "targets": results})
    write_report(out / "report.html", comparison_report(comparisons))
    if command.json:
        print_json({"schema": "genmeta.demo/1", "seconds": round(seconds, 1), "targets": results})
        return
    for target, comparison in zip(TARGETS, comparisons, strict=True):
        console().print(f"\n[bold]{target}[/bold], 5 classes, 1 image each", markup=True)
        print_table(console(), accuracy_table(comparison.evaluations, (0, 1, 5, 50), comparison.reference))
        console().print(_verdict(comparison))
    console().print(f"\n{seconds:.0f} s. Look at {out / 'report.html'}; scores are in {out / 'results.json'}.")


def _training(name: str, out: Path, threads: int) -> TrainConfig:
    special = METHODS[name]
    first = name == "protonet"
    return TrainConfig(
        method=name,
        data="glyphs",
        run=str(out / name),
        # a prototype network learns fastest from many classes at once; the others learn the task they will meet
        ways="40" if first else "5",
        shots="1",
        queries=2 if first else 5,
        tasks_per_batch=1 if first else 6,
        width=WIDTH,
        augment="elastic",
        quarter_turns=True,
        lr=0.004 if first else 0.001,
        validate_every=250 if first else 50,
        validate_tasks=10,
        init="" if name in ("protonet", "scratch") else str(out / "protonet"),
        threads=threads,
        **special,  # type: ignore[arg-type]
    )


def _verdict(comparison: Comparison) -> str:
    generated = comparison.evaluations["hypernet"][0].accuracy
    trained = comparison.evaluations["scratch"][50].accuracy
    gain: Interval = paired(generated, trained)
    return (
        f"The generated start at 0 steps against training from scratch at 50: {gain} points "
        f"(paired over {len(generated)} tasks)."
    )
