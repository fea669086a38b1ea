"""Any module as a learner: norm layers are found, scales and shifts written, one task as alone."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from toys import built, normals

from genmeta.core.errors import UsageError
from genmeta.core.randomness import seeded
from genmeta.engine import load
from genmeta.engine.checkpoint import save_model
from genmeta.learners import LearnerConfig, build_learner
from genmeta.learners.backbone import Backbone, BackboneLearner, film_tensors
from genmeta.methods import build_method


class ChannelNorm2d(nn.Module):
    """A norm layer that torch does not know."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        x = x - x.mean(1, keepdim=True)
        return x * self.weight[:, None, None] + self.bias[:, None, None]


class Small(nn.Module):
    """Convolutions, three kinds of norm, maps at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), ChannelNorm2d(8), nn.GroupNorm(2, 8)
        )
        self.plain = nn.BatchNorm2d(8, affine=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.plain(self.body(x))


class Tokens(nn.Module):
    """A sequence at the end, in a record as Hugging Face's models give."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.norm = nn.Conv2d(3, 6, 4, 4), nn.LayerNorm(6)

    def forward(self, x: Tensor) -> object:
        tokens = self.norm(self.embed(x).flatten(2).transpose(1, 2))
        return type("Record", (), {"last_hidden_state": tokens, "pooler_output": None})()


def learner(module: nn.Module, channels: int = 3) -> BackboneLearner:
    backbone = Backbone(module, (0.5, 0.4, 0.3), (0.2, 0.2, 0.2))
    return BackboneLearner(LearnerConfig("timm:small", channels, 12), backbone)


def test_norm_layers_are_found_wherever_they_are() -> None:
    assert film_tensors(built(Small)) == [
        (f"body.{at}.{part}", (8,)) for at in (1, 4, 5) for part in ("weight", "bias")
    ]
    assert film_tensors(nn.LayerNorm(5)) == [("weight", (5,)), ("bias", (5,))]


@pytest.mark.parametrize("make,size", [(Small, 8), (Tokens, 6)])
def test_written_scales_reach_the_network_task_by_task(make: type[nn.Module], size: int) -> None:
    it = learner(built(make).float()).double()
    assert it.feature_size == size
    images = normals(2, 3, 3, 12, 12)
    shapes = dict(it.written_shapes("film"))
    own = it.own_weights()
    written = {name: own[name] + 0.3 * normals(2, *shape) for name, shape in shapes.items()}
    together, _ = it.features(images, written)
    for t in range(2):
        alone, _ = it.features(images[t : t + 1], {n: w[t : t + 1] for n, w in written.items()})
        torch.testing.assert_close(alone[0], together[t])
    plain, _ = it.features(images)
    assert (together - plain).abs().max() > 0.01
    for name in shapes:
        wanted = {n: w.clone().requires_grad_() for n, w in written.items()}
        features, _ = it.features(images, wanted)
        (gradient,) = torch.autograd.grad((features**3).sum(), wanted[name])
        assert gradient.abs().max() > 0, name


def test_a_network_stays_in_evaluation_mode() -> None:
    it = learner(built(Small).float()).train()
    before = {name: value.clone() for name, value in it.state_dict().items()}
    one = it.features(torch.rand(1, 2, 3, 12, 12, generator=seeded(0)))[0]
    assert not it.network.training
    assert all(torch.equal(value, before[name]) for name, value in it.state_dict().items())
    torch.testing.assert_close(one, it.eval().features(torch.rand(1, 2, 3, 12, 12, generator=seeded(0)))[0])


def test_grey_images_are_shown_in_all_channels() -> None:
    module = built(Small).float()
    grey = torch.rand(1, 2, 1, 12, 12, generator=seeded(1))
    one, three = learner(module, 1).features(grey)[0], learner(module).features(grey.expand(-1, -1, 3, -1, -1))[0]
    torch.testing.assert_close(one, three)


def test_what_cannot_be_a_learner_is_refused() -> None:
    with pytest.raises(UsageError, match=r"timm:small has no norm layer with a scale and a shift"):
        learner(built(lambda: nn.Conv2d(3, 4, 3)))
    with pytest.raises(UsageError, match=r"has widths and norms of its own, got width=5 and norm='group'\."):
        BackboneLearner(LearnerConfig("timm:small", 3, 12, 5), Backbone(built(Small).float(), (0.0,), (1.0,)))
    with pytest.raises(UsageError, match=r"Unknown library of backbones 'tim'\. Did you mean 'timm'\?"):
        build_learner(LearnerConfig("tim:resnet18", 3, 64), seeded(0))


@pytest.mark.parametrize("name,package,extra", [("timm:resnet18", "timm", "timm"), ("hf:a/b", "transformers", "hf")])
def test_a_missing_library_is_named_with_how_to_install_it(name: str, package: str, extra: str) -> None:
    if importlib.util.find_spec(package):
        pytest.skip(f"{package} is installed")
    with pytest.raises(UsageError, match=rf"needs the package '{package}'.*pip install 'genmeta\[{extra}\]'"):
        build_learner(LearnerConfig(name, 3, 64), seeded(0))


class Library:
    """Stands for timm and for transformers."""

    image_mean = image_std = (0.5, 0.5, 0.5)

    def __init__(self) -> None:
        self.data = self.AutoModel = self.AutoConfig = self
        self.AutoImageProcessor = type("Processor", (), {"from_pretrained": lambda *_, **__: self})
        self.loaded: list[bool] = []

    def list_models(self) -> list[str]:
        return ["small"]

    def resolve_model_data_config(self, module: nn.Module) -> dict[str, tuple[float, ...]]:
        return {"mean": self.image_mean, "std": self.image_std}

    def create_model(self, name: str, *, pretrained: bool, num_classes: int) -> nn.Module:
        self.loaded.append(pretrained)
        module = Small()
        if pretrained:
            nn.init.constant_(module.body[0].weight, 0.25)
        return module

    def from_pretrained(self, name: str, *, local_files_only: bool) -> nn.Module | str:
        assert local_files_only
        sketching = torch.get_default_device().type == "meta"
        return "settings" if sketching else self.create_model(name, pretrained=True, num_classes=0)

    def from_config(self, config: str) -> nn.Module:
        assert config == "settings"
        return self.create_model("", pretrained=False, num_classes=0)


@pytest.mark.parametrize("name,package", [("timm:small", "timm"), ("hf:small", "transformers")])
def test_a_checkpoint_on_a_library_s_network_is_sketched_and_loaded(
    name: str, package: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    library = Library()
    monkeypatch.setitem(sys.modules, package, library)  # type: ignore[arg-type]
    config = LearnerConfig(name, 3, 12)
    built = build_learner(config, seeded(0))
    assert built.own_weights()["network.body.0.weight"].unique().tolist() == [0.25]
    meta_learner = build_method("film-transfer", built, rng=seeded(0))
    header = {"method": "film-transfer", "options": {}, "learner": asdict(config)}
    save_model(tmp_path / "model.safetensors", meta_learner, header)
    library.loaded.clear()
    loaded = load(tmp_path / "model.safetensors").meta_learner
    # sketched without its weights, then built
    assert library.loaded == [False, True]
    for key, value in meta_learner.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value)
