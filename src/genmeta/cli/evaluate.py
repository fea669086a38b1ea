"""``genmeta evaluate``."""

from __future__ import annotations

from dataclasses import fields

from genmeta.cli.commands import Evaluate
from genmeta.cli.output import console, print_json
from genmeta.cli.scenario_scores import score_scenario
from genmeta.core.errors import UsageError
from genmeta.core.files import write_json
from genmeta.core.settings import EvaluationConfig
from genmeta.engine import load
from genmeta.engine.runtime import keep_freed_memory, use_threads
from genmeta.reports import accuracy_table, print_table
from genmeta.scenarios import Comparison, score
from genmeta.scenarios.protocols import Protocol


def run(command: Evaluate) -> None:
    """Scores and prints a table."""
    if not command.checkpoint:
        raise UsageError("Name a run directory or a checkpoint file: genmeta evaluate RUN --data SPEC.")
    keep_freed_memory()
    use_threads(command.threads)
    config = EvaluationConfig(**{field.name: getattr(command, field.name) for field in fields(EvaluationConfig)})
    trained = load(command.checkpoint)
    if command.protocol.scenario != "few-shot":
        result, table, _ = score_scenario({trained.method: [trained]}, config, Protocol(**command.protocol.values()))
        if command.out:
            write_json(command.out, result)
        if command.json:
            print_json(result)
        else:
            print_table(console(), table)
        return
    evaluation = score(trained, config)
    comparison = Comparison({trained.method: trained}, {trained.method: evaluation}, config)
    result = comparison.as_json()
    if command.out:
        write_json(command.out, result)
    if command.json:
        print_json(result)
    else:
        print_table(console(), accuracy_table(comparison.evaluations, config.steps, None))
