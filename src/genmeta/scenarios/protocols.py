"""Checkpoints scored under the protocol of a scenario, with the baselines that belong beside them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np
import torch

from genmeta.core.errors import UsageError, unknown
from genmeta.core.settings import SCENARIOS
from genmeta.data import open_dataset
from genmeta.data.domains import DomainImages, open_domains
from genmeta.engine import Trained
from genmeta.engine.embedding import embedded_streams
from genmeta.engine.seen_classes import learned_from, warn_of_seen_classes
from genmeta.learners import Learner
from genmeta.methods import DOMAIN_METHODS, MetaLearner, build_method
from genmeta.scenarios.domain import DomainScores, score_domains
from genmeta.scenarios.domain_check import Check, check_domains
from genmeta.scenarios.incremental import IncrementalLearner, IncrementalScores, score_incremental
from genmeta.scenarios.incremental_learners import Finetuning, WrittenRows
from genmeta.tasks.sessions import IncrementalTasks
from genmeta.vision import DomainClassification


@dataclass(frozen=True)
class Protocol:
    """How tasks arrive, and on how many a checkpoint is scored.

    Attributes:
        scenario: few-shot, incremental or domain.
        hold_out: domains to score on, separated by commas; by default those that training held out.
        labelled: tell the classes of the images that are shown of a domain.
        base_classes: classes of an incremental stream's base session.
        base_shots: images of each of them.
        sessions: further sessions.
        new_split: split of the classes of further sessions; by default that of the base session.
        memory: images of each class that the replay baseline keeps.
        streams: incremental streams, each with other classes, another order and other images.
        orders: in how many orders of its sessions each stream is scored.
    """

    scenario: str = "few-shot"
    hold_out: str = ""
    labelled: bool = False
    base_classes: int = 60
    base_shots: int = 15
    sessions: int = 8
    new_split: str = ""
    memory: int = 2
    streams: int = 10
    orders: int = 1

    def __post_init__(self) -> None:
        if self.scenario not in SCENARIOS:
            raise unknown("scenario", self.scenario, SCENARIOS)
        if self.streams < 1:
            raise UsageError(f"streams must be 1 or more, got {self.streams}.")
        if self.orders < 1:
            raise UsageError(f"orders must be 1 or more, got {self.orders}.")


def incremental_rows(
    trained: Mapping[str, Trained],
    data: str,
    protocol: Protocol,
    *,
    split: str = "test",
    ways: int = 5,
    shots: int = 5,
    queries: int = 5,
    seed: int = 0,
    progress: bool = True,
) -> dict[str, IncrementalScores]:
    """Every checkpoint, and on the features of each the nearest class mean; fine-tuning and replay on the first's.

    Where later rows are written in a metric of the base session, also what that does without the generator.

    Args:
        trained: row -> checkpoint; all have to read images of one shape.
        data: data spec.
        protocol: of the streams.
        split: of the base classes.
        ways: new classes of a session.
        shots: images of each of them.
        queries: images of each class to ask for.
        seed: of the list of streams, the same for every row.
        progress: show bars.
    """
    first = _first(trained)
    config = first.meta_learner.learner.config
    for name, each in trained.items():
        if each.meta_learner.learner.config != config:
            raise UsageError(
                f"{name!r} reads other images than {next(iter(trained))!r}: score checkpoints of one learner together."
            )
    images = open_dataset(data, size=config.size, channels=config.channels)
    for name, each in trained.items():
        if split != "train":
            warn_of_seen_classes(learned_from(each.config), images, (split,), f"{name!r}")
    tasks = IncrementalTasks(
        images,
        split,
        base_classes=protocol.base_classes,
        base_shots=protocol.base_shots,
        sessions=protocol.sessions,
        ways=ways,
        shots=shots,
        queries=queries,
        new_split=protocol.new_split,
    )
    rows: dict[str, tuple[Learner, Callable[[], IncrementalLearner]]] = {}
    for name, each in trained.items():
        learner = each.meta_learner.learner
        rows[name] = learner, partial(WrittenRows, each.meta_learner)
        if each.method != "protonet":
            rows[f"class means on {name}'s features"] = learner, partial(WrittenRows, class_means(learner))
        if each.meta_learner.row_base.reads_earlier:
            rows[f"{name}'s metric alone"] = learner, partial(WrittenRows, uncorrected(each.meta_learner))
    base = first.meta_learner.learner
    rows["fine-tuning"] = base, partial(Finetuning, base)
    rows[f"replay, {protocol.memory} a class"] = base, partial(Finetuning, base, memory=protocol.memory)
    return {
        name: score_incremental(
            make,
            tasks,
            streams=protocol.streams,
            seed=seed,
            progress=progress,
            title=name,
            orders=protocol.orders,
            embedded=embedded_streams(learner, tasks),
        )
        for name, (learner, make) in rows.items()
    }


def class_means(learner: Learner) -> MetaLearner:
    """The nearest class mean on a learner's features."""
    return build_method("protonet", learner)


