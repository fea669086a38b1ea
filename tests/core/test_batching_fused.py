"""Norm, pooling and activation as one compiled operation."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from batching_cases import follow
from test_batching import check_equal, derivatives
from torch import Tensor
from toys import normals

from genmeta.core import batching
from genmeta.core.batching import After, fused, native


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
