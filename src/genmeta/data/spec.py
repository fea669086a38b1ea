"""Data specs: ``NAME[:PATH][?key=value&key=value]``, the one way data are named on every command and in every call.

A ``?`` or ``%`` inside a path is written ``%3F`` or ``%25``; an ``&`` or ``%`` inside a value ``%26`` or ``%25``.
Nothing else is escaped, so ordinary paths are written as they are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from genmeta.core.errors import UsageError

_FORM = "NAME[:PATH][?key=value&key=value]"
_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")
_KEY = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class DataSpec:
    """A parsed data spec; ``str(spec)`` writes it again and ``DataSpec.parse(str(spec)) == spec``.

    Attributes:
        name: the reader's name, such as ``folder``.
        path: where the data are, or None when the spec names no place.
        options: the reader's options, as text.
    """

    name: str
    path: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> DataSpec:
        """Reads a spec.

        Raises:
            UsageError: the text is not of the form ``NAME[:PATH][?key=value&key=value]``.
        """
        head, question, tail = text.partition("?")
        name, colon, path = head.partition(":")
        if not _NAME.fullmatch(name):
            path = f" If it is a folder of class folders, write 'folder:{text}'." if "/" in head else ""
            raise UsageError(
                f"Data spec {text!r} does not begin with a name. Expected {_FORM}, such as 'glyphs' or 'folder:photos'."
                f"{path}"
            )
        if colon and not path:
            raise UsageError(f"Data spec {text!r} has no path after the colon. Expected {_FORM}.")
        if "\0" in text:
            raise UsageError(f"Data spec {text!r} holds a zero byte, which no path or option can hold.")
        options: dict[str, str] = {}
        for pair in tail.split("&") if question else ():
            key, equals, value = pair.partition("=")
            if not equals or not _KEY.fullmatch(key):
                raise UsageError(
                    f"Option {pair!r} in data spec {text!r} is not key=value. Expected {_FORM}; "
                    "a '?' that belongs to the path is written %3F."
                )
            if key in options:
                raise UsageError(f"Option {key!r} is given twice in data spec {text!r}. Keep one.")
            options[key] = _unescape(value, "&")
        return cls(name, _unescape(path, "?") if colon else None, options)

    def __str__(self) -> str:
        place = "" if self.path is None else ":" + _escape(self.path, "?")
        pairs = "&".join(f"{key}={_escape(value, '&')}" for key, value in self.options.items())
        return self.name + place + ("?" + pairs if pairs else "")


def _escape(text: str, mark: str) -> str:
    return text.replace("%", "%25").replace(mark, f"%{ord(mark):02X}")


def _unescape(text: str, mark: str) -> str:
    # the escape of '%' itself is undone last, so that an escaped escape stays what it was
    return re.sub(f"%{ord(mark):02X}", mark, text, flags=re.IGNORECASE).replace("%25", "%")
