"""What ``genmeta evaluate`` and ``genmeta compare`` do under a ``--scenario`` other than few-shot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from genmeta.core.errors import UsageError
from genmeta.core.settings import EvaluationConfig
from genmeta.engine import Trained
from genmeta.reports import Picture, Report, Section, Table
from genmeta.reports.multitask import multitask_bars, multitask_table
from genmeta.reports.scenarios import domain_bars, domain_table, incremental_table, session_curves
from genmeta.scenarios import provenance
from genmeta.scenarios.domain import domain_json
from genmeta.scenarios.few_shot import describe_training
from genmeta.scenarios.incremental import incremental_json
from genmeta.scenarios.multitask import multitask_json, multitask_rows
from genmeta.scenarios.protocols import Protocol, domain_check, domain_rows, incremental_rows, protocol_json
from genmeta.scenarios.rehearsal import rehearse


class RehearsalPlan(NamedTuple):
    """What the command said of a rehearsal: in how many parts, where its runs go, with how many threads."""

    parts: int
    folder: Path
    threads: int


class _Scored(NamedTuple):
    """A scenario's object for a script, its table and its picture for a person."""

    result: dict[str, Any]
    table: Table
    picture: Picture


def score_scenario(
    rows: Mapping[str, Sequence[Trained]],
    config: EvaluationConfig,
    protocol: Protocol,
    rehearsal: RehearsalPlan | None = None,
) -> tuple[dict[str, Any], Table, Report]:
    """Scores checkpoints under a scenario's protocol: the object for a script, the table and the page for a person.

    Args:
        rows: row of the table -> its checkpoint; under ``multitask`` perhaps a team of several.
        config: on which episodes.
        protocol: of the scenario.
        rehearsal: of the domain scenario.

    Raises:
        UsageError: a team in another scenario, or whatever the scenario refuses.
    """
    teams = [name for name, members in rows.items() if len(members) > 1]
    if teams and protocol.scenario != "multitask":
        raise UsageError(f"{teams[0]!r} names a team of checkpoints: it goes with --scenario multitask.")
    trained = {name: members[0] for name, members in rows.items()}
    if protocol.scenario == "incremental":
        scored = _incremental(trained, config, protocol)
    elif protocol.scenario == "multitask":
        scored = _multitask(rows, config, teams)
    else:
        scored = _domains(trained, config, protocol, rehearsal)
    made = provenance()
    described = {name: [describe_training(member) for member in members] for name, members in rows.items()}
    result = {**scored.result, **made, "trained": {n: d if n in teams else d[0] for n, d in described.items()}}
    page = Report(
        title=f"The {protocol.scenario} scenario: {', '.join(trained)}",
        summary=f"{len(scored.result['methods'])} rows on the same tasks of {config.data}.",
        sections=(Section(config.data, "", (scored.table, scored.picture)),),
        provenance={"command": str(made["command"]), "commit": str(made["commit"]), "date": str(made["date"])},
    )
    return result, scored.table, page


def _incremental(trained: Mapping[str, Trained], config: EvaluationConfig, protocol: Protocol) -> _Scored:
    settings = _of(config, "split", "ways", "shots", "queries", "seed")
    scores = incremental_rows(trained, config.data, protocol, **settings)
    told = protocol_json(protocol, data=config.data, **settings)
    return _Scored(
        incremental_json(scores, next(iter(scores)), told), incremental_table(scores), session_curves(scores)
    )


def _multitask(rows: Mapping[str, Sequence[Trained]], config: EvaluationConfig, teams: list[str]) -> _Scored:
    cells = multitask_rows(rows, config)
    first = teams[0] if teams else next(iter(cells))
    result = multitask_json(cells, first, {"scenario": "multitask", **asdict(config)})
    return _Scored(result, multitask_table(cells, first), multitask_bars(cells))


def _domains(
    trained: Mapping[str, Trained], config: EvaluationConfig, protocol: Protocol, rehearsal: RehearsalPlan | None
) -> _Scored:
    settings = {**_of(config, "shots", "queries", "steps", "seed"), "episodes": config.tasks}
    scores = domain_rows(trained, config.data, protocol, **settings)
    first = "erm" if "erm" in scores else next(iter(scores))
    told = _of(config, "data", "shots", "queries", "tasks", "adapt_steps", "seed")
    result = domain_json(scores, first, protocol_json(protocol, **told))
    check = domain_check(trained, config.data, protocol, scores, first, **settings)
    if check is not None:
        result["check"] = check.summary()
    rehearsed = None
    if rehearsal is not None:
        parts, folder, threads = rehearsal
        rehearsed = rehearse(trained, scores, first, folder, parts=parts, threads=threads, labelled=protocol.labelled,
                             **settings)  # fmt: skip
        result["rehearsal"] = rehearsed.summary()
    return _Scored(result, domain_table(scores, first, check, rehearsed), domain_bars(scores))


def _of(config: EvaluationConfig, *names: str) -> dict[str, Any]:
    return {name: getattr(config, name) for name in names}
