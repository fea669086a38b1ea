"""What ``genmeta evaluate`` and ``genmeta compare`` do under a ``--scenario`` other than few-shot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from genmeta.core.errors import UsageError
from genmeta.core.settings import EvaluationConfig
from genmeta.engine import Trained
from genmeta.reports import Report, Section, Table
from genmeta.reports.multitask import multitask_bars, multitask_table
from genmeta.reports.scenarios import domain_bars, domain_table, incremental_table, session_curves
from genmeta.scenarios import provenance
from genmeta.scenarios.domain import domain_json
from genmeta.scenarios.few_shot import describe_training
from genmeta.scenarios.incremental import incremental_json
from genmeta.scenarios.multitask import multitask_json, multitask_rows
from genmeta.scenarios.protocols import Protocol, domain_check, domain_rows, incremental_rows, protocol_json


def score_scenario(
    rows: Mapping[str, Sequence[Trained]], config: EvaluationConfig, protocol: Protocol
) -> tuple[dict[str, Any], Table, Report]:
    """Scores checkpoints under a scenario's protocol: the object for a script, the table and the page for a person.

    Args:
        rows: row of the table -> its checkpoint; under ``multitask`` perhaps a team of several.
        config: on which episodes.
        protocol: of the scenario.

    Raises:
        UsageError: a team in another scenario, or whatever the scenario refuses.
    """
    teams = [name for name, members in rows.items() if len(members) > 1]
    if teams and protocol.scenario != "multitask":
        raise UsageError(f"{teams[0]!r} names a team of checkpoints: it goes with --scenario multitask.")
    trained = {name: members[0] for name, members in rows.items()}
    if protocol.scenario == "incremental":
        scores = incremental_rows(
            trained,
            config.data,
            protocol,
            split=config.split,
            ways=config.ways,
            shots=config.shots,
            queries=config.queries,
            seed=config.seed,
        )
        first = next(iter(scores))
        more = {name: getattr(config, name) for name in ("data", "split", "ways", "shots", "queries", "seed")}
        result = incremental_json(scores, first, protocol_json(protocol, **more))
        table, picture = incremental_table(scores), session_curves(scores)
    elif protocol.scenario == "multitask":
        cells = multitask_rows(rows, config)
        first = teams[0] if teams else next(iter(cells))
        result = multitask_json(cells, first, {"scenario": "multitask", **asdict(config)})
        table, picture = multitask_table(cells, first), multitask_bars(cells)
    else:
        settings: dict[str, Any] = {name: getattr(config, name) for name in ("shots", "queries", "steps", "seed")}
        settings["episodes"] = config.tasks
        of_domains = domain_rows(trained, config.data, protocol, **settings)
        first = "erm" if "erm" in of_domains else next(iter(of_domains))
        more = {name: getattr(config, name) for name in ("data", "shots", "queries", "tasks", "adapt_steps", "seed")}
        result = domain_json(of_domains, first, protocol_json(protocol, **more))
        check = domain_check(trained, config.data, protocol, of_domains, first, **settings)
        if check is not None:
            result["check"] = check.summary()
        table, picture = domain_table(of_domains, first, check), domain_bars(of_domains)
    made = provenance()
    described = {name: [describe_training(member) for member in members] for name, members in rows.items()}
    result = {**result, **made, "trained": {n: d if n in teams else d[0] for n, d in described.items()}}
    page = Report(
        title=f"The {protocol.scenario} scenario: {', '.join(trained)}",
        summary=table.caption,
        sections=(Section(config.data, "", (table, picture)),),
        provenance={"command": str(made["command"]), "commit": str(made["commit"]), "date": str(made["date"])},
    )
    return result, table, page
