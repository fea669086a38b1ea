"""Any pretrained network as a learner: its norm layers' scales and shifts are found and can be written, task by task.

``timm:NAME`` and ``hf:NAME`` build one by name, from what is installed and, for weights, already on this machine.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from genmeta.core.errors import UsageError, unknown
from genmeta.core.randomness import lent_to_torch
from genmeta.learners.base import Learner, LearnerConfig, Pass

#: Layers with a weight and a bias per channel that come from torch; others are known by their names.
_NORMS = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm)


class Backbone(NamedTuple):
    """A network and how it wants its images.

    Attributes:
        module: ``[B 3 H W] -> [B D]``, or maps ``[B D h w]``, or tokens ``[B L D]``, both of which are averaged.
        mean: of each channel of images in ``[0, 1]``.
        std: likewise.
    """

    module: nn.Module
    mean: tuple[float, ...]
    std: tuple[float, ...]


class BackboneLearner(Learner):
    """A module whose weights are replaced from outside with :func:`torch.func.functional_call`.

    In evaluation mode for good: running statistics stay those of pretraining, so every image is seen on its own.

    Args:
        config: size and channels of the images.
        backbone: the network.

    Raises:
        UsageError: there is no norm layer with a scale and a shift, or a width or batch norm is asked for.
    """

    own_convolutions = True

    def __init__(self, config: LearnerConfig, backbone: Backbone) -> None:
        super().__init__()
        if config.width or config.norm != "group":
            raise UsageError(
                f"{config.name} has widths and norms of its own, got width={config.width} and norm={config.norm!r}. "
                "Leave --width and --norm out."
            )
        self.config = config
        self.network = backbone.module.eval()
        self.register_buffer("mean", torch.tensor(backbone.mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(backbone.std).view(-1, 1, 1), persistent=False)
        self._film = {f"network.{name}": shape for name, shape in film_tensors(self.network)}
        if not self._film:
            raise UsageError(f"{config.name} has no norm layer with a scale and a shift, so FiLM has nothing to write.")
        with torch.no_grad():
            blank = torch.zeros(1, config.channels, config.size, config.size)
            self.feature_size = self._vectors(self._pixels(blank), {}).shape[1]

    def train(self, mode: bool = True) -> BackboneLearner:
        """Keeps the network in evaluation mode."""
        super().train(mode)
        self.network.eval()
        return self

    def forward_pass(self, images: Tensor, run: Pass) -> Tensor:
        n_tasks = images.shape[0]
        written = {name: run[name] for name in self.own_weights()}
        own = self.own_weights()
        per_task = {name: value for name, value in written.items() if value.ndim > own[name].ndim}
        if not per_task:
            return self._vectors(self._pixels(images.flatten(0, 1)), written).unflatten(0, (n_tasks, -1))
        # a network of unknown insides: one task after the other
        each = [{**written, **{name: value[t] for name, value in per_task.items()}} for t in range(n_tasks)]
        return torch.stack([self._vectors(self._pixels(images[t]), each[t]) for t in range(n_tasks)])

    def written_shapes(self, space: str) -> tuple[tuple[str, tuple[int, ...]], ...]:
        if space != "film":
            return super().written_shapes(space)
        return tuple(self._film.items())

    def _pixels(self, images: Tensor) -> Tensor:
        three = images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images
        return (three - self.get_buffer("mean")) / self.get_buffer("std")

    def _vectors(self, pixels: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        state = {name.removeprefix("network."): value for name, value in weights.items()}
        out = functional_call(self.network, state, (pixels,)) if state else self.network(pixels)
        # Hugging Face's models answer with a record
        if hasattr(out, "last_hidden_state"):
            pooled = getattr(out, "pooler_output", None)
            out = out.last_hidden_state if pooled is None else pooled
        vectors: Tensor = out.mean((2, 3)) if out.ndim == 4 else out.mean(1) if out.ndim == 3 else out
        return vectors.flatten(1)


def film_tensors(module: nn.Module) -> list[tuple[str, tuple[int, ...]]]:
    """Name and shape of every norm layer's scale and shift.

    A norm layer is one of torch's, or a module called ``...Norm...`` with a weight and a bias for each channel.
    """
    found = []
    for name, layer in module.named_modules():
        own = dict(layer.named_parameters(recurse=False))
        named_so = isinstance(layer, _NORMS) or "Norm" in type(layer).__name__
        vectors = all(key in own and own[key].ndim == 1 for key in ("weight", "bias"))
        if named_so and vectors:
            prefix = f"{name}." if name else ""
            found += [(f"{prefix}{key}", tuple(own[key].shape)) for key in ("weight", "bias")]
    return found


def _timm(name: str) -> Backbone:
    timm = _extra("timm", "timm:" + name, "timm")
    if name not in timm.list_models():
        raise unknown("timm model", name, timm.list_models())
    module = timm.create_model(name, pretrained=not _sketching(), num_classes=0)
    settings = timm.data.resolve_model_data_config(module)
    return Backbone(module, tuple(settings["mean"]), tuple(settings["std"]))


def _hugging_face(name: str) -> Backbone:
    transformers = _extra("transformers", "hf:" + name, "hf")
    processor = transformers.AutoImageProcessor.from_pretrained(name, local_files_only=True)
    if _sketching():
        settings = transformers.AutoConfig.from_pretrained(name, local_files_only=True)
        module = transformers.AutoModel.from_config(settings)
    else:
        module = transformers.AutoModel.from_pretrained(name, local_files_only=True)
    return Backbone(module, tuple(processor.image_mean), tuple(processor.image_std))


def _sketching() -> bool:
    """Whether models are only sketched, as before a checkpoint is read: then there are no weights to load."""
    return torch.get_default_device().type == "meta"


def _extra(module: str, learner: str, extra: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UsageError(
            f"The learner {learner!r} needs the package {module!r}, which is not installed. "
            f"Install it with: pip install 'genmeta[{extra}]'"
        ) from error


#: Prefix of a learner's name -> how the rest of the name becomes a network.
LIBRARIES: Mapping[str, Callable[[str], Backbone]] = {"timm": _timm, "hf": _hugging_face}


def build_backbone(config: LearnerConfig, rng: torch.Generator) -> Learner:
    """The learner called ``library:name``.

    Raises:
        UsageError: an unknown library or model, or a library that is not installed.
    """
    library, _, name = config.name.partition(":")
    if library not in LIBRARIES:
        raise unknown("library of backbones", library, LIBRARIES)
    try:
        # libraries draw random tensors before they load the real ones
        with lent_to_torch(rng):
            return BackboneLearner(config, LIBRARIES[library](name))
    except OSError as error:
        raise UsageError(
            f"The weights of {config.name!r} are not on this machine ({_first_line(error)}). "
            "Fetch them once with the library's own tools."
        ) from error


def _first_line(error: Any) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
