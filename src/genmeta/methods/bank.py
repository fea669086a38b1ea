"""The weight bank: for many training tasks, the class rows that many labels ask for, beside the few-shot support set.

A bank is what a generator of weights can be fitted to: ``(support features, θ*)`` of task after task. ``θ*`` is found
from the support images and further images of the same classes (:mod:`genmeta.methods.bank_fit`). The bank draws its
own tasks from the training classes and has no query images at all, so no ``θ*`` can have seen the query set of an
episode.

Only class rows are banked. With the body fixed, the best rows of a task are one point (a convex problem), found from
one reference start, so they are a clean target. The best weights of a whole network are not: permuting hidden units
gives as many equally good networks as one likes, and a generator fitted to their mixture learns a useless mean.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from genmeta.core.errors import DataError, UsageError
from genmeta.core.files import atomic_path
from genmeta.core.randomness import seeded
from genmeta.learners import Learner
from genmeta.methods.bank_fit import Scaling, choose_penalty, fit_rows
from genmeta.tasks import ClassificationTasks

FILE, SCHEMA = "bank.safetensors", 1
#: Tasks that share ways and shots, and are used together.
GROUP = 16
#: Tasks whose images are embedded together; bounds memory, not results.
_EMBEDDED = 4


class BankGroup(NamedTuple):
    """Some tasks of a bank.

    Attributes:
        features: ``[T N D]`` of the support images.
        targets: ``[T N]`` classes of the support images.
        rows: ``[T K R]`` what many labels ask for.
    """

    features: Float[Tensor, "T N D"]
    targets: Int[Tensor, "T N"]
    rows: Float[Tensor, "T K R"]

    @property
    def ways(self) -> int:
        """Number of classes ``K``."""
        return self.rows.shape[1]


@dataclass(frozen=True)
class BankConfig:
    """Settings of a bank.

    Attributes:
        tasks: how many, rounded up to groups of 16.
        labels: images of each class beside the support set, at most; as many as every class has, if fewer.
        steps: of each fit.
        seed: names the list of tasks.
    """

    tasks: int = 256
    labels: int = 15
    steps: int = 200
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.tasks, self.labels, self.steps) < 1:
            raise UsageError(
                f"A bank needs 1 or more tasks, labels and steps, got {self.tasks}, {self.labels}, {self.steps}."
            )


class WeightBank:
    """A bank in a run directory: built from a learner when it is first asked for, read back while it is fresh.

    A bank is fresh while learner, data and settings are those that it was built from. It is a function of them and of
    nothing else, so a run that is resumed has the same bank whether or not the file survived.

    Args:
        learner: whose features the rows are for.
        sources: the training tasks; groups take turns among them.
        config: settings.
        directory: where to keep it.
    """

    def __init__(
        self, learner: Learner, sources: tuple[ClassificationTasks, ...], config: BankConfig, directory: Path
    ) -> None:
        path = directory / FILE
        key = _key(learner, sources, config)
        stored = _read(path, key)
        self.built = stored is None
        if stored is None:
            with torch.no_grad():
                self.penalty, self.groups = _build(learner, sources, config)
            _write(path, key, self.penalty, self.groups)
        else:
            self.penalty, self.groups = stored

    def draw(self, rng: torch.Generator) -> BankGroup:
        """One of the groups."""
        return self.groups[int(torch.randint(0, len(self.groups), (), generator=rng))]


def _build(
    learner: Learner, sources: tuple[ClassificationTasks, ...], config: BankConfig
) -> tuple[float, list[BankGroup]]:
    scaling: Scaling | None = None
    penalty, groups = 0.0, []
    for support, targets, features, labels, ways in _labelled(learner, sources, config):
        if scaling is None:
            # the first group sets what is common to all: scale of the features, strength of the regularisation
            scaling = Scaling.of(features)
            held_out = max(1, (labels.shape[1] - targets.shape[1]) // 3)
            penalty = choose_penalty(features, labels, held_out, ways, scaling, config.steps)
        groups.append(BankGroup(support, targets, fit_rows(features, labels, ways, scaling, penalty, config.steps)))
    return penalty, groups


def _labelled(
    learner: Learner, sources: tuple[ClassificationTasks, ...], config: BankConfig
) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor, int]]:
    """Features and classes of the support set, then of support set and further labels, then the number of classes."""
    device = next(learner.parameters()).device
    for group in range(-(-config.tasks // GROUP)):
        source = _with_labels(sources[group % len(sources)], config.labels)
        task = source.sample(GROUP, rng=seeded(config.seed, "bank", group))
        pairs = []
        for at in range(0, GROUP, _EMBEDDED):
            part = task.slice(at, at + _EMBEDDED).to(device)
            support, statistics = learner.features(part.support.images)
            more, _ = learner.features(part.query.images, None, statistics)
            pairs.append((support, torch.cat([support, more], 1)))
        targets = task.support.targets.to(device)
        labels = torch.cat([targets, task.query.targets.to(device)], 1)
        yield torch.cat([a for a, _ in pairs]), targets, torch.cat([b for _, b in pairs]), labels, task.ways


def _with_labels(source: ClassificationTasks, labels: int) -> ClassificationTasks:
    """The same tasks, with further labelled images of each class where query images would be."""
    spare = source.fewest_images - source.shots.high
    if spare < 1:
        raise DataError(
            f"A weight bank needs {source.shots.high + 1} or more images of each class, but {source.data.name!r} has a "
            f"class with {source.fewest_images}. Lower --shots, or pass min_images={source.shots.high + 1}."
        )
    return source.with_queries(min(labels, spare))


def learner_hash(learner: Learner) -> str:
    """SHA-256 of a learner's weights and settings."""
    digest = hashlib.sha256(repr(learner.config).encode())
    _add(digest, learner.state_dict())
    return digest.hexdigest()


