"""Meta-training of a method on a data set: from settings to a run directory with a checkpoint."""

from __future__ import annotations

import dataclasses
import itertools
import platform
import shlex
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn

import genmeta
from genmeta.core.errors import RunError, UsageError
from genmeta.core.randomness import seeded
from genmeta.data import open_dataset
from genmeta.data.classes import ImageClasses
from genmeta.engine.checkpoint import MODEL, Trained, learner_header, load, load_weights, save_model
from genmeta.engine.evaluation import evaluate
from genmeta.engine.loop import LoopConfig, LoopResult, run_loop
from genmeta.engine.run_directory import RunDirectory, git_commit
from genmeta.engine.runtime import keep_freed_memory, use_threads
from genmeta.learners import Learner, LearnerConfig, build_learner
from genmeta.methods import METHODS, MetaLearner, Method, build_method, make_options
from genmeta.methods.objectives import Loss, Setting
from genmeta.tasks import ClassificationTasks


@dataclass(frozen=True)
class TrainConfig:
    """Everything a meta-training is made of; saved with the run.

    Attributes:
        method: name, see ``genmeta list methods``.
        data: data spec, see ``genmeta list datasets``; several joined by ``+`` are mixed.
        run: run directory.
        ways: classes of a task, a number or a range such as ``5-20``.
        shots: support images of each class, a number or a range.
        queries: query images of each class.
        steps: meta-steps.
        tasks_per_batch: tasks of a meta-step.
        learner: name, see ``genmeta list learners``.
        width: channels of the learner's first block; 0 for its default.
        norm: ``group``, or ``batch`` with support statistics.
        size: image height and width; 0 for the data set's own.
        channels: 1 or 3; 0 for the data set's own.
        options: replaces the method's defaults.
        augment: ``none``, ``affine`` or ``elastic`` jitter of training images.
        quarter_turns: count turned training classes as classes of their own; ``None`` for the data set's own setting.
        min_images: leave out classes with fewer images.
        lr: peak meta learning rate.
        clip: largest norm of the meta-gradient.
        validate_every: steps between validations.
        validate_tasks: episodes of a validation.
        init: checkpoint or run whose learner weights to start from.
        seed: of everything random.
        threads: CPU threads; 0 for torch's choice.
        device: ``auto``, ``cpu`` or ``cuda``.
        download: fetch the data set if it is missing.
        on_bad_image: ``fail`` or ``skip``.
    """

    method: str
    data: str
    run: str
    ways: str = "5"
    shots: str = "1"
    queries: int = 5
    steps: int = 1000
    tasks_per_batch: int = 16
    learner: str = "conv4"
    width: int = 0
    norm: str = "group"
    size: int = 0
    channels: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)
    augment: str = "none"
    quarter_turns: bool | None = None
    min_images: int = 0
    lr: float = 1e-3
    clip: float = 10.0
    validate_every: int = 200
    validate_tasks: int = 100
    init: str = ""
    seed: int = 0
    threads: int = 0
    device: str = "auto"
    download: bool = False
    on_bad_image: str = "fail"

    def __post_init__(self) -> None:
        for name in ("steps", "tasks_per_batch", "validate_every", "validate_tasks"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be 1 or more, got {getattr(self, name)}.")
        if not self.lr > 0 or not self.clip > 0:
            raise UsageError(f"lr and clip must be above 0, got {self.lr} and {self.clip}.")


class _Trainee(nn.Module):
    """What is optimised: the meta-learner and what only training needs."""

    def __init__(self, meta_learner: MetaLearner, objective: nn.Module) -> None:
        super().__init__()
        self.meta_learner, self.objective = meta_learner, objective


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
    use_threads(config.threads)
    method = METHODS[config.method]
    make_options(method, config.options)
    data = open_mixed(config)
    learner = _learner(config, data)
    meta_learner = build_method(method.name, learner, rng=seeded(config.seed, "method"), options=config.options)
    with RunDirectory(config.run, resume=resume) as run:
        resume = resume and run.state_path.exists()
        header = describe(config, learner, meta_learner)
        if resume:
            _same_settings(run, config)
        else:
            run.write_config({"training": dataclasses.asdict(config), **header})
        best = run.path / MODEL
        if method.objective is None:
            save_model(best, meta_learner, {**header, "result": {"steps": 0, "seconds": 0.0}})
            return _tuned(best, method, config, data)
        sources = [_tasks(d, "train", config) for d in data]
        setting = Setting(tuple(sources), config.seed, run.path)
        objective = method.objective(meta_learner, make_options(method, config.options), setting)
        offsets = [0, *itertools.accumulate(s.n_classes for s in sources)]
        trainee = _Trainee(meta_learner, objective)
        fabric = Fabric(accelerator=config.device, devices=1)
        trainee.to(fabric.device)

        def losses(step: int) -> Iterator[Loss]:
            # a function of the step number alone: that is what makes a resumed run equal a straight one
            which = step % len(sources)
            task = sources[which].sample(config.tasks_per_batch, rng=seeded(config.seed, "tasks", step))
            task = task._replace(class_ids=task.class_ids + offsets[which]).to(fabric.device)
            return objective.losses(meta_learner, task, seeded(config.seed, "noise", step))

        result: list[LoopResult] = []

        def keep_best() -> None:
            save_model(best, meta_learner, header)

        result.append(
            run_loop(
                fabric,
                trainee,
                losses,
                _validation(config, data, meta_learner),
                keep_best,
                run,
                LoopConfig(config.steps, config.lr, config.clip, config.validate_every),
                players=objective.players(),
                resume=resume,
                title=f"{method.name} on {config.data}",
                tasks_per_step=config.tasks_per_batch,
                progress=progress,
            )
        )
        if not result[0].finished:
            raise KeyboardInterrupt
        seconds = {"steps": result[0].step, "seconds": round(result[0].seconds, 1)}
        trained = load(best)
        save_model(best, trained.meta_learner, {**header, "result": seconds})
        return _tuned(best, method, config, data)


def open_mixed(config: TrainConfig) -> list[ImageClasses]:
    """Opens the data sets of a spec such as ``glyphs`` or ``omniglot+glyphs``, all with the first one's image shape."""
    opened: list[ImageClasses] = []
    size, channels = config.size or None, config.channels or None
    for spec in config.data.split("+"):
        data = open_dataset(
            spec, size=size, channels=channels, download=config.download, on_bad_image=config.on_bad_image
        )
        opened.append(data)
        channels, size = data.image_shape[0], data.image_shape[1]
    shapes = {d.image_shape for d in opened}
    if len(shapes) > 1:
        raise UsageError(f"The data sets of {config.data!r} have images of different shapes {shapes}; set --size.")
    return opened


def _learner(config: TrainConfig, data: list[ImageClasses]) -> Learner:
    channels, size, _ = data[0].image_shape
    settings = LearnerConfig(config.learner, channels, size, config.width, config.norm)
    learner = build_learner(settings, seeded(config.seed, "learner"))
    if config.init:
        load_weights(learner, config.init, prefix="learner.")
    return learner


def _tasks(data: ImageClasses, split: str, config: TrainConfig) -> ClassificationTasks:
    training = split == "train"
    return ClassificationTasks(
        data,
        split,
        ways=config.ways if training else 5,
        shots=config.shots if training else 1,
        queries=config.queries if training else 5,
        augment=config.augment if training else "none",
        quarter_turns=config.quarter_turns if training else None,
        min_images=config.min_images if training else max(config.min_images, 6),
    )


def _validation(config: TrainConfig, data: list[ImageClasses], meta_learner: MetaLearner) -> Any:
    """A function that scores held-out classes, 5-way (or as many as there are) 1-shot; ``None`` without any."""
    held_out: list[ClassificationTasks] = []
    for source in data:
        enough = int((source.counts()[source.splits["val"]] >= max(config.min_images, 6)).sum())
        if enough >= 2:
            tasks = ClassificationTasks(
                source, "val", ways=min(20, enough), shots=1, queries=5, min_images=max(config.min_images, 6)
            )
            held_out.append(tasks)
    if not held_out:
        return None

    def validate() -> float:
        n_tasks = max(1, config.validate_tasks // len(held_out))
        step = meta_learner.inner_steps
        scores = [
            evaluate(meta_learner, tasks, n_tasks=n_tasks, steps=(step,), seed=config.seed + 1, time_tasks=0)
            for tasks in held_out
        ]
        return float(sum(s[step].accuracy.mean() for s in scores) / len(scores))

    return validate


def _tuned(best: Path, method: Method, config: TrainConfig, data: list[ImageClasses]) -> Trained:
    """Chooses among the method's settings to tune on validation tasks; saves and returns the best."""
    trained = load(best)
    given = {name for choice in method.tune for name in choice} & set(config.options)
    if not method.tune or given:
        return trained
    scored: list[tuple[float, Mapping[str, Any]]] = []
    for choice in method.tune:
        options = {**trained.config["options"], **choice}
        candidate = build_method(method.name, trained.meta_learner.learner, options=options)
        validate = _validation(dataclasses.replace(config, validate_tasks=30), data, candidate)
        if validate is None:
            return trained
        scored.append((validate(), choice))
    _, chosen = max(scored, key=lambda pair: pair[0])
    header = {**trained.config, "options": {**trained.config["options"], **chosen}}
    header.pop("schema")
    save_model(best, build_method(method.name, trained.meta_learner.learner, options=header["options"]), header)
    return load(best)


def describe(config: TrainConfig, learner: Learner, meta_learner: MetaLearner) -> dict[str, Any]:
    """The checkpoint's header: what was trained, how, with which versions, from which commit."""
    return {
        "method": config.method,
        "options": dict(config.options),
        "learner": learner_header(learner.config),
        "vision": "classification",
        "training": dataclasses.asdict(config),
        "parameters": sum(p.numel() for p in meta_learner.parameters()),
        "provenance": {
            "genmeta": genmeta.__version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
            "commit": git_commit(Path(__file__).parent),
            "command": shlex.join(["genmeta", *sys.argv[1:]]),
        },
    }


def _same_settings(run: RunDirectory, config: TrainConfig) -> None:
    before = run.read_config().get("training", {})
    free = {"run", "threads", "device", "download"}
    now = dataclasses.asdict(config)
    changed = sorted(name for name in now if name not in free and before.get(name) != now[name])
    if changed:
        name = changed[0]
        raise RunError(
            f"The run {str(run.path)!r} was begun with {name}={before.get(name)!r}, not {now[name]!r}. "
            "Resume with the settings of its config.json, or start another run."
        )


