"""Meta-training of a method on a data set: from settings to a run directory with a checkpoint."""

from __future__ import annotations

import copy
import dataclasses
import importlib.metadata
import itertools
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import nan
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn

from genmeta.core.errors import RunError, UsageError
from genmeta.core.randomness import TaskStreams, lent_to_torch, seeded
from genmeta.core.settings import TrainConfig
from genmeta.core.types import Task
from genmeta.data.domains import DomainImages
from genmeta.engine.averaging import WeightAverage
from genmeta.engine.checkpoint import (
    MODEL,
    Trained,
    learner_header,
    load,
    load_weights,
    read_header,
    save_model,
    save_state,
)
from genmeta.engine.diagnosis import describe_fault
from genmeta.engine.embedding import embedded
from genmeta.engine.evaluation import evaluate
from genmeta.engine.loop import LoopConfig, LoopResult, run_loop
from genmeta.engine.processes import find_place, join, leave, threads_each
from genmeta.engine.run_directory import RunDirectory, git_commit
from genmeta.engine.runtime import check_precision, command_line, keep_freed_memory, multiply_in, use_threads
from genmeta.engine.seen_classes import learned_from, warn_of_seen_classes
from genmeta.engine.task_sources import (
    Data,
    Opened,
    open_mixed,
    training_tasks,
    validation_tasks,
    vision_name,
)
from genmeta.engine.workers import ALONE, Workers
from genmeta.generators import Particles
from genmeta.learners import Learner, LearnerConfig, build_learner
from genmeta.methods import DOMAIN_METHODS, METHODS, MetaLearner, Method, build_method, find_method, make_options
from genmeta.methods.multitask import MultiTaskLoss, facing, told
from genmeta.methods.objectives import Loss, Objective, Setting
from genmeta.methods.sessions_loss import SessionsLoss
from genmeta.tasks import Range, TaskDistribution
from genmeta.vision import Classification, DomainClassification, visual_task

#: Validation episodes for each candidate setting of a method that is tuned.
TUNING_TASKS = 20


class _Trainee(nn.Module):
    """What is optimised: the meta-learner and what only training needs."""

    def __init__(self, meta_learner: MetaLearner, objective: Objective) -> None:
        super().__init__()
        self.meta_learner, self.objective = meta_learner, objective
        self.average = WeightAverage(meta_learner, objective.averaging)


