"""Checkpoints: one safetensors file that rebuilds the whole meta-learner. Nothing in it can run code."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import itertools
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialise
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from genmeta.core.errors import CheckpointError
from genmeta.core.files import atomic_path
from genmeta.core.randomness import seeded
from genmeta.engine.shipped import names, shipped
from genmeta.learners import LearnerConfig, build_learner
from genmeta.methods import MetaLearner, build_method
from genmeta.vision import Classification, visual_task

SCHEMA = 1
MODEL = "model.safetensors"
#: Bounds on what a header may describe; the largest of ours stays below a hundredth of either.
_LARGEST, _MOST_PARAMETERS = 2**32, 50_000
#: Numbers that a file may leave as they were built (256 MiB).
_MOST_UNCHANGED = 2**26


@dataclass(frozen=True)
class Trained:
    """A meta-learner and the settings it was trained with.

    Attributes:
        meta_learner: ready to use, in evaluation mode.
        config: the header: ``method``, ``options``, ``learner``, ``training``, ``provenance``.
    """

    meta_learner: MetaLearner
    config: dict[str, Any]

    @property
    def method(self) -> str:
        """Name of the method."""
        return str(self.config["method"])

    @property
    def vision(self) -> str:
        """Name of the visual task."""
        return self.meta_learner.vision.name

    @property
    def parameters(self) -> int:
        """How many numbers meta-training could move; counted, since not every header tells."""
        return sum(p.numel() for p in self.meta_learner.parameters())


def save_model(path: str | Path, meta_learner: nn.Module, config: Mapping[str, Any]) -> None:
    """Writes weights and settings into one file, atomically."""
    save_tensors(path, meta_learner.state_dict(), config)


def save_changes(path: str | Path, meta_learner: MetaLearner, config: Mapping[str, Any]) -> None:
    """Writes the tensors that meta-training has changed, in half precision: the others are those of a newly built one.

    For a learner whose own tensors come with a package; what the settings alone do not determine would be lost.
    """
    changed = {name: value.half() for name, value in changes(meta_learner, config).items()}
    save_tensors(path, changed, {**config, "changes": True})


def changes(meta_learner: nn.Module, config: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors that differ from those of a newly built meta-learner of these settings."""
    built = _model(config).state_dict()
    return {
        name: value for name, value in meta_learner.state_dict().items() if not torch.equal(value.cpu(), built[name])
    }


def save_tensors(path: str | Path, named: Mapping[str, Tensor], config: Mapping[str, Any]) -> None:
    """Writes tensors and settings into one file, atomically."""
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in named.items()}
    header = {"genmeta": json.dumps({"schema": SCHEMA, **config}, ensure_ascii=False)}
    data = serialise(tensors, metadata=header)
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def read_header(path: str | Path) -> dict[str, Any]:
    """The settings in a checkpoint's header.

    Raises:
        CheckpointError: not a genmeta checkpoint, damaged, or of a newer schema.
    """
    path = find(path)
    with _opened(path) as file:
        metadata = file.metadata() or {}
    try:
        header = json.loads(metadata["genmeta"])
    except (KeyError, ValueError, RecursionError):
        raise CheckpointError(
            f"{str(path)!r} is a safetensors file, but not a genmeta checkpoint. Give the {MODEL} of a run."
        ) from None
    if not isinstance(header, dict) or header.get("schema") != SCHEMA:
        found = header.get("schema") if isinstance(header, dict) else header
        raise CheckpointError(
            f"{str(path)!r} has checkpoint schema {found!r}; this version of genmeta reads schema {SCHEMA}. "
            "Use the version of genmeta that wrote it."
        )
    return header


def load(path: str | Path) -> Trained:
    """Rebuilds a meta-learner from a checkpoint file or a run directory.

    Raises:
        CheckpointError: missing, damaged, or not a genmeta checkpoint.
    """
    path = find(path)
    header = read_header(path)
    if "fitted" in header:
        raise CheckpointError(
            f"{str(path)!r} is a model that was fitted to classes of its own, not a checkpoint to fit others with. "
            "Load it with FewShotClassifier.load, or give the checkpoint it was made from."
        )
    meta_learner = build(header, path)
    load_weights(meta_learner, path)
    return Trained(meta_learner, header)


def build(header: Mapping[str, Any], path: str | Path, prefix: str = "") -> MetaLearner:
    """The meta-learner that a header describes, in evaluation mode, its weights not yet those of the file.

    It is sketched first, without memory for its weights: only a model whose tensors are those of the file is built, so
    that a forged header cannot ask for more memory than the file has bytes.

    Args:
        header: of the checkpoint.
        path: the checkpoint.
        prefix: of its tensors' names.

    Raises:
        CheckpointError: there is no such learner or method, it does not take these settings, or the file holds the
            tensors of another model.
    """
    try:
        _refuse_absurd(header["learner"], header["options"])
        if not isinstance(header.get("card", {}), dict):
            raise TypeError(f"its card is {header['card']!r}")
        with torch.device("meta"), _few_parameters():
            sketch = _model(header)
        _same_tensors(sketch, path, prefix, bool(header.get("changes")))
        return _model(header).eval()
    except (
        AttributeError, KeyError, TypeError, ValueError, ArithmeticError, RuntimeError, RecursionError, MemoryError,
    ) as error:  # fmt: skip
        raise CheckpointError(f"{str(path)!r} describes a model that cannot be built: {error}") from error


