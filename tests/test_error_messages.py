"""Every message that the library can raise is expected word for word by some test."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import genmeta
from genmeta.core import errors

ROOT = Path(__file__).parents[1]
#: Errors for users, and those that become part of one ("cannot be used: the file is empty"). ``TypeError`` and the
#: like are for programming errors inside the library, which no input can cause.
KINDS = {name for name in vars(errors) if name.endswith("Error")} | {"BadImageError", "_RefusedError", "unknown"}
#: Consecutive words of a message that a test must hold.
RUN = 3


def words(text: str) -> list[str]:
    return re.findall(r"[A-Za-z0-9]+", text)


def constants(node: ast.AST) -> list[str]:
    """The fixed texts of a message, between what is filled in."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    if isinstance(node, ast.JoinedStr):
        return [text for value in node.values for text in constants(value)]
    if isinstance(node, ast.BinOp):
        return constants(node.left) + constants(node.right)
    return []


def messages(source: Path) -> Iterator[tuple[str, list[str]]]:
    """Where an error is made, and the fixed texts of its message."""
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in KINDS and node.args:
            texts = [text for text in constants(node.args[0]) if words(text)]
            if texts:
                yield f"{source.name}:{node.lineno}", texts


def runs(texts: list[str]) -> Iterator[str]:
    for text in texts:
        found = words(text)
        length = min(RUN, len(found))
        for i in range(len(found) - length + 1):
            yield f" {' '.join(found[i : i + length])} "


def test_every_message_is_tested() -> None:
    tests = "".join(
        # what escapes dots and brackets in patterns is no part of the words
        re.sub(r"\\[.()\[\]?*+]", " ", file.read_text(encoding="utf-8"))
        for file in sorted((ROOT / "tests").rglob("*.py"))
        if file != Path(__file__)
    )
    expected = f" {' '.join(words(tests))} "
    found = [message for file in sorted(Path(genmeta.__file__).parent.rglob("*.py")) for message in messages(file)]
    assert len(found) > 150
    untested = [
        f"{where}: {' ... '.join(texts)}" for where, texts in found if not any(r in expected for r in runs(texts))
    ]
    assert not untested, f"{len(untested)} of {len(found)} messages are in no test:\n" + "\n".join(untested)
