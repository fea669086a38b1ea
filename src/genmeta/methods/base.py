"""What a method is: a named recipe of parts, with its defaults, its paper and where it stands."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from genmeta.core.docstrings import attributes_of
from genmeta.core.errors import UsageError, unknown
from genmeta.core.registry import Registry
from genmeta.core.spec import ParamSpec
from genmeta.core.types import ROWS
from genmeta.learners import SPACES, Learner
from genmeta.methods.meta_learner import MetaLearner
from genmeta.methods.objectives import Objective, Setting
from genmeta.vision import VisualTask


@dataclass(frozen=True)
class Method:
    """A named recipe.

    Attributes:
        name: as commands spell it.
        summary: one sentence.
        generates: what the generator writes for a task, in a few words.
        adapts: what adaptation moves.
        paper: authors, title, year; or that the name is this library's own.
        url: of the paper.
        expected: published or expected score, with its protocol.
        options: dataclass of the method's settings and their defaults.
        build: puts the meta-learner together.
        objective: what trains it, given the meta-learner, the options and the training's setting;
            ``None`` where nothing is trained.
        tune: settings to choose among on validation tasks after training, as options to replace.
        visions: names of the visual tasks it is for; empty for all.
        file: where to read it.
    """

    name: str
    summary: str
    generates: str
    adapts: str
    paper: str
    url: str
    expected: str
    options: type
    build: Callable[[Any, Learner, VisualTask, torch.Generator], MetaLearner]
    objective: Callable[[MetaLearner, Any, Setting], Objective] | None
    tune: tuple[Mapping[str, Any], ...] = ()
    visions: tuple[str, ...] = ()

    def serves(self, vision: str) -> bool:
        """Whether it is for the visual task of that name."""
        return not self.visions or vision in self.visions

    @property
    def option_names(self) -> tuple[str, ...]:
        """Names of the method's settings."""
        return tuple(field.name for field in dataclasses.fields(self.options))

    @property
    def option_texts(self) -> dict[str, str]:
        """What each of them means: the ``Attributes`` of their docstrings, as plain text."""
        told = attributes_of(self.options)
        return {name: told.get(name, "") for name in self.option_names}

    @property
    def file(self) -> str:
        """Module that holds the recipe."""
        return self.build.__module__.replace(".", "/") + ".py"


METHODS: Registry[Method] = Registry("method")


def make_options(method: Method, given: Mapping[str, Any]) -> Any:
    """The method's options with ``given`` ones replaced.

    Values may be strings, as a command line has them; they are read as the type of the default.

    Raises:
        UsageError: the method has no such option, or the value is not of its type: negative counts, infinite numbers.
    """
    fields = {field.name: field for field in dataclasses.fields(method.options)}
    values = {}
    for name, value in given.items():
        if name not in fields:
            raise unknown(f"option of {method.name!r}", name, fields)
        values[name] = _read(method.name, name, value, fields[name].default)
    options = method.options(**values)
    if hasattr(options, "generate") and options.generate not in SPACES:
        raise unknown("space to generate", options.generate, SPACES)
    return options


def _read(method: str, name: str, value: Any, default: Any) -> Any:
    kind = type(default)
    if kind is bool and isinstance(value, str):
        words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        if value.lower() in words:
            return words[value.lower()]
    elif kind is bool and isinstance(value, bool):
        return value
    elif kind is not bool:
        try:
            read = kind(value)
        except (TypeError, ValueError, OverflowError):
            read = None
        # 5.7 steps are not 5 steps
        if read is not None and (kind is not int or float(read) == float(value)) and _is_usable(read):
            return read
    raise UsageError(
        f"Option {name!r} of {method!r} takes a value of type {kind.__name__} such as {default!r}, got {value!r}."
    )


def _is_usable(value: Any) -> bool:
    """Counts are not negative, nor more than a tensor can have; other numbers are finite."""
    if isinstance(value, int):
        return 0 <= value < 2**31
    return not isinstance(value, float) or math.isfinite(value)


def written_spec(learner: Learner, vision: VisualTask, space: str) -> ParamSpec:
    """The weights a space writes, for this learner and visual task."""
    return ParamSpec(learner.written_shapes(space), vision.row_length(learner.feature_size))


def adapted_names(spec: ParamSpec) -> tuple[str, ...]:
    """Every written weight: what adaptation moves unless a method says otherwise."""
    return (*[name for name, _ in spec.shared], ROWS)