def uncorrected(meta_learner: MetaLearner) -> MetaLearner:
    """The same with the rows as they are before the generator corrects them."""
    plain = copy.deepcopy(meta_learner)
    with torch.no_grad():
        plain.row_scale.zero_()
    return plain


def domain_rows(
    trained: Mapping[str, Trained],
    data: str,
    protocol: Protocol,
    *,
    shots: int = 50,
    queries: int = 50,
    steps: tuple[int, ...] = (0,),
    episodes: int = 20,
    seed: int = 0,
    progress: bool = True,
) -> dict[str, DomainScores]:
    """Every checkpoint on the held-out domains; once more after steps, where its method takes any.

    Args:
        trained: row -> checkpoint of a method of the domain scenario.
        data: data spec of the domains.
        protocol: which domains are held out.
        shots: images of a domain that are shown, unlabelled.
        queries: images of a domain to classify.
        steps: adaptation steps.
        episodes: of each domain.
        seed: of the list of episodes, the same for every row.
        progress: show bars.

    Raises:
        UsageError: a checkpoint of another scenario, of another label set, or trained on a domain to score on.
    """
    rows: dict[str, DomainScores] = {}
    images, entries = _domain_entries(trained, data, protocol, steps)
    for row, each, held_out, step in entries:
        rows[row] = score_domains(
            each.meta_learner,
            images,
            held_out,
            shots=shots,
            queries=queries,
            steps=step,
            episodes=episodes,
            seed=seed,
            labelled=protocol.labelled,
            progress=progress,
            title=row,
        )
    return rows


def domain_check(
    trained: Mapping[str, Trained],
    data: str,
    protocol: Protocol,
    scores: Mapping[str, DomainScores],
    reference: str,
    *,
    shots: int = 50,
    queries: int = 50,
    steps: tuple[int, ...] = (0,),
    episodes: int = 20,
    seed: int = 0,
) -> Check | None:
    """Foretells from unlabelled images which of the scored rows does best on each domain; arguments as in scoring.

    Returns:
        The check; ``None`` where there is nothing to foretell: one row, one image, labels told, or networks that were
        trained on other data or other domains than each other.
    """
    images, entries = _domain_entries(trained, data, protocol, steps)
    training = [each.config["training"] for _, each, *_ in entries]
    alike = len({(t["data"], t["hold_out"]) for t in training}) == 1 and training[0]["data"] == data
    if len(entries) < 2 or shots < 2 or protocol.labelled or not alike:
        return None
    return check_domains(
        {row: (each.meta_learner, step) for row, each, _, step in entries},
        scores,
        images,
        images.sources(training[0]["hold_out"]),
        entries[0][2],
        reference=reference,
        shots=shots,
        queries=queries,
        episodes=episodes,
        seed=seed,
    )


def _domain_entries(
    trained: Mapping[str, Trained], data: str, protocol: Protocol, steps: tuple[int, ...]
) -> tuple[DomainImages, list[tuple[str, Trained, np.ndarray, int]]]:
    """The images; row, checkpoint, domains to score on and adaptation steps of every row."""
    first = _first(trained)
    config = first.meta_learner.learner.config
    images = open_domains(data, size=config.size, channels=config.channels)
    entries: list[tuple[str, Trained, np.ndarray, int]] = []
    for name, each in trained.items():
        if each.vision != DomainClassification.name:
            raise UsageError(
                f"{name!r} was not trained for domains. "
                f"Train one of {', '.join(DOMAIN_METHODS)} with --scenario domain."
            )
        if int(each.config["options"].get("classes", 0)) != len(images.class_names):
            raise UsageError(
                f"{name!r} knows another set of classes than {data!r}. Score it on the data it was trained on."
            )
        training = each.config["training"]
        held_out = images.held_out(protocol.hold_out or training["hold_out"])
        if training["data"] == data and set(images.sources(training["hold_out"])) & set(held_out):
            known = "its training held out none: train it with --hold-out"
            if kept := training["hold_out"]:
                known = f"its training held out {kept}: name no other with --hold-out"
            raise UsageError(f"{name!r} was trained on a domain that it is to be scored on; {known}.")
        moves = bool(each.meta_learner.step_sizes.shapes)
        entries += [
            (f"{name}, {step} step{'s' * (step > 1)}" if step else name, each, held_out, step)
            for step in (steps if moves else (0,))
        ]
    return images, entries


def protocol_json(protocol: Protocol, **more: object) -> dict[str, object]:
    """The protocol as plain data for a result file."""
    return {**asdict(protocol), **more}


def _first(trained: Mapping[str, Trained]) -> Trained:
    if not trained:
        raise UsageError("Nothing to score: name at least one method or run.")
    return next(iter(trained.values()))