def _key(learner: Learner, sources: tuple[ClassificationTasks, ...], config: BankConfig) -> str:
    digest = hashlib.sha256(f"{SCHEMA} {GROUP} {learner_hash(learner)} {sorted(asdict(config).items())}".encode())
    for source in sources:
        data = source.data
        how = (source.ways, source.shots, source.augment, source.quarter_turns, source.split)
        digest.update(f"{[str(part) for part in how]} {data.name} {data.images.shape}".encode())
        digest.update(np.ascontiguousarray(data.offsets).tobytes() + np.ascontiguousarray(source.classes).tobytes())
        digest.update(np.ascontiguousarray(data.images[:: max(1, len(data.images) // 64)]).tobytes())
    return digest.hexdigest()


def _add(digest: Any, tensors: dict[str, Tensor]) -> None:
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode() + value.numpy().tobytes())


def _content(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    _add(digest, tensors)
    return digest.hexdigest()


def _write(path: Path, key: str, penalty: float, groups: list[BankGroup]) -> None:
    tensors = {
        f"{i:05}.{name}": value.cpu().contiguous()
        for i, group in enumerate(groups)
        for name, value in group._asdict().items()
    }
    header = {"key": key, "content": _content(tensors), "penalty": penalty, "groups": len(groups)}
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata={"bank": json.dumps(header)})


def _read(path: Path, key: str) -> tuple[float, list[BankGroup]] | None:
    """The stored bank, or ``None`` where there is none, or it is damaged, or it was built from something else."""
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})["bank"])
            if header["key"] != key:
                return None
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a dict)
        if _content(tensors) != header["content"]:
            return None
        groups = [
            BankGroup(*(tensors[f"{i:05}.{name}"] for name in BankGroup._fields)) for i in range(header["groups"])
        ]
        return float(header["penalty"]), groups
    except (OSError, SafetensorError, KeyError, ValueError, TypeError):
        return None
