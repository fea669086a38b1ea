"""What a dataclass says of its fields, as plain text: what the docstring tells a reader, a command can tell a user."""

from __future__ import annotations

import inspect
import re

#: A line ``    name: text`` with the further indented lines that go on with it.
_ATTRIBUTE = re.compile(r"^    (\w+): (.*(?:\n {5,}.*)*)", re.MULTILINE)


def attributes_of(kind: type) -> dict[str, str]:
    """Name -> text, from the ``Attributes`` of the class and of those it inherits from, which it may correct."""
    told: dict[str, str] = {}
    for each in reversed(kind.__mro__):
        _, _, attributes = (inspect.getdoc(each) or "").partition("\nAttributes:\n")
        told |= {name: _plain(text) for name, text in _ATTRIBUTE.findall(attributes)}
    return told


def _plain(text: str) -> str:
    """Without the marks of a docstring."""
    without_roles = re.sub(r":\w+:`~?([^`]*)`", lambda role: role[1].rpartition(".")[2], text)
    return " ".join(without_roles.replace("`", "").split())
