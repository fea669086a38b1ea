"""Every path of every operation equals a plain loop over tasks: a path without a case it fits fails here.

The dispatch of :mod:`genmeta.core.batching` is the list of paths itself, and this test walks those lists, so a path
cannot be added without its law.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
from test_batching import EXACT, check_equal, derivatives, task_of
from torch import Tensor
from toys import normals

from genmeta.core import batching
from genmeta.core.batching import After, Operation, Path, fused, native, winograd
from genmeta.core.errors import RunError, UsageError

Compute = Callable[..., Any]

#: float32 against float64, values and first derivatives, relative to the largest number of each tensor.
SINGLE = 1e-4


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


#: Paths that need the compiled kernels.
COMPILED = ("fused", "tiles", "from patches")

CASES: dict[str, Callable[[], Iterator[Case]]] = {
    "conv2d": conv2d_cases,
    "group_norm": group_norm_cases,
    "support_batch_norm": batch_norm_cases,
    "conv_norm": conv_norm_cases,
}
PATHS = [(operation, path) for operation in batching.OPERATIONS for path in operation.paths]
NAMES = [f"{operation.name}: {path.name}" for operation, path in PATHS]


def fitting(operation: Operation, path: Path) -> list[Case]:
    return [case for case in CASES[operation.name]() if path.fits(*case.arguments)]


def check_path(operation: Operation, path: Path) -> None:
    if path.name in COMPILED and native.library() is None:
        pytest.skip("no C++ compiler here")
    cases = fitting(operation, path)
    assert cases, f"no case fits the path {path.name!r} of {operation.name!r}: it has no law"
    for case in cases:
        check_equal(lambda *inputs, c=case: c.call(path.compute, list(inputs)), case.plain, case.inputs)


@pytest.mark.parametrize("operation,path", PATHS, ids=NAMES)
def test_path_equals_the_plain_loop(operation: Operation, path: Path) -> None:
    check_path(operation, path)


@pytest.mark.parametrize("operation,path", PATHS, ids=NAMES)
def test_path_in_single_precision(operation: Operation, path: Path) -> None:
    if path.name in COMPILED and native.library() is None:
        pytest.skip("no C++ compiler here")
    for case in fitting(operation, path)[::3]:
        inputs = [x.float() for x in case.inputs]
        got = derivatives(lambda *inputs, c=case: c.call(path.compute, list(inputs)), inputs)
        want = derivatives(case.plain, [x.double() for x in inputs])
        for g, w in list(zip(got, want, strict=True))[: 1 + len(inputs)]:
            assert (g.double() - w).abs().max() <= SINGLE * w.abs().max()


def test_a_path_without_a_law_is_noticed() -> None:
    wrong = Path("new", lambda *a: True, lambda *a: True, lambda *inputs: 1.001 * batching.conv2d(*inputs))
    with pytest.raises(AssertionError, match="not close"):
        check_path(Operation("conv2d", wrong), wrong)
    nowhere = Path("new", lambda *a: False, lambda *a: True, lambda *a: None)
    with pytest.raises(AssertionError, match="no case fits the path 'new'"):
        check_path(Operation("conv2d", nowhere), nowhere)


def test_every_public_layer_has_a_law() -> None:
    # layers with one formulation are tested by name in test_batching.py, those with several above
    single = {
        "flat",
        "linear",
        "unit",
        "class_logits",
        "class_means",
        "repeat",
        "mean_of_present",
        "mean_probabilities",
        "modulate",
        "same_conv2d",
    }
    functions = {name for name in batching.__all__ if callable(getattr(batching, name)) and name[0].islower()}
    assert functions == single | set(CASES)


def test_the_choice_of_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    images, grey = normals(4, 6, 4, 4), normals(4, 1, 4, 4)
    kernel, written = normals(6, 6, 3, 3), normals(2, 6, 6, 3, 3)
    choose = batching.OPERATIONS[0].choose
    assert choose(grey, normals(6, 1, 3, 3), 2, 1, None).name == "one product"
    assert choose(images, kernel, 2, 1, None).name == "common kernels"
    assert choose(images, written, 2, 1, None).name == "task by task"
    wide, kernels = normals(4, 16, 4, 4), normals(16, 16, 3, 3)
    if native.library() is not None:
        assert choose(wide, kernels, 2, 1, None).name == "tiles"
        assert choose(wide, kernels, 2, 2, None).name == "common kernels"
    monkeypatch.setenv("GENMETA_KERNELS", "off")
    assert choose(wide, kernels, 2, 1, None).name == "common kernels"
    for operation in batching.OPERATIONS[1:3]:
        assert operation.choose(images).name == "plain"
    if native._load()[0] is not None:
        monkeypatch.setenv("GENMETA_KERNELS", "on")
        for operation in batching.OPERATIONS[1:3]:
            assert operation.choose(images).name == "fused"
            assert operation.choose(images.half()).name == "plain"
            assert operation.choose(images.to("meta")).name == "plain"


def test_patches_are_cut_out_once() -> None:
    images, patches = normals(4, 1, 6, 6), batching.Patches()
    first = batching.conv2d(images, normals(5, 1, 3, 3), 1, 1, patches)
    (kept,) = patches.values()
    again = batching.conv2d(images, normals(5, 1, 3, 3), 1, 1, patches)
    assert next(iter(patches.values())) is kept
    assert torch.equal(first, again)


@pytest.mark.skipif(native.library() is None, reason="no C++ compiler here")
class TestFused:
    """What is true of the compiled operation alone."""

    def test_ties_fall_to_the_first_maximum(self) -> None:
        # flat regions: what a drawing on blank paper is full of
        blank = torch.zeros(2, 4, 6, 6, dtype=torch.float64)
        blank[0, :, 2:4, 1:5] = 1.0
        scale, shift = normals(4, seed=1), normals(4, seed=2)
        for after in (After(True, 0.0), After(True, 1.0)):
            check_equal(
                lambda x, a, b, f=after: batching.GROUP_NORM.paths[0].compute(x, 2, a, b, 1, f),
                lambda x, a, b, f=after: follow(F.group_norm(x, 2, a, b), f),
                [blank, scale, shift],
            )

    @pytest.mark.parametrize("dtype,rounding", [(torch.float32, 1e-6), (torch.float64, 1e-14)])
    def test_nearly_equal_maxima_fall_to_the_first_too(self, dtype: torch.dtype, rounding: float) -> None:
        # a convolution by tiles rounds equal sums at different places differently
        images = normals(3, 16, 8, 8).to(dtype)
        images[:, :, 2:6, 2:6] = 3.0
        noise = rounding * torch.linspace(-1, 1, images.numel(), dtype=dtype).view(images.shape)
        ones, zeros = torch.ones(16, dtype=dtype), torch.zeros(16, dtype=dtype)
        given = torch.zeros(1, 16, dtype=dtype), torch.full((1, 16), 4.0, dtype=dtype)
        for layer in (
            lambda x: batching.group_norm(x, 4, ones, zeros, 1, After(True, 0.0)),
            lambda x: batching.support_batch_norm(x, None, ones, zeros, 1, After(True, 0.0))[0],
            lambda x: batching.support_batch_norm(x, given, ones, zeros, 1, After(True, 0.0))[0],
        ):
            out = []
            for noisy in (images, images + noise):
                leaf = noisy.clone().requires_grad_()
                value = layer(leaf)
                out.append(torch.autograd.grad(value.square().sum(), leaf)[0])
            torch.testing.assert_close(*out, rtol=0, atol=100 * rounding)

    def test_what_is_not_a_number_stays_visible(self) -> None:
        images = normals(1, 2, 4, 4).index_put((torch.tensor(0),) * 4, torch.tensor(float("nan"), dtype=torch.float64))
        out = batching.group_norm(images, 2, torch.ones(2).double(), torch.zeros(2).double(), 1, After(True, 0.0))
        assert out.isnan().any()

    @pytest.mark.parametrize("offset", [0.0, 1e3])
    def test_variance_is_sound(self, offset: float) -> None:
        # a large mean over a small spread: a difference of squares would leave nothing in float32
        images = (normals(4, 8, 10, 10) + offset).float()
        cells = fused.Cells(4, 1, 4, False, 1.0)
        ones = torch.ones(1, 8)
        mean, variance = fused.norm_pool(images, ones, ones, None, cells)[1]
        exact = torch.var_mean(images.double(), (0, 2, 3), correction=0)
        torch.testing.assert_close(variance.double(), exact[0], rtol=1e-5, atol=0)
        torch.testing.assert_close(mean.double(), exact[1], rtol=1e-6, atol=1e-7)

    @pytest.mark.parametrize("threads", [1, 2, 3])
    def test_threads_change_nothing(self, threads: int) -> None:
        images, scale, shift = normals(6, 4, 6, 6), normals(2, 4, seed=1), normals(2, 4, seed=2)
        before = torch.get_num_threads()

        def both(*inputs: Tensor) -> Tensor:
            grouped = batching.group_norm(inputs[0], 2, inputs[1], inputs[2], 2, After(True, 0.0))
            return grouped + batching.support_batch_norm(inputs[0], None, *inputs[1:], 2, After(True, 0.0))[0]

        want = derivatives(both, [images, scale, shift])
        try:
            torch.set_num_threads(threads)
            got = derivatives(both, [images, scale, shift])
        finally:
            torch.set_num_threads(before)
        assert all(torch.equal(g, w) for g, w in zip(got, want, strict=True))

    def test_a_third_derivative_is_refused(self) -> None:
        images = normals(1, 4, 4, 4).requires_grad_()
        out = batching.group_norm(images, 2, torch.ones(4).double(), torch.zeros(4).double(), 1)
        (first,) = torch.autograd.grad(out.pow(3).sum(), images, create_graph=True)
        (second,) = torch.autograd.grad(first.pow(2).sum(), images, create_graph=True)
        with pytest.raises(RuntimeError, match="once_differentiable"):
            second.sum().backward()


@pytest.mark.skipif(native.library() is None, reason="no C++ compiler here")
class TestTilesAndPatches:
    """What is true of the compiled convolutions alone."""

    @pytest.mark.parametrize("size", [3, 8, 10, 14])
    def test_tiles_are_nearly_as_exact_as_sums(self, size: int) -> None:
        # tiles of 3, 4 and 5 pixels, in float32, under images like those behind a ReLU
        images, weight = normals(4, 64, size, size).relu().float(), normals(64, 64, 3, 3).float() / 24
        exact = F.conv2d(images.double(), weight.double(), padding=1)
        assert (winograd.convolve(images, weight) - exact).abs().max() < 1e-5 * exact.abs().max()

    def test_third_derivatives(self) -> None:
        def third(compute: Compute, inputs: list[Tensor]) -> list[Tensor]:
            leaves = [tensor.clone().requires_grad_() for tensor in inputs]
            value = compute(*leaves).pow(4).sum()
            for _ in range(2):
                value = sum(g.pow(2).sum() for g in torch.autograd.grad(value, leaves, create_graph=True))
            return list(torch.autograd.grad(value, leaves))

        inputs = [0.1 * normals(2, 16, 5, 4), 0.1 * normals(16, 16, 3, 3)]
        got, want = third(winograd.convolve, inputs), third(lambda x, w: F.conv2d(x, w, padding=1), inputs)
        for g, w in zip(got, want, strict=True):
            torch.testing.assert_close(g, w, rtol=1e-9, atol=1e-9 * float(w.abs().max()))

    @pytest.mark.parametrize("groups", [0, 4])
    def test_blank_paper(self, groups: int) -> None:
        # equal maxima everywhere, and channels without any variance
        blank = torch.zeros(2, 1, 8, 8, dtype=torch.float64)
        blank[0, :, 2:4, 1:5] = 1.0
        inputs = [normals(16, 1, 3, 3), normals(16, seed=1), normals(16, seed=2)]
        from_patches, one_by_one = batching.CONV_NORM.paths
        rest = (1, groups, None, After(True, 0.0), None)
        check_equal(
            lambda *inputs: from_patches.compute(blank, *inputs, *rest)[0],
            lambda *inputs: one_by_one.compute(blank, *inputs, *rest)[0],
            inputs,
        )

    @pytest.mark.parametrize("offset", [0.0, 1e3])
    def test_statistics_are_sound(self, offset: float) -> None:
        # a large mean over a small spread; at the edge are zeros, which spread too
        images = (normals(4, 1, 40, 40) + offset).float()
        weight, ones = normals(16, 1, 3, 3).float(), torch.ones(16)
        _, taken = batching.conv_norm(images, weight, ones, ones, 1, 0, None, After(True, 0.0))
        assert taken is not None
        exact = torch.var_mean(F.conv2d(images.double(), weight.double(), padding=1), (0, 2, 3), correction=0)
        torch.testing.assert_close(taken[1][0].double(), exact[0], rtol=1e-4, atol=0)
        torch.testing.assert_close(taken[0][0].double(), exact[1], rtol=1e-5, atol=1e-6)

    def test_what_is_not_a_number_stays_visible(self) -> None:
        images = normals(1, 1, 4, 4).index_put((torch.tensor(0),) * 4, torch.tensor(float("nan"), dtype=torch.float64))
        ones = torch.ones(16, dtype=torch.float64)
        out, _ = batching.conv_norm(images, normals(16, 1, 3, 3), ones, ones, 1, 4, None, After(True, 0.0))
        assert out.isnan().any()
        assert winograd.convolve(images.expand(1, 16, 4, 4), normals(16, 16, 3, 3)).isnan().any()

    def test_threads_change_nothing(self) -> None:
        images, grey = normals(7, 16, 12, 12), normals(7, 1, 12, 12)
        weight, first = normals(16, 16, 3, 3), normals(16, 1, 3, 3)
        ones, before = torch.ones(16, dtype=torch.float64), torch.get_num_threads()

        def both(x: Tensor, w: Tensor, f: Tensor) -> Tensor:
            block, _ = batching.conv_norm(grey, f, ones, ones, 1, 4, None, After(True, 0.0))
            return torch.cat([winograd.convolve(x, w).flatten(), block.flatten()])

        got = []
        try:
            for threads in (1, 2, 3):
                torch.set_num_threads(threads)
                got.append(derivatives(both, [images, weight, first]))
        finally:
            torch.set_num_threads(before)
        assert all(torch.equal(g, w) for more in got[1:] for g, w in zip(more, got[0], strict=True))


class TestWithoutACompiler:
    """No compiler, no write access, no such setting: the library goes on, or says what is wrong."""

    @pytest.fixture(autouse=True)
    def fresh(self) -> Iterator[None]:
        native._load.cache_clear()
        native._directory.cache_clear()
        yield
        native._load.cache_clear()
        native._directory.cache_clear()

    @pytest.fixture
    def no_compiler(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", "")
        monkeypatch.delenv("CXX", raising=False)

    @pytest.mark.usefixtures("no_compiler")
    def test_nothing_is_said(self) -> None:
        assert native.library() is None
        images = normals(2, 4, 6, 6)
        out = batching.group_norm(images, 2, torch.ones(4).double(), torch.zeros(4).double(), 1, After(True, 0.0))
        torch.testing.assert_close(out, F.relu(F.max_pool2d(F.group_norm(images, 2), 2)), **EXACT)

    @pytest.mark.usefixtures("no_compiler")
    def test_unless_it_is_asked_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("GENMETA_KERNELS", "on")
        with pytest.raises(RunError, match="no C\\+\\+ compiler was found"):
            native.library()

    def test_a_compiler_that_fails(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CXX", "false")
        monkeypatch.setenv("GENMETA_KERNELS_CACHE", "")
        assert native.library() is None

    def test_a_setting_that_does_not_exist(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("GENMETA_KERNELS", "of")
        with pytest.raises(UsageError, match="GENMETA_KERNELS"):
            native.library()

    def test_a_cache_that_cannot_be_written(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
        (tmp_path / "file").touch()
        monkeypatch.setenv("GENMETA_KERNELS_CACHE", str(tmp_path / "file" / "below"))
        directory = native._directory()
        assert directory.is_dir()
        assert tmp_path not in directory.parents
        directory.rmdir()