def train(config: TrainConfig, *, resume: bool = False, progress: bool = True) -> Trained:
    """Meta-trains a method and leaves its best checkpoint in the run directory.

    Args:
        config: settings.
        resume: go on with the run if it has begun.
        progress: show a progress bar on stderr.

    Returns:
        The best checkpoint by validation accuracy (the last one where the data has no validation classes).

    Raises:
        GenmetaError: bad settings, data or run directory.
        KeyboardInterrupt: interrupted; the run can be resumed.
    """
    keep_freed_memory()
    place = find_place(config.devices, config.nodes)
    use_threads(threads_each(config.threads, place))
    if config.device == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda needs a CUDA GPU that torch can use, and there is none. Use auto or cpu.")
    config, opened = _settled(config)
    method = find_method(config.method)
    make_options(method, config.options)
    learner = _learner(config, opened[0].data)
    vision = visual_task(vision_name(config))()
    meta_learner = build_method(
        method.name, learner, vision=vision, rng=seeded(config.seed, "method"), options=config.options
    )
    meta_learner.chunk_size = config.chunk_size
    if len(config.inits) > 1:
        _begin_particles(meta_learner, config.inits)
    if config.freeze_learner:
        learner.requires_grad_(False)
    check_precision(meta_learner)
    multiply_in(meta_learner, config.precision)
    for init in config.inits:
        for one in opened:
            warn_of_seen_classes(learned_from(read_header(init)), one.data, ("val", "test"), f"{init!r}")
    # before the run directory exists: settings that cannot work leave nothing behind
    sources = tuple(training_tasks(one, config) for one in opened) if method.objective is not None else ()
    if sources and not any(p.requires_grad for p in learner.parameters()):
        drawn = config.steps * config.tasks_per_batch * sources[0].ways.low * (sources[0].shots.low + config.queries)
        sources = tuple(embedded(meta_learner, source, drawn // len(sources)) or source for source in sources)
    with RunDirectory(config.run, resume=resume, leads=place.leads) as run:
        resume = resume and run.state_path.exists()
        header = describe(config, learner, meta_learner)
        if resume:
            _same_settings(run, config)
            if (done := _finished(run.path / MODEL)) is not None:
                return done
        elif place.leads:
            run.write_config({"training": dataclasses.asdict(config), **header})
        result = {"steps": 0, "seconds": 0.0}
        if method.objective is None:
            if not place.leads:
                return Trained(meta_learner.eval(), header)
            save_model(run.path / MODEL, meta_learner, header)
            save_state(run.state_path, {"step": 0})
        else:
            # only now, when all that could be wrong with settings and data has been said once
            fabric = join(place, config.device)
            try:
                workers = Workers(place.rank, place.size)
                resume = workers.told(resume)
                validate = _validation(config, opened, meta_learner, workers=workers)
                trainee = _trainee(
                    config, method, meta_learner, Setting(sources, config.seed, run.path if place.leads else None)
                )
                ended = _loop(config, fabric, workers, trainee, sources, validate, run, header, resume, progress)
            finally:
                leave(place)
            if not ended.finished:
                raise KeyboardInterrupt
            if not place.leads:
                return Trained(meta_learner.eval(), header)
            result = {
                "steps": ended.step,
                "seconds": round(ended.seconds, 1),
                "cpu_seconds": round(ended.cpu_seconds, 1),
            }
        return _finish(run.path / MODEL, method, config, opened, {**header, "result": result})


def _trainee(config: TrainConfig, method: Method, meta_learner: MetaLearner, setting: Setting) -> _Trainee:
    if method.objective is None:
        raise TypeError(f"{method.name} has nothing to train")
    with lent_to_torch(seeded(config.seed, "objective")):
        objective = method.objective(meta_learner, make_options(method, config.options), setting)
        if config.scenario == "incremental":
            objective = SessionsLoss()
        elif config.scenario == "multitask":
            objective = MultiTaskLoss(objective)
    return _Trainee(meta_learner, objective)


def _loop(
    config: TrainConfig,
    fabric: Fabric,
    workers: Workers,
    trainee: _Trainee,
    sources: tuple[TaskDistribution, ...],
    validate: Callable[[], float] | None,
    run: RunDirectory,
    header: Mapping[str, Any],
    resume: bool,
    progress: bool,
) -> LoopResult:
    meta_learner, objective = trainee.meta_learner, trainee.objective
    offsets = [0, *itertools.accumulate(s.n_classes for s in sources)]
    trainee.to(fabric.device)
    sources = tuple(source.on(fabric.device) for source in sources)

    if not any(p.requires_grad for p in trainee.parameters()):
        raise UsageError(
            f"Nothing is left to train of {config.method!r} on a frozen learner. Leave --freeze-learner out."
        )
    average = trainee.average

    def tasks(step: int) -> Task:
        # a function of the step number alone: that is what makes a resumed run equal to a straight one. Every process
        # draws the whole batch and takes its part, so the tasks do not depend on how many processes there are
        which = step % len(sources)
        task = sources[which].sample(config.tasks_per_batch, rng=seeded(config.seed, "tasks", step))
        task = task._replace(class_ids=task.class_ids + offsets[which])
        return task.slice(*workers.share(config.tasks_per_batch)).to(fabric.device)

    def losses(step: int) -> Iterator[Loss]:
        if step:
            average.update(step)
        objective.begin(step, config.steps)
        return objective.losses(meta_learner, tasks(step), TaskStreams(config.seed, "noise", step))

    def describe_tasks(step: int, start: float, stop: float) -> str:
        which, task = step % len(sources), tasks(step)
        task = task._replace(class_ids=task.class_ids - offsets[which])
        return describe_fault(facing(meta_learner, task.query.targets), task, sources[which], step, start, stop)

    def keep_best() -> None:
        with average.applied():
            save_model(run.path / MODEL, meta_learner, header)

    def score() -> float:
        with average.applied():
            return nan if validate is None else validate()

    return run_loop(
        fabric,
        trainee,
        losses,
        None if validate is None else score,
        keep_best,
        run,
        LoopConfig(config.steps, config.lr, config.clip, config.validate_every, on_nonfinite=config.on_nonfinite),
        players=objective.players(),
        resume=resume,
        title=f"{config.method} on {config.data}",
        tasks_per_step=config.tasks_per_batch,
        progress=progress and workers.leads,
        describe=describe_tasks,
        workers=workers,
    )


def _settled(config: TrainConfig) -> tuple[TrainConfig, list[Opened]]:
    """The settings with what a scenario settles by itself, and the opened data.

    Raises:
        UsageError: a method or an option that belongs to another scenario.
    """
    of_domains = config.scenario == "domain"
    registry = DOMAIN_METHODS if of_domains else METHODS
    if config.method not in registry and config.method in (METHODS if of_domains else DOMAIN_METHODS):
        hint = "" if of_domains else f" {config.method!r} goes with --scenario domain."
        raise UsageError(
            f"{config.method!r} is no method of the {config.scenario} scenario, whose methods are "
            f"{', '.join(registry.names())}.{hint}"
        )
    if config.hold_out and not of_domains:
        raise UsageError(f"--hold-out {config.hold_out} names domains: it goes with --scenario domain.")
    if config.labelled and not of_domains:
        raise UsageError("--labelled is about the images shown of a domain: it goes with --scenario domain.")
    if of_domains:
        config = dataclasses.replace(config, vision=DomainClassification.name)
    opened = open_mixed(config)
    first = opened[0].data
    if isinstance(first, DomainImages):
        if len(opened) > 1:
            raise UsageError("The domain scenario takes one data set: its classes are the same in every domain.")
        options = {**config.options, "classes": len(first.class_names)}
        config = dataclasses.replace(config, options=options)
    return config, opened


def _learner(config: TrainConfig, data: Data) -> Learner:
    channels, size, _ = data.image_shape
    vision = visual_task(vision_name(config))
    name = config.learner or vision.learner
    settings = LearnerConfig(name, channels, size, config.width, config.norm, extra=vision.extra_channels)
    learner = build_learner(settings, seeded(config.seed, "learner"))
    if config.inits:
        load_weights(learner, config.inits[0], prefix="learner.")
    return learner


def _begin_particles(meta_learner: MetaLearner, inits: Sequence[str]) -> None:
    """Each particle at the learner of one checkpoint.

    Raises:
        UsageError: a method without particles, or with others than whole networks, or with another number of them.
    """
    writer, learner = meta_learner.writer, meta_learner.learner
    whole = isinstance(writer, Particles) and set(writer.names) == set(learner.own_weights())
    if not isinstance(writer, Particles) or not whole or writer.count != len(inits):
        raise UsageError(
            f"--init names {len(inits)} checkpoints, but one network has one start. Name one; or train particles, one "
            f"for each: bmaml with generate=all and particles={len(inits)}."
        )
    starts = []
    for init in inits:
        other = copy.deepcopy(learner)
        load_weights(other, init, prefix="learner.")
        starts.append(other.own_weights())
    writer.begin_at(starts)


def _validation(
    config: TrainConfig,
    opened: list[Opened],
    meta_learner: MetaLearner,
    ways: int = 20,
    workers: Workers = ALONE,
) -> Callable[[], float] | None:
    """A function that scores held-out classes, ``ways``-way (or as many as there are) 1-shot; ``None`` without any."""
    if config.vision not in (Classification.name, DomainClassification.name):
        ways = Range.parse(config.ways, "ways").high  # a map for 20 classes would take long for what it says
    given: dict[str, Any] = {"shots": config.shots, "hold_out": config.hold_out, "labelled": config.labelled}
    found = ((kind, validation_tasks(data, kind, ways, config.min_images, **given)) for kind, data in opened)
    held_out = [(kind, tasks) for kind, tasks in found if tasks is not None]
    if not held_out:
        return None

    def validate() -> float:
        n_tasks = max(1, config.validate_tasks // len(held_out))
        step = meta_learner.inner_steps
        scores = [
            evaluate(
                told(meta_learner, kind),
                tasks,
                n_tasks=n_tasks,
                steps=(step,),
                seed=config.seed + 1,
                time_tasks=0,
                workers=workers,
            )
            for kind, tasks in held_out
        ]
        return float(sum(s[step].accuracy.mean() for s in scores) / len(scores))

    return validate


def _finished(path: Path) -> Trained | None:
    """The checkpoint of a run that has nothing left to do."""
    if not path.is_file():
        return None
    trained = load(path)
    return trained if "result" in trained.config else None


def _finish(
    path: Path, method: Method, config: TrainConfig, opened: list[Opened], header: Mapping[str, Any]
) -> Trained:
    """Chooses the settings that the method wants tuned, on validation tasks, and marks the checkpoint as finished."""
    learner, vision = load(path).meta_learner.learner, visual_task(vision_name(config))
    scored: list[tuple[float, Mapping[str, Any]]] = []
    for choice in method.tune:
        if set(choice) & set(config.options):
            break  # the caller has chosen
        candidate = build_method(method.name, learner, vision=vision(), options={**config.options, **choice})
        validate = _validation(dataclasses.replace(config, validate_tasks=TUNING_TASKS), opened, candidate, ways=5)
        if validate is None:
            break
        scored.append((validate(), choice))
    chosen = max(scored, key=lambda pair: pair[0])[1] if scored else {}
    header = {**header, "options": {**config.options, **chosen}}
    trained = load(path)
    if chosen:
        # step sizes are part of the saved state, so the tuned ones must come from a newly built meta-learner
        tuned = build_method(
            method.name,
            trained.meta_learner.learner,
            vision=trained.meta_learner.vision,
            options=header["options"],
        )
        save_model(path, tuned, header)
    else:
        save_model(path, trained.meta_learner, header)
    return load(path)


def describe(config: TrainConfig, learner: Learner, meta_learner: MetaLearner) -> dict[str, Any]:
    """The checkpoint's header: what was trained, how, with which versions, from which commit."""
    before = [spec for init in config.inits for spec in learned_from(read_header(init))]
    return {
        "method": config.method,
        "options": dict(config.options),
        "learner": learner_header(learner.config),
        "vision": meta_learner.vision.name,
        "training": dataclasses.asdict(config),
        "learned_from": [*before, *config.data.split("+")],
        "parameters": sum(p.numel() for p in meta_learner.parameters()),
        "provenance": {
            "genmeta": importlib.metadata.version("genmeta"),
            "torch": torch.__version__,
            "python": platform.python_version(),
            "commit": git_commit(Path(__file__).parent),
            "command": command_line(),
        },
    }


def _same_settings(run: RunDirectory, config: TrainConfig) -> None:
    before = run.read_config().get("training", {})
    free = {"run", "threads", "device", "download", "on_nonfinite", "devices", "nodes"}
    now = dataclasses.asdict(config)
    # a run of an earlier version did not name the settings that have come since: they stood at their defaults
    before = {**{f.name: f.default for f in dataclasses.fields(config)}, **before}
    changed = sorted(name for name in now if name not in free and before[name] != now[name])
    if changed:
        name = changed[0]
        raise RunError(
            f"The run {str(run.path)!r} was begun with {name}={before.get(name)!r}, not {now[name]!r}. "
            "Resume with the settings of its config.json, or start another run."
        )
