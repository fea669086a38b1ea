"""Toy data and tiny models that the law tests share."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
import torch

from genmeta.core.randomness import seeded
from genmeta.core.types import IGNORE, Boxes, Examples, Task
from genmeta.data.classes import ImageClasses
from genmeta.learners import PRETRAINED, Learner, LearnerConfig, build_learner
from genmeta.methods import METHODS, MetaLearner, build_method
from genmeta.vision import Classification, VisualTask

Module = TypeVar("Module", bound=torch.nn.Module)

#: Small stand-ins for the settings that make a method slow; an option a method lacks is left out.
TINY: Mapping[str, Any] = {"inner_steps": 2, "context": 16, "hidden": 16, "bank_tasks": 16, "bank_labels": 4}


def make_classes(
    n_classes: int = 12, n_images: int | list[int] = 7, size: int = 12, channels: int = 1, **changes: Any
) -> ImageClasses:
    """Classes of random images, no two alike; the first half trains, then a quarter each to validate and test."""
    counts = [n_images] * n_classes if isinstance(n_images, int) else n_images
    n_classes, total = len(counts), sum(counts)
    images = np.random.default_rng(n_classes).integers(0, 256, (total, size, size, channels), dtype=np.uint8)
    order = np.arange(n_classes)
    cut = (n_classes // 2, n_classes // 2 + n_classes // 4)
    splits = {"train": order[: cut[0]], "val": order[cut[0] : cut[1]], "test": order[cut[1] :]}
    names = tuple(f"class{k:02}" for k in range(n_classes))
    data = ImageClasses("toy", images, np.cumsum([0, *counts]), names, splits)
    return dataclasses.replace(data, **changes)


def make_learner(name: str = "conv4", seed: int = 0, **settings: Any) -> Learner:
    """A learner of a few channels, in float32."""
    # a pretrained network has the width it has
    width = 0 if name in PRETRAINED else 8
    config = LearnerConfig(name, **{"channels": 1, "size": 12, "width": width, "groups": 2, **settings})
    return build_learner(config, seeded(seed, "learner"))


def tiny_options(method: str, **given: Any) -> dict[str, Any]:
    """Those of :data:`TINY` and ``given`` that the method knows."""
    known = {field.name for field in dataclasses.fields(METHODS[method].options)}
    return {name: value for name, value in {**TINY, **given}.items() if name in known}


def make_method(
    name: str,
    learner: Learner | None = None,
    *,
    perturbed: float = 0.0,
    options: Mapping[str, Any] | None = None,
    vision: VisualTask | None = None,
) -> MetaLearner:
    """A tiny meta-learner. ``perturbed`` moves every tensor a little, for what starts at zero hides what lies below."""
    vision = vision or Classification()
    learner = learner or make_learner(vision.learner, extra=vision.extra_channels)
    meta_learner = build_method(name, learner, vision=vision, options=tiny_options(name, **(options or {})))
    return perturb(meta_learner, perturbed)


def perturb(module: Module, spread: float) -> Module:
    """Adds normal noise to every parameter."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            noise = torch.randn(parameter.shape, generator=seeded("perturb", name), dtype=torch.float64)
            parameter.add_(spread * noise.to(parameter))
    return module


def make_task(
    n_tasks: int = 3,
    ways: int = 3,
    shots: int = 2,
    queries: int = 2,
    *,
    channels: int = 1,
    size: int = 12,
    seed: int = 0,
) -> Task:
    """Tasks of noise around a random image per class, in float64."""
    rng = seeded(seed, "task")

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=rng, dtype=torch.float64)

    centres = noise(n_tasks, ways, 1, channels, size, size)

    def examples(count: int) -> Examples:
        images = (centres + 0.5 * noise(n_tasks, ways, count, channels, size, size)).flatten(1, 2)
        targets = torch.arange(ways).repeat_interleave(count).expand(n_tasks, -1)
        order = torch.rand(targets.shape, generator=rng).argsort(1)
        return Examples(images.gather(1, order[..., None, None, None].expand_as(images)), targets.gather(1, order))

    ids = torch.arange(n_tasks * ways).view(n_tasks, ways)
    return Task(examples(shots), examples(queries), ways, ids)


def make_segmentation_task(
    n_tasks: int = 3,
    ways: int = 3,
    shots: int = 2,
    queries: int = 2,
    *,
    channels: int = 1,
    size: int = 12,
    seed: int = 0,
) -> Task:
    """Tasks of images in which squares of one brightness for each class lie on a background, class 0; in float64."""
    rng = seeded(seed, "segmentation")
    masks = torch.zeros(n_tasks, shots + queries, size, size, dtype=torch.int64)
    half = size // 2
    for t in range(n_tasks):
        for n in range(shots + queries):
            for k in range(1, ways):
                y, x = (int(v) for v in torch.randint(0, size - half // 2, (2,), generator=rng))
                masks[t, n, y : y + half // 2 + 1, x : x + half // 2 + 1] = k
    masks[..., 0, : ways % size] = torch.arange(ways % size)  # every class is in every image
    shades = torch.randn((n_tasks, ways, channels), generator=rng, dtype=torch.float64)
    images = torch.stack([shades[t][masks[t]] for t in range(n_tasks)]).permute(0, 1, 4, 2, 3)
    images = images + 0.3 * torch.randn(images.shape, generator=rng, dtype=torch.float64)
    both = Examples(images, masks)
    ids = torch.arange(n_tasks * ways).view(n_tasks, ways)
    return Task(both.only(0, shots), both.only(shots), ways, ids)


def make_detection_task(
    n_tasks: int = 3,
    ways: int = 3,
    shots: int = 2,
    queries: int = 2,
    *,
    channels: int = 1,
    size: int = 12,
    seed: int = 0,
) -> Task:
    """Tasks of images of noise with bright squares, one of each class but the background, and padding; in float64."""
    rng = seeded(seed, "detection")
    n = shots + queries
    images = 0.3 * torch.randn((n_tasks, n, channels, size, size), generator=rng, dtype=torch.float64)
    boxes = torch.zeros(n_tasks, n, ways, 4, dtype=torch.float64)
    labels = torch.full((n_tasks, n, ways), IGNORE)
    side = size // 3
    for t in range(n_tasks):
        for i in range(n):
            for k in range(1, ways):
                y, x = (int(v) for v in torch.randint(0, size - side, (2,), generator=rng))
                images[t, i, :, y : y + side, x : x + side] += 0.5 * k
                boxes[t, i, k - 1] = torch.tensor([x, y, x + side, y + side]) / size
                labels[t, i, k - 1] = k
    both = Examples(images, Boxes(boxes, labels))
    ids = torch.arange(n_tasks * ways).view(n_tasks, ways)
    return Task(both.only(0, shots), both.only(shots), ways, ids)


def normals(*shape: int, seed: int = 0, **how: Any) -> torch.Tensor:
    """Standard normal numbers in float64."""
    return torch.randn(shape, generator=seeded(seed, "normals", *shape), dtype=torch.float64, **how)


def built(make: Callable[[], Module], seed: int = 0) -> Module:
    """A torch module with seeded weights in float64; the global generator is given back as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make().double()
