"""What a reader of a data set is, what it says about itself, and what it is asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from genmeta.core.errors import UsageError, unknown
from genmeta.data.classes import ImageClasses
from genmeta.data.scene_source import SceneSource
from genmeta.data.spec import DataSpec

COMMON_OPTIONS = {
    "size": "side of the square images, in pixels",
    "color": "gray (1 channel) or rgb (3 channels)",
}
_COLORS = {"gray": 1, "grey": 1, "rgb": 3}
_SIZES = range(8, 513)


@dataclass(frozen=True)
class DatasetInfo:
    """What a reader says of itself.

    Attributes:
        name: the name in a data spec.
        summary: one line.
        how_to_get: where the data come from and where to put them.
        path: whether the spec takes a path.
        size: default side of the images, in pixels.
        channels: default number of channels, 1 or 3.
        options: name -> what it does; every reader also takes ``size`` and ``color``.
        serves: the visual tasks that its annotations are for, or the scenario.
    """

    name: str
    summary: str
    how_to_get: str
    path: Literal["none", "optional", "required"]
    size: int
    channels: int
    options: Mapping[str, str] = field(default_factory=dict)
    serves: str = "classification"

    @property
    def all_options(self) -> dict[str, str]:
        """The reader's own options and those that every reader takes."""
        return {**self.options, **COMMON_OPTIONS}


@dataclass(frozen=True)
class Request:
    """What a reader is asked: the spec, with what is the same for all readers already settled."""

    text: str
    spec: DataSpec
    size: int
    channels: int
    download: bool = False
    on_bad_image: Literal["fail", "skip"] = "fail"
    cache_dir: Path | None = None

    @property
    def path(self) -> Path | None:
        """The spec's path with ``~`` expanded."""
        if self.spec.path is None:
            return None
        try:
            return Path(self.spec.path).expanduser()
        except RuntimeError as error:
            raise UsageError(f"The path of {self.text!r} names an unknown home directory: {error}.") from error

    def choice(self, key: str, choices: tuple[str, ...], default: str) -> str:
        """Value of an option that is one of ``choices``."""
        value = self.spec.options.get(key, default)
        if value not in choices:
            raise unknown(f"value of option '{key}' in {self.text!r}:", value, choices)
        return value

    def flag(self, key: str, default: bool) -> bool:
        """Value of an option that is yes or no."""
        return self.choice(key, ("yes", "no"), "yes" if default else "no") == "yes"

    def integer(self, key: str, default: int, low: int, high: int) -> int:
        """Value of an option that is a whole number in ``[low, high]``."""
        return _integer(self.spec, self.text, key, default, range(low, high + 1))

    def fraction(self, key: str, default: float) -> float:
        """Value of an option that is a fraction in ``[0, 1]``."""
        text = self.spec.options.get(key)
        if text is None:
            return default
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if not 0 <= value <= 1:
            raise UsageError(f"Option {key}={text!r} in {self.text!r} is not a fraction. Give a number from 0 to 1.")
        return value


@dataclass(frozen=True)
class Reader:
    """A reader: what it says of itself, and the function that opens the data."""

    info: DatasetInfo
    open: Callable[[Request], ImageClasses]


@dataclass(frozen=True)
class SceneReader:
    """A reader of images of several objects with masks or boxes."""

    info: DatasetInfo
    open: Callable[[Request], SceneSource]


def settle(
    text: str,
    spec: DataSpec,
    info: DatasetInfo,
    *,
    size: int | None,
    channels: int | None,
    download: bool,
    on_bad_image: str,
    cache_dir: Path | None,
) -> Request:
    """Checks a spec against its reader; arguments fill in only what the spec does not say.

    Raises:
        UsageError: an unknown option, a value out of range, a missing or superfluous path.
    """
    for key in spec.options:
        if key not in info.all_options:
            raise unknown(f"option of data set '{info.name}'", key, info.all_options)
    if info.path == "none" and spec.path is not None:
        raise UsageError(f"Data set '{info.name}' takes no path, but {text!r} gives {spec.path!r}. Leave it out.")
    if info.path == "required" and spec.path is None:
        raise UsageError(f"Data set '{info.name}' needs a path: write '{info.name}:PATH'. {info.how_to_get}")
    if size is not None and size not in _SIZES:
        raise UsageError(f"size={size!r} is out of range. Give pixels from {_SIZES[0]} to {_SIZES[-1]}.")
    if channels not in (None, 1, 3):
        raise UsageError(f"channels={channels!r} cannot be made. Give 1 (gray) or 3 (rgb).")
    if on_bad_image not in ("fail", "skip"):
        raise unknown("value of on_bad_image", on_bad_image, ("fail", "skip"))
    color = spec.options.get("color")
    if color is not None and color not in _COLORS:
        raise unknown(f"value of option 'color' in {text!r}:", color, ("gray", "rgb"))
    return Request(
        text=text,
        spec=spec,
        size=_integer(spec, text, "size", info.size if size is None else size, _SIZES),
        channels=_COLORS[color] if color else channels or info.channels,
        download=download,
        on_bad_image="skip" if on_bad_image == "skip" else "fail",
        cache_dir=cache_dir,
    )


def _integer(spec: DataSpec, text: str, key: str, default: int, allowed: range) -> int:
    value = spec.options.get(key)
    if value is None:
        return default
    # isdecimal alone would take digits of other scripts and numbers of any length
    number = int(value) if value.isascii() and value.isdecimal() and len(value) < 19 else -1
    if number not in allowed:
        raise UsageError(
            f"Option {key}={value!r} in {text!r} is out of range. "
            f"Give a whole number from {allowed[0]} to {allowed[-1]}."
        )
    return number
