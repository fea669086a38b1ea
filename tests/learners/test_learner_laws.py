"""What every learner promises: names and shapes of its weights, tasks kept apart, no leak between query images."""

from __future__ import annotations

import pytest
import torch
from toys import make_learner, make_task, normals

from genmeta.core import batching
from genmeta.core.errors import UsageError
from genmeta.core.randomness import seeded
from genmeta.learners import ALL_PRETRAINED, LEARNERS, PRETRAINED, SPACES, Learner, LearnerConfig, build_learner

every_learner = pytest.mark.parametrize("name", LEARNERS.names())
#: Name and norm; pretrained networks have their own, folded.
every_learner_and_norm = pytest.mark.parametrize(
    "name,norm",
    [(n, norm) for n in LEARNERS.names() for norm in ("group", "batch") if n not in PRETRAINED or norm == "group"],
)
CLOSE = {"rtol": 1e-9, "atol": 1e-9}


def exact(name: str, **settings: object) -> Learner:
    return make_learner(name, **settings).double()


@every_learner
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [8, 17, 28])
def test_features_have_the_promised_size(name: str, size: int, channels: int) -> None:
    learner = exact(name, size=size, channels=channels)
    images = normals(2, 3, channels, size, size)
    features, statistics = learner.features(images)
    assert features.shape[:2] == (2, 3)
    assert features.shape[-1] == learner.feature_size
    assert features.ndim == (5 if learner.gives == "map" else 3)
    assert statistics == {}
    # in noise of eight pixels a network that knows photos sees nothing
    if name not in PRETRAINED or size > 8:
        assert torch.pdist(features.flatten(2).flatten(0, 1)).min() > 1e-4


@every_learner_and_norm
def test_support_statistics_are_those_of_each_task(name: str, norm: str) -> None:
    learner, task = exact(name, norm=norm), make_task(n_tasks=2, channels=1)
    support, taken = learner.features(task.support.images)
    query, again = learner.features(task.query.images, None, taken)
    assert (len(taken) > 0) == (norm == "batch")
    assert all(again[layer][0] is taken[layer][0] for layer in taken)
    for t in range(2):
        alone, mine = learner.features(task.support.images[t : t + 1])
        torch.testing.assert_close(alone[0], support[t], **CLOSE)
        torch.testing.assert_close(learner.features(task.query.images[t : t + 1], None, mine)[0][0], query[t], **CLOSE)


@every_learner_and_norm
def test_one_query_image_does_not_see_another(name: str, norm: str) -> None:
    learner, task = exact(name, norm=norm), make_task(n_tasks=2)
    _, taken = learner.features(task.support.images)
    together, _ = learner.features(task.query.images, None, taken)
    alone, _ = learner.features(task.query.images[:, 1:2], None, taken)
    torch.testing.assert_close(alone[:, 0], together[:, 1], **CLOSE)


@every_learner_and_norm
@pytest.mark.parametrize("space", SPACES)
def test_written_weights_stand_in_for_the_learners_own(name: str, norm: str, space: str) -> None:
    learner, task = exact(name, norm=norm), make_task(n_tasks=2)
    shapes = dict(learner.written_shapes(space))
    own = learner.own_weights()
    assert {n: tuple(own[n].shape) for n in shapes} == shapes
    same = {n: own[n].expand(2, *own[n].shape) for n in shapes}
    images = task.support.images
    torch.testing.assert_close(learner.features(images, same)[0], learner.features(images)[0], **CLOSE)
    other = {n: w + 0.1 * normals(*w.shape) for n, w in same.items()}
    moved, _ = learner.features(images, other)
    for t in range(2):
        alone, _ = learner.features(images[t : t + 1], {n: w[t : t + 1] for n, w in other.items()})
        torch.testing.assert_close(alone[0], moved[t], **CLOSE)
    before, _ = learner.features(images)
    # a deep network has hundreds of tensors: some of them
    for tensor_name, written in list(other.items())[:: 11 if name in PRETRAINED else 1]:
        changed, _ = learner.features(images, {**same, tensor_name: written})
        assert (changed - before).abs().max() > 1e-9, f"{tensor_name} is written, but not used"


@every_learner
def test_spaces_grow(name: str) -> None:
    learner = exact(name)
    rows, head, film, everything = (dict(learner.written_shapes(space)) for space in SPACES)
    assert rows == {} == head
    assert all(len(shape) == 1 for shape in film.values())
    assert {n.rpartition(".")[2] for n in film} == {"scale", "shift"}
    assert film.items() <= everything.items()
    assert everything.keys() == dict(learner.named_parameters()).keys()


