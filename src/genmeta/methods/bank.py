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

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from genmeta.core.errors import DataError, UsageError
from genmeta.core.files import atomic_path
from genmeta.core.randomness import seeded
from genmeta.core.types import Boxes, Targets
from genmeta.learners import Learner
from genmeta.methods.bank_fit import Scaling, choose_penalty, fit_rows
from genmeta.tasks import TaskDistribution
from genmeta.vision import Classification, VisualTask

FILE, SCHEMA = "bank.safetensors", 1
#: Tasks that share ways and shots, and are used together.
GROUP = 16
#: Tasks whose images are embedded together; bounds memory, not results.
_EMBEDDED = 4
#: Labelled locations of a task that rows are fitted to, about; of images each is one.
_LOCATIONS = 4096


class BankGroup(NamedTuple):
    """Some tasks of a bank.

    Attributes:
        features: ``[T N D]`` of the support images (for dense tasks ``[T N h w D]``).
        targets: of the support images.
        rows: ``[T K R]`` what many labels ask for.
    """

    features: Tensor
    targets: Targets
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
        directory: where to keep it; ``None`` for nowhere.
    """

    def __init__(
        self,
        learner: Learner,
        sources: tuple[TaskDistribution, ...],
        config: BankConfig,
        directory: Path | None,
        vision: VisualTask | None = None,
    ) -> None:
        vision = vision or Classification()
        key = _key(learner, sources, config)
        stored = None if directory is None else _read(directory / FILE, key)
        self.built = stored is None
        if stored is None:
            with torch.no_grad():
                self.penalty, self.groups = _build(learner, sources, config, vision)
            if directory is not None:
                _write(directory / FILE, key, self.penalty, self.groups)
        else:
            self.penalty, self.groups = stored

    def draw(self, rng: torch.Generator) -> BankGroup:
        """One of the groups."""
        return self.groups[int(torch.randint(0, len(self.groups), (), generator=rng))]


def _build(
    learner: Learner, sources: tuple[TaskDistribution, ...], config: BankConfig, vision: VisualTask
) -> tuple[float, list[BankGroup]]:
    scaling: Scaling | None = None
    penalty, groups = 0.0, []
    for support, targets, features, shares, held_out in _labelled(learner, sources, config, vision):
        if scaling is None:
            # the first group sets what is common to all: scale of the features, strength of the regularisation
            scaling = Scaling.of(features)
            penalty = choose_penalty(features, shares, held_out, scaling, config.steps)
        groups.append(BankGroup(support, targets, fit_rows(features, shares, scaling, penalty, config.steps)))
    return penalty, groups


def _labelled(
    learner: Learner, sources: tuple[TaskDistribution, ...], config: BankConfig, vision: VisualTask
) -> Iterator[tuple[Tensor, Targets, Tensor, Tensor, int]]:
    """Features and targets of the support set; labelled locations of it and of further images; how many to hold out."""
    device = next(learner.parameters()).device
    for group in range(-(-config.tasks // GROUP)):
        source = _with_labels(sources[group % len(sources)], config.labels)
        task = source.sample(GROUP, rng=seeded(config.seed, "bank", group))
        supports, values, shares = [], [], []
        for at in range(0, GROUP, _EMBEDDED):
            part = task.slice(at, at + _EMBEDDED).to(device)
            support, statistics = learner.features(part.support.images)
            more, _ = learner.features(part.query.images, None, statistics)
            both = part.support.joined(part.query)
            known = vision.labelled(torch.cat([support, more], 1), both.targets, task.ways)
            if known.membership is None:
                raise TypeError("a bank needs labels")
            # an odd stride, so that places of a grid are not all taken from the same columns
            stride = max(1, known.values.shape[1] // _LOCATIONS) // 2 * 2 + 1
            supports.append(support)
            values.append(known.values[:, ::stride])
            shares.append(known.membership[:, ::stride])
        n_support, n_query = task.support.images.shape[1], task.query.images.shape[1]
        held_out = max(1, shares[0].shape[1] * n_query // (3 * (n_support + n_query)))
        targets = task.support.to(device).targets
        yield torch.cat(supports), targets, torch.cat(values), torch.cat(shares), held_out


def _with_labels(source: TaskDistribution, labels: int) -> TaskDistribution:
    """The same tasks, with further labelled images of each class where query images would be."""
    spare = source.fewest_images - source.shots.high
    if spare < 1:
        raise DataError(
            f"A weight bank needs {source.shots.high + 1} or more images of each class, but {source.name!r} has a "
            f"class with {source.fewest_images}. Lower --shots, or pass min_images={source.shots.high + 1}."
        )
    return source.with_queries(min(labels, spare))


def learner_hash(learner: Learner) -> str:
    """SHA-256 of a learner's weights and settings."""
    digest = hashlib.sha256(repr(learner.config).encode())
    _add(digest, learner.state_dict())
    return digest.hexdigest()


def _key(learner: Learner, sources: tuple[TaskDistribution, ...], config: BankConfig) -> str:
    digest = hashlib.sha256(f"{SCHEMA} {GROUP} {learner_hash(learner)} {sorted(asdict(config).items())}".encode())
    for source in sources:
        digest.update(source.fingerprint())
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
        f"{i:05}.{name}": value.cpu().contiguous() for i, group in enumerate(groups) for name, value in _flat(group)
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
        return float(header["penalty"]), [_group(tensors, f"{i:05}.") for i in range(header["groups"])]
    except (OSError, SafetensorError, KeyError, ValueError, TypeError):
        return None


def _flat(group: BankGroup) -> list[tuple[str, Tensor]]:
    targets = group.targets
    named = (
        [("boxes", targets.boxes), ("labels", targets.labels)] if isinstance(targets, Boxes) else [("targets", targets)]
    )
    return [("features", group.features), *named, ("rows", group.rows)]


def _group(tensors: dict[str, Tensor], at: str) -> BankGroup:
    boxes = f"{at}boxes" in tensors
    targets = Boxes(tensors[f"{at}boxes"], tensors[f"{at}labels"]) if boxes else tensors[f"{at}targets"]
    return BankGroup(tensors[f"{at}features"], targets, tensors[f"{at}rows"])
