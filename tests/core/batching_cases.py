"""Inputs of every operation of :mod:`genmeta.core.batching` that has several paths, and a plain loop over tasks."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from test_batching import task_of
from torch import Tensor
from toys import normals

from genmeta.core.batching import After

Compute = Callable[..., Any]


class Case(NamedTuple):
    """Inputs of an operation, how to call a path with them, and the same by a plain loop over tasks."""

    inputs: list[Tensor]
    call: Callable[[Compute, list[Tensor]], Tensor]
    plain: Callable[..., Tensor]
    arguments: tuple[Any, ...]


def follow(images: Tensor, after: After) -> Tensor:
    images = F.max_pool2d(images, 2) if after.pool else images
    return F.leaky_relu(images, after.slope)


def conv2d_cases() -> Iterator[Case]:
    for n_tasks, per_task, channels, kernel, stride in itertools.product((1, 3), (False, True), (1, 3), (1, 3), (1, 2)):
        images = normals(n_tasks * 2, channels, 6, 5)
        weight = normals(*([n_tasks] if per_task else []), 4, channels, kernel, kernel)

        def call(compute: Compute, inputs: list[Tensor], n: int = n_tasks, s: int = stride) -> Tensor:
            return compute(*inputs, n, s, None)

        def plain(images: Tensor, weight: Tensor, n: int = n_tasks, s: int = stride) -> Tensor:
            parts, padding = images.unflatten(0, (n, -1)), weight.shape[-1] // 2
            return torch.cat([F.conv2d(parts[t], task_of(weight, t, 4), stride=s, padding=padding) for t in range(n)])

        yield Case([images, weight], call, plain, (images, weight, n_tasks, stride, None))
    # channels that fill vectors, and sizes for every tile, whole and cut off
    for (height, width), (inputs, outputs) in itertools.product(
        ((3, 3), (4, 4), (5, 5), (9, 14), (1, 2)), ((16, 16), (32, 16))
    ):
        images, weight = normals(3, inputs, height, width), normals(outputs, inputs, 3, 3) / inputs**0.5

        def call_one(compute: Compute, inputs: list[Tensor]) -> Tensor:
            return compute(*inputs, 1, 1, None)

        def plain_one(images: Tensor, weight: Tensor) -> Tensor:
            return F.conv2d(images, weight, padding=1)

        yield Case([images, weight], call_one, plain_one, (images, weight, 1, 1, None))


def norm_inputs() -> Iterator[tuple[int, bool, After]]:
    afters = (After(), After(True, 0.0), After(True, 1.0), After(False, 0.1), After(True, 0.2))
    return itertools.product((1, 3), (False, True), afters)  # type: ignore[return-value]


def group_norm_cases() -> Iterator[Case]:
    for (n_tasks, per_task, after), groups in itertools.product(norm_inputs(), (1, 3)):
        lead = [n_tasks] if per_task else []
        # odd sizes: the last row and column are not pooled
        inputs = [normals(n_tasks * 2, 6, 5, 7), normals(*lead, 6, seed=1), normals(*lead, 6, seed=2)]

        def call(compute: Compute, inputs: list[Tensor], n: int = n_tasks, g: int = groups, a: After = after) -> Tensor:
            return compute(inputs[0], g, *inputs[1:], n, a)

        def plain(
            images: Tensor, scale: Tensor, shift: Tensor, n: int = n_tasks, g: int = groups, a: After = after
        ) -> Tensor:
            parts = images.unflatten(0, (n, -1))
            each = [F.group_norm(parts[t], g, task_of(scale, t, 1), task_of(shift, t, 1)) for t in range(n)]
            return follow(torch.cat(each), a)

        yield Case(inputs, call, plain, (inputs[0], groups, *inputs[1:], n_tasks, after))


def batch_norm_cases() -> Iterator[Case]:
    for n_tasks, per_task, after in norm_inputs():
        lead = [n_tasks] if per_task else []
        inputs = [
            normals(n_tasks * 3, 4, 3, 4),
            normals(n_tasks * 2, 4, 3, 4, seed=1),
            normals(*lead, 4, seed=2),
            normals(*lead, 4, seed=3),
        ]

        def call(compute: Compute, inputs: list[Tensor], n: int = n_tasks, a: After = after) -> Tensor:
            support, query, scale, shift = inputs
            first, statistics = compute(support, None, scale, shift, n, a)
            second, again = compute(query, statistics, scale, shift, n, a)
            assert again is statistics
            # the statistics themselves are differentiated too
            return torch.cat([first.flatten(), second.flatten(), statistics[0].flatten(), statistics[1].flatten()])

        def plain(
            support: Tensor, query: Tensor, scale: Tensor, shift: Tensor, n: int = n_tasks, a: After = after
        ) -> Tensor:
            out: list[list[Tensor]] = [[], [], [], []]
            for t in range(n):
                own, asked = support.unflatten(0, (n, -1))[t], query.unflatten(0, (n, -1))[t]
                mean = own.mean((0, 2, 3), keepdim=True)
                variance = (own - mean).square().mean((0, 2, 3), keepdim=True)
                for images, kept in zip((own, asked), out[:2], strict=True):
                    normal = (images - mean) / (variance + 1e-5).sqrt()
                    normal = normal * task_of(scale, t, 1)[:, None, None] + task_of(shift, t, 1)[:, None, None]
                    kept.append(follow(normal, a))
                out[2].append(mean)
                out[3].append(variance)
            return torch.cat([part.flatten() for parts in out for part in parts])

        yield Case(inputs, call, plain, (inputs[0], None, *inputs[2:], n_tasks, after))


def conv_norm_cases() -> Iterator[Case]:
    afters = (After(True, 0.0), After(True, 1.0), After(True, 0.2), After(False, 0.0))
    for n_tasks, per_task, after, groups, channels in itertools.product((1, 2), (False, True), afters, (0, 4), (1, 3)):
        lead, width = [n_tasks] if per_task else [], 48 if channels == 1 else 16
        # odd sizes: the last row and column are not pooled, but counted
        images, queries = normals(n_tasks * 2, channels, 5, 7), normals(n_tasks * 3, channels, 5, 7, seed=1)
        # common kernels under scales of each task are what FiLM makes
        kernel = normals(*([n_tasks] if per_task and after.slope == 1.0 else []), width, channels, 3, 3, seed=2)
        inputs = [kernel, normals(*lead, width, seed=3), normals(*lead, width, seed=4)]

        def call(
            compute: Compute,
            inputs: list[Tensor],
            n: int = n_tasks,
            g: int = groups,
            a: After = after,
            shown: tuple[Tensor, Tensor] = (images, queries),
        ) -> Tensor:
            support, query = (each.to(inputs[0].dtype) for each in shown)
            first, statistics = compute(support, *inputs, n, g, None, a, None)
            second, again = compute(query, *inputs, n, g, statistics, a, {})
            assert again is statistics
            return torch.cat([each.flatten() for each in (first, second, *(statistics or ()))])

        def plain(
            weight: Tensor,
            scale: Tensor,
            shift: Tensor,
            n: int = n_tasks,
            g: int = groups,
            a: After = after,
            shown: tuple[Tensor, Tensor] = (images, queries),
        ) -> Tensor:
            out: list[list[Tensor]] = [[], [], [], []]
            for t in range(n):
                maps = [F.conv2d(each.unflatten(0, (n, -1))[t], task_of(weight, t, 4), padding=1) for each in shown]
                mean = maps[0].mean((0, 2, 3), keepdim=True)
                variance = (maps[0] - mean).square().mean((0, 2, 3), keepdim=True)
                own = [task_of(each, t, 1) for each in (scale, shift)]
                for each, kept in zip(maps, out[:2], strict=True):
                    normal = (each - mean) / (variance + 1e-5).sqrt() * own[0][:, None, None] + own[1][:, None, None]
                    kept.append(follow(F.group_norm(each, g, *own) if g else normal, a))
                if not g:
                    out[2].append(mean)
                    out[3].append(variance)
            return torch.cat([part.flatten() for parts in out for part in parts])

        yield Case(inputs, call, plain, (images, *inputs, n_tasks, groups, None, after, None))


CASES: dict[str, Callable[[], Iterator[Case]]] = {
    "conv2d": conv2d_cases,
    "group_norm": group_norm_cases,
    "support_batch_norm": batch_norm_cases,
    "conv_norm": conv_norm_cases,
}