@every_learner
def test_the_same_rng_gives_the_same_weights(name: str) -> None:
    first, second, other = (make_learner(name, seed=seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[n], second[n]) for n in first)
    assert any(not torch.equal(first[n], other[n]) for n in first) == (name not in ALL_PRETRAINED)


@every_learner
def test_features_are_centred_of_length_one_and_tell_images_apart(name: str) -> None:
    learner = build_learner(LearnerConfig(name, size=16), seeded(0)).double()
    features, _ = learner.features(normals(1, 20, 1, 16, 16))
    torch.testing.assert_close(features.norm(dim=-1), torch.ones_like(features[..., 0]), rtol=1e-3, atol=1e-3)
    assert features.mean(-1).abs().max() < 1e-12
    assert torch.pdist(features[0].flatten(1)).min() > (0 if name in PRETRAINED else 0.05)


@every_learner
def test_images_of_another_shape_are_refused(name: str) -> None:
    learner = exact(name)
    if learner.gives == "map":
        for shape in ((1, 2, 3, 12, 12), (2, 1, 12, 12), (1, 2, 1, 7, 12)):
            with pytest.raises(UsageError, match=r"reads images of shape \[T N 1 H W\], 8 .*, got .* channels=1\."):
                learner.features(normals(*shape))
        return
    for shape in ((1, 2, 1, 12, 13), (1, 2, 3, 12, 12), (2, 1, 12, 12)):
        with pytest.raises(UsageError, match=r"reads images of shape \[T N 1 12 12\], got .* size=12 and channels=1\."):
            learner.features(normals(*shape))


def test_extra_channels_stand_behind_the_features_of_a_map() -> None:
    plain, more = exact("unet"), exact("unet", extra=3)
    more.load_state_dict({**more.state_dict(), **plain.state_dict()})
    images = normals(2, 2, 1, 12, 12)
    features, _ = more.features(images)
    assert features.shape[-1] == more.feature_size + 3
    torch.testing.assert_close(features[..., :-3], plain.features(images)[0], **CLOSE)
    assert [name for name, _ in more.written_shapes("head")] == ["extra.weight"]
    assert set(more.written_shapes("film")) == {*plain.written_shapes("film"), *more.written_shapes("head")}
    with pytest.raises(UsageError, match=r"'mlp' gives one vector .* no map to put extra=3 channels in\. Use .*unet"):
        make_learner("mlp", extra=3)


@pytest.mark.parametrize(
    "settings,message",
    [
        ({"norm": "layer"}, r"Unknown norm 'layer'\. Known: batch, group\."),
        ({"channels": 2}, r"images of 1 or 3 channels, got channels=2\."),
        ({"size": 7}, r"Images of 7 pixels are too small: use size 8 or more\."),
        ({"width": -1}, r"width must be 0 or more and groups 1 or more, got -1 and 8\."),
        ({"extra": -1}, r"extra must be 0 or more channels, got -1\."),
        ({"groups": 0}, r"width must be 0 or more and groups 1 or more, got 0 and 0\."),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        LearnerConfig(**settings)  # type: ignore[arg-type]


def test_groups_divide_the_channels() -> None:
    with pytest.raises(UsageError, match=r"9 channels do not divide into 2 groups; change width or groups\."):
        make_learner("conv4", width=9)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(UsageError, match=r"Unknown learner 'conv5'\. Did you mean 'conv4'\?"):
        build_learner(LearnerConfig("conv5"), seeded(0))
    with pytest.raises(UsageError, match=r"Unknown space to generate 'bias'\."):
        exact("mlp").written_shapes("bias")


def test_the_pretrained_map_holds_the_networks_own_features_at_three_strides() -> None:
    plain, dense = (
        build_learner(LearnerConfig(n, 3, 32), seeded(0)) for n in ("efficientnet-lite0", "efficientnet-lite0-map")
    )
    images = torch.rand(1, 2, 3, 32, 32, generator=seeded(1))
    with torch.no_grad():
        features, _ = dense.features(images)
        finest = plain.early_maps(images)  # stride 8, after the fifth block
    assert features.shape == (1, 2, 8, 8, 24 + 40 + 112)
    part = features[..., 24:64].flatten(0, 1)
    want = torch.nn.functional.interpolate(
        batching.unit(finest.permute(0, 2, 3, 1)).permute(0, 3, 1, 2), (8, 8), mode="bilinear", align_corners=False
    ).permute(0, 2, 3, 1)
    similarity = torch.nn.functional.cosine_similarity(part, want, dim=-1)
    assert similarity.min() > 0.9999  # the same direction; its length depends on the other scales
