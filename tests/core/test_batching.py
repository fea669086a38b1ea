"""Every path of the batching over tasks equals a plain loop over tasks: values, first and second derivatives."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from toys import normals

from genmeta.core import batching

Fast = Callable[..., Tensor]
EXACT = {"rtol": 1e-10, "atol": 1e-10}


def task_of(tensor: Tensor, t: int, common_ndim: int) -> Tensor:
    """The part of task ``t``: itself if it is common to all tasks."""
    return tensor if tensor.ndim == common_ndim else tensor[t]


def derivatives(compute: Fast, inputs: list[Tensor]) -> list[Tensor]:
    """Value, gradient of a curved function of it, and the gradient of a curved function of that gradient."""
    leaves = [tensor.clone().requires_grad_() for tensor in inputs]
    value = compute(*leaves)
    weights = torch.linspace(-1, 1, value.numel(), dtype=value.dtype).view(value.shape)
    first = torch.autograd.grad((weights * value + 0.3 * value.square()).sum(), leaves, create_graph=True)
    mixed = sum((torch.sin(gradient) * (i + 1)).sum() for i, gradient in enumerate(first))
    second = torch.autograd.grad(mixed, leaves)
    return [value, *first, *second]


def check_equal(fast: Fast, plain: Fast, inputs: list[Tensor]) -> None:
    for got, want in zip(derivatives(fast, inputs), derivatives(plain, inputs), strict=True):
        torch.testing.assert_close(got, want, **EXACT)
    # an inner loop asks for the gradients of some inputs only
    for i in range(len(inputs)):
        only = [tensor.clone().requires_grad_(i == j) for j, tensor in enumerate(inputs)]
        (got,) = torch.autograd.grad(fast(*only).square().sum(), [only[i]])
        (want,) = torch.autograd.grad(plain(*only).square().sum(), [only[i]])
        torch.testing.assert_close(got, want, **EXACT)


def flat(images: Tensor) -> Tensor:
    return batching.flat(images)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("n_tasks", [1, 3])
@pytest.mark.parametrize("per_task", [False, True])
def test_conv2d(n_tasks: int, per_task: bool, channels: int, kernel: int, stride: int) -> None:
    images = normals(n_tasks, 2, channels, 6, 5)
    weight = normals(*([n_tasks] if per_task else []), 4, channels, kernel, kernel)

    def plain(images: Tensor, weight: Tensor) -> Tensor:
        each = [
            F.conv2d(images[t], task_of(weight, t, 4), stride=stride, padding=kernel // 2) for t in range(len(images))
        ]
        return torch.cat(each)

    check_equal(lambda x, w: batching.conv2d(flat(x), w, n_tasks, stride), plain, [images, weight])


@pytest.mark.parametrize("groups", [1, 2, 6])
@pytest.mark.parametrize("n_tasks", [1, 3])
@pytest.mark.parametrize("per_task", [False, True])
def test_group_norm(n_tasks: int, per_task: bool, groups: int) -> None:
    lead = [n_tasks] if per_task else []
    inputs = [normals(n_tasks, 2, 6, 3, 4), normals(*lead, 6, seed=1), normals(*lead, 6, seed=2)]

    def plain(images: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        each = [F.group_norm(images[t], groups, task_of(scale, t, 1), task_of(shift, t, 1)) for t in range(len(images))]
        return torch.cat(each)

    check_equal(lambda x, a, b: batching.group_norm(flat(x), groups, a, b, n_tasks), plain, inputs)


@pytest.mark.parametrize("n_tasks", [1, 3])
@pytest.mark.parametrize("per_task", [False, True])
def test_support_batch_norm(n_tasks: int, per_task: bool) -> None:
    lead = [n_tasks] if per_task else []
    inputs = [
        normals(n_tasks, 3, 4, 3, 2),
        normals(n_tasks, 2, 4, 3, 2, seed=1),
        normals(*lead, 4, seed=2),
        normals(*lead, 4, seed=3),
    ]

    def fast(support: Tensor, query: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        first, statistics = batching.support_batch_norm(flat(support), None, scale, shift, n_tasks)
        second, again = batching.support_batch_norm(flat(query), statistics, scale, shift, n_tasks)
        assert again is statistics
        return torch.cat([first, second])

    def plain(support: Tensor, query: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        out: tuple[list[Tensor], list[Tensor]] = ([], [])
        for t in range(n_tasks):
            mean = support[t].mean((0, 2, 3), keepdim=True)
            variance = (support[t] - mean).square().mean((0, 2, 3), keepdim=True)
            for images, kept in zip((support[t], query[t]), out, strict=True):
                normal = (images - mean) / (variance + 1e-5).sqrt()
                kept.append(normal * task_of(scale, t, 1)[:, None, None] + task_of(shift, t, 1)[:, None, None])
        return torch.cat([*out[0], *out[1]])

    check_equal(fast, plain, inputs)


@pytest.mark.parametrize("n_tasks", [1, 3])
@pytest.mark.parametrize("per_task", [False, True])
def test_modulate(n_tasks: int, per_task: bool) -> None:
    lead = [n_tasks] if per_task else []

    def plain(images: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        each = [
            images[t] * task_of(scale, t, 1)[:, None, None] + task_of(shift, t, 1)[:, None, None]
            for t in range(n_tasks)
        ]
        return F.relu(torch.cat(each))

    inputs = [normals(n_tasks, 2, 4, 3, 2), normals(*lead, 4, seed=1), normals(*lead, 4, seed=2)]
    after = batching.After(slope=0.0)
    check_equal(lambda x, a, b: batching.modulate(flat(x), a, b, n_tasks, after), plain, inputs)


@pytest.mark.parametrize("depthwise", [False, True])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("weight_per_task", [False, True])
@pytest.mark.parametrize("bias_per_task", [False, True])
def test_same_conv2d(weight_per_task: bool, bias_per_task: bool, stride: int, depthwise: bool) -> None:
    images = normals(2, 2, 4, 6, 5)
    weight = normals(*([2] if weight_per_task else []), 4, 1 if depthwise else 4, 3, 3)
    bias = normals(*([2] if bias_per_task else []), 4)

    def plain(images: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        # at stride 2 an even side gets its one pixel of padding at the end, an odd one a pixel on either side
        padded = F.pad(images, (1, 1, 1 if stride == 1 else 0, 1))
        groups = 4 if depthwise else 1
        each = [
            F.conv2d(padded[t], task_of(weight, t, 4), task_of(bias, t, 1), stride=stride, groups=groups)
            for t in range(2)
        ]
        return torch.cat(each)

    check_equal(lambda x, w, b: batching.same_conv2d(flat(x), w, b, 2, stride), plain, [images, weight, bias])


@pytest.mark.parametrize("n_tasks", [1, 3])
@pytest.mark.parametrize("weight_per_task", [False, True])
@pytest.mark.parametrize("bias_per_task", [False, True])
def test_linear(n_tasks: int, weight_per_task: bool, bias_per_task: bool) -> None:
    weight = normals(*([n_tasks] if weight_per_task else []), 5, 4)
    bias = normals(*([n_tasks] if bias_per_task else []), 5)

    def plain(values: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return torch.stack([F.linear(values[t], task_of(weight, t, 2), task_of(bias, t, 1)) for t in range(n_tasks)])

    check_equal(batching.linear, plain, [normals(n_tasks, 3, 4), weight, bias])


@pytest.mark.parametrize("n_tasks", [1, 3])
def test_class_logits(n_tasks: int) -> None:
    def plain(features: Tensor, rows: Tensor) -> Tensor:
        return torch.stack([F.linear(features[t], rows[t, :, :-1], rows[t, :, -1]) for t in range(n_tasks)])

    check_equal(batching.class_logits, plain, [normals(n_tasks, 3, 4), normals(n_tasks, 2, 5)])


def test_unit_features_are_centred_and_of_length_one() -> None:
    def plain(features: Tensor) -> Tensor:
        each = []
        for h in features.flatten(0, 1):
            centred = h - h.mean()
            each.append(centred / (centred @ centred + 1e-6).sqrt())
        return torch.stack(each).view_as(features)

    check_equal(batching.unit, plain, [normals(2, 3, 5)])
    # an image without any features is the origin, with a finite derivative
    nothing = torch.ones(1, 1, 4, requires_grad=True)
    out = batching.unit(nothing)
    assert (out == 0).all()
    assert torch.autograd.grad(out.square().sum() + out.sum(), nothing)[0].isfinite().all()


def test_class_means() -> None:
    numbers = torch.tensor([[0, 1, 1, 0], [2, 2, 1, 2]])
    membership = F.one_hot(numbers, 3).double()

    def plain(values: Tensor) -> Tensor:
        def mean(t: int, k: int) -> Tensor:
            chosen = values[t][numbers[t] == k]
            return chosen.mean(0) if len(chosen) else values[t, 0] * 0

        return torch.stack([torch.stack([mean(t, k) for k in range(3)]) for t in range(2)])

    check_equal(lambda values: batching.class_means(values, membership), plain, [normals(2, 4, 5)])


def test_means_over_samples_and_over_what_is_present() -> None:
    def plain(outputs: Tensor) -> Tensor:
        pairs = [torch.stack([torch.softmax(o, -1) for o in outputs[2 * t : 2 * t + 2]]).mean(0) for t in range(2)]
        return torch.stack(pairs).log()

    check_equal(lambda outputs: batching.mean_probabilities(outputs, 2), plain, [normals(4, 3, 5)])
    outputs = normals(2, 3, 5)
    assert batching.mean_probabilities(outputs, 2) is outputs
    present = torch.tensor([[1.0, 0, 1], [0, 0, 0]], dtype=torch.float64)[..., None]
    check_equal(
        lambda values: batching.mean_of_present(values, present),
        lambda values: torch.stack([(values[0, 0] + values[0, 2]) / 2, values[1, 0] * 0]),
        [normals(2, 3, 4)],
    )


def test_repeat_puts_the_samples_of_a_task_in_a_row() -> None:
    tensor = torch.arange(6).view(2, 3)
    assert batching.repeat(tensor, 2)[:, 0].tolist() == [0, 0, 3, 3]
    assert batching.repeat(tensor, 1) is tensor


@pytest.mark.parametrize("n_tasks", [1, 2])
def test_film_alone_survives_channels_last_images(n_tasks: int) -> None:
    # torch 2.13's own backward kills the process when only scale and shift ask for a gradient
    images = batching.flat(normals(n_tasks, 4, 8, 6, 6).float())
    film = [torch.ones(n_tasks, 8, requires_grad=True), torch.zeros(n_tasks, 8, requires_grad=True)]
    assert images.is_contiguous(memory_format=torch.channels_last)
    out = batching.group_norm(images, 4, film[0], film[1], n_tasks)
    scale, shift = torch.autograd.grad(out.square().sum(), film)
    want = 2 * out.detach().unflatten(0, (n_tasks, -1))
    torch.testing.assert_close(shift, want.sum((1, 3, 4)))
    torch.testing.assert_close(scale, (want * want / 2).sum((1, 3, 4)), rtol=1e-4, atol=1e-4)
