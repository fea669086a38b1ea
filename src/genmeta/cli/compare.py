"""``genmeta compare``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from genmeta.cli.commands import Compare
from genmeta.cli.output import console, print_json
from genmeta.cli.scenario_scores import RehearsalPlan, score_scenario
from genmeta.cli.train import warn_of_an_untrained_body
from genmeta.core.errors import UsageError
from genmeta.core.files import write_json
from genmeta.core.settings import EvaluationConfig, TrainConfig
from genmeta.engine import Trained, load, train
from genmeta.engine.checkpoint import MODEL
from genmeta.engine.runtime import keep_freed_memory, use_threads
from genmeta.engine.shipped import shipped
from genmeta.methods import DOMAIN_METHODS, METHODS, Method, find_method
from genmeta.reports import accuracy_table, comparison_report, print_table, write_report
from genmeta.scenarios import compare
from genmeta.scenarios.protocols import Protocol
from genmeta.tasks import Range


def run(command: Compare) -> None:
    """Trains, scores, prints a table, and writes ``results.json`` and ``report.html``."""
    if command.rehearse and command.protocol.scenario != "domain":
        raise UsageError("--rehearse keeps training domains out: it goes with --scenario domain.")
    keep_freed_memory()
    use_threads(command.threads)
    ready: dict[str, tuple[Trained, ...]] = {}
    runs: dict[str, TrainConfig] = {}
    called = _called(command.methods)
    for name in command.methods:
        if members := _checkpoints(name):
            ready[called[name]] = tuple(load(member) for member in members)
        else:
            for row, seed in _seeded(name, command).items():
                runs[row] = _training(find_method(name), command, row, seed)
            warn_of_an_untrained_body(runs[row])
    out = Path(command.out)
    if command.protocol.scenario != "few-shot":
        rows = {**ready, **{row: (train(config, resume=True),) for row, config in runs.items()}}
        protocol = Protocol(**command.protocol.values())
        rehearsal = RehearsalPlan(command.rehearse, out / "rehearsal", command.threads) if command.rehearse else None
        result, table, page = score_scenario(rows, _episodes(command), protocol, rehearsal)
        write_json(out / "results.json", result)
        write_report(out / "report.html", page)
        if command.json:
            print_json(result)
        else:
            print_table(console(), table)
            _print_places(out)
        return
    if teams := [row for row, members in ready.items() if len(members) > 1]:
        raise UsageError(f"{teams[0]!r} names a team of checkpoints: it goes with --scenario multitask.")
    comparison = compare(runs, [_episodes(command)], ready={row: members[0] for row, members in ready.items()})[0]
    result = comparison.as_json()
    write_json(out / "results.json", result)
    write_report(out / "report.html", comparison_report([comparison]))
    if command.json:
        print_json(result)
        return
    print_table(console(), accuracy_table(comparison.evaluations, comparison.config.steps, comparison.reference))
    _print_places(out)


def _print_places(out: Path) -> None:
    """Where the files of a comparison are."""
    console().print(f"{out / 'results.json'}  {out / 'report.html'}")


def _called(names: Sequence[str]) -> dict[str, str]:
    """What the rows of these names are called: by the last part of their paths, where that is of one row alone."""
    short = {
        name: "+".join(_last_part(Path(member)) for member in _checkpoints(name)) or name
        for name in dict.fromkeys(names)
    }
    often = Counter(short.values())
    return {name: last if often[last] == 1 else name for name, last in short.items()}


def _last_part(path: Path) -> str:
    return path.parent.name if path.name == MODEL and path.parent.name else path.name


def _checkpoints(name: str) -> list[str]:
    """The paths in ``RUN`` or, for a team, ``RUN+RUN``; none where it is the name of a method."""
    if name in METHODS or name in DOMAIN_METHODS:
        return []
    members = [name] if Path(name).exists() else name.split("+")
    return members if all(member and (Path(member).exists() or shipped(member)) for member in members) else []


def _seeded(name: str, command: Compare) -> dict[str, int]:
    """Row of the table -> seed of its training."""
    try:
        seeds = [int(seed) for seed in command.seeds.split(",")] if command.seeds else [command.seed]
    except ValueError:
        raise UsageError(f"--seeds takes numbers such as 0,1, got {command.seeds!r}.") from None
    return {name: seeds[0]} if len(seeds) == 1 else {f"{name}-seed{seed}": seed for seed in seeds}


def _training(method: Method, command: Compare, row: str, seed: int) -> TrainConfig:
    given = command.flags.options()
    mine = {name: value for name, value in given.items() if name in method.option_names}
    return TrainConfig(
        method=method.name,
        data=command.data,
        run=str(Path(command.out) / row),
        ways=command.ways,
        shots=command.shots,
        queries=command.queries,
        steps=command.steps,
        tasks_per_batch=command.tasks_per_batch,
        vision=command.vision,
        learner=command.learner,
        width=command.width,
        options=mine,
        augment=command.augment,
        quarter_turns=command.quarter_turns,
        norm=command.norm,
        scenario=command.protocol.scenario,
        hold_out=command.protocol.hold_out,
        labelled=command.protocol.labelled,
        min_images=command.min_images,
        lr=command.lr,
        # training from scratch would not be that from a pretrained start
        init="" if method.name == "scratch" else command.init,
        seed=seed,
        threads=command.threads,
        download=command.download,
        on_bad_image=command.on_bad_image,
    )


def _episodes(command: Compare) -> EvaluationConfig:
    unknown = [
        name
        for name in command.flags.options()
        if not any(name in find_method(m).option_names for m in command.methods if not _checkpoints(m))
    ]
    if unknown:
        raise UsageError(
            f"None of {', '.join(command.methods)} has an option {unknown[0]!r}; see genmeta list methods."
        )
    return EvaluationConfig(
        data=command.target or command.data,
        split=command.split,
        ways=Range.parse(command.ways, "ways").low,
        shots=Range.parse(command.shots, "shots").low,
        queries=command.queries,
        tasks=command.tasks,
        adapt_steps=command.adapt_steps,
        calibration_tasks=command.calibration_tasks,
        seed=command.seed,
        min_images=command.min_images,
        download=command.download,
        on_bad_image=command.on_bad_image,
    )