def _model(header: Mapping[str, Any]) -> MetaLearner:
    learner = build_learner(LearnerConfig(**header["learner"]), seeded(0))
    vision = visual_task(header.get("vision", Classification.name))()
    return build_method(header["method"], learner, vision=vision, options=header["options"])


def _refuse_absurd(*settings: Any) -> None:
    for value in settings:
        if isinstance(value, Mapping):
            _refuse_absurd(*value.values())
        elif isinstance(value, int) and abs(value) > _LARGEST:
            raise ValueError(f"a setting is {str(value)[:20]}, expected at most {_LARGEST}")


@contextlib.contextmanager
def _few_parameters() -> Iterator[None]:
    """Refuses to go on where a model has grown more parts than any honest one."""
    count = itertools.count(1)

    def one_more(*_: object) -> None:
        if next(count) > _MOST_PARAMETERS:
            raise ValueError(f"it has more than {_MOST_PARAMETERS} tensors")

    hook = register_module_parameter_registration_hook(one_more)
    try:
        yield
    finally:
        hook.remove()


def load_weights(module: nn.Module, path: str | Path, prefix: str = "", *, changed: bool | None = None) -> None:
    """Copies the tensors named ``prefix...`` of a checkpoint into a module.

    Args:
        module: whose tensors are written.
        path: of the checkpoint.
        prefix: of the names.
        changed: whether the file holds only what differs from a newly built module; by default, for whole models, what
            its header says.

    Raises:
        CheckpointError: names or shapes differ: the checkpoint is of another learner.
    """
    path = find(path)
    if changed is None:
        changed = not prefix and bool(read_header(path).get("changes"))
    names = _same_tensors(module, path, prefix, changed)
    with _opened(path) as file:
        state = {name.removeprefix(prefix): file.get_tensor(name) for name in names}
    module.load_state_dict(state, strict=not changed)


def _same_tensors(module: nn.Module, path: str | Path, prefix: str, changed: bool) -> set[str]:
    """The names of a module's tensors in a checkpoint that holds these and no others, each of the same shape.

    With ``changed``, some may be missing, but not so many that a forged header could ask for much memory.
    """
    own = {prefix + name: value for name, value in module.state_dict().items()}
    with _opened(find(path)) as file:
        names = {name for name in file.keys() if name.startswith(prefix)}  # noqa: SIM118  (not a dict)
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in names & own.keys()}
    missing = own.keys() - names
    if changed and sum(own[name].numel() for name in missing) <= _MOST_UNCHANGED:
        missing = set()
    wrong = sorted((names - own.keys()) | missing) or [n for n in shapes if shapes[n] != tuple(own[n].shape)]
    if wrong:
        raise CheckpointError(
            f"{str(path)!r} is a checkpoint for another learner: {len(wrong)} tensors differ, first {wrong[0]!r}. "
            "Give the same learner, width, size and channels that it was trained with."
        )
    return names


def read_tensors(path: str | Path, prefix: str) -> dict[str, Tensor]:
    """The tensors named ``prefix...`` of a checkpoint, without the prefix."""
    with _opened(find(path)) as file:
        names = [name for name in file.keys() if name.startswith(prefix)]  # noqa: SIM118  (not a dict)
        return {name.removeprefix(prefix): file.get_tensor(name) for name in names}


def find(path: str | Path) -> Path:
    """The checkpoint file that ``path`` means: the file itself, the best model of a run directory, or one shipped.

    A file or directory comes before a checkpoint of the package that has the same name.
    """
    path = Path(path)
    if not os.path.exists(path) and (here := shipped(str(path))) is not None:
        return here
    if os.path.isdir(path):  # never raises, whatever the path
        path = path / MODEL
        if not os.path.isfile(path):
            raise CheckpointError(f"{str(path.parent)!r} holds no {MODEL}. Give a finished run or a checkpoint file.")
    if not os.path.isfile(path):
        raise CheckpointError(
            f"There is no checkpoint {str(path)!r}. Give a run directory, a {MODEL}, or the name of a checkpoint that "
            f"comes with the package ({', '.join(names())})."
        )
    return path


def learner_header(config: LearnerConfig) -> dict[str, Any]:
    """A learner's settings as plain data."""
    return dataclasses.asdict(config)


class _opened:
    """``safe_open`` with errors that say what to do."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> Any:
        try:
            self.file = safe_open(self.path, framework="pt")
        except (SafetensorError, OSError) as error:
            raise CheckpointError(
                f"{str(self.path)!r} is not a whole safetensors file ({error}). It may be truncated: copy it again, or "
                "resume the run that wrote it."
            ) from error
        return self.file.__enter__()

    def __exit__(self, *details: Any) -> None:
        self.file.__exit__(*details)


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Writes what resuming needs, atomically."""
    # into memory first: torch hides the operating system's errors, a full disk among them, behind its own
    data = io.BytesIO()
    torch.save(dict(state), data)
    with atomic_path(path) as temporary:
        temporary.write_bytes(data.getbuffer())


def load_state(path: Path) -> dict[str, Any]:
    """Reads what :func:`save_state` wrote; tensors and plain data only.

    Raises:
        CheckpointError: absent or damaged.
    """
    if not path.is_file():
        raise CheckpointError(f"There is nothing to resume: no {str(path)!r}. Start the run without --resume.")
    try:
        return dict(torch.load(path, weights_only=True, map_location="cpu"))
    except Exception as error:  # torch raises many kinds for damaged or hostile files
        raise CheckpointError(
            f"{str(path)!r} is damaged or not a training state ({type(error).__name__}). Start a new run."
        ) from error
