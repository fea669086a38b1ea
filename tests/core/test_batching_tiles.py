"""The compiled convolutions: 3×3 ones by tiles, and the first block from its patches."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from batching_cases import Compute
from test_batching import check_equal, derivatives
from torch import Tensor
from toys import normals

from genmeta.core import batching
from genmeta.core.batching import After, native, winograd


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
