"""Tables of docs/commands.md and docs/methods/: every command, and every option with what it means."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import textwrap
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, get_args, get_type_hints

from tables_files import table
from tyro import conf

import genmeta.cli.list as listed
from genmeta.cli.commands import COMMANDS
from genmeta.core.docstrings import attributes_of
from genmeta.data.registry import COMMON_OPTIONS
from genmeta.methods import DOMAIN_METHODS, METHODS, find_method


def commands() -> str:
    """Command · what it does."""
    rows = [[f"[`genmeta {name}`](#genmeta-{name})", _summary(kind)] for name, kind in COMMANDS.items()]
    return table(["Command", "What it does"], rows)


def _summary(kind: Any) -> str:
    return " ".join((inspect.getdoc(kind) or "").split("\n\n")[0].split())


def options(command: str) -> str:
    """Option · default · meaning, of a command: its own, then those of the groups in it."""
    kind: Any = COMMANDS[command]
    rows = [
        [_flag(name, positional), _default(default), _shown(text)] for name, positional, default, text in _fields(kind)
    ]
    return table(["Option", "Default", "Meaning"], rows)


def _shown(text: str) -> str:
    return text.replace("<", "&lt;")  # <class>/<image> is no markup


def _flag(name: str, positional: bool) -> str:
    return f"`{name.upper()}`" if positional else f"`--{name.replace('_', '-')}`"


def _default(value: Any) -> str:
    if value is dataclasses.MISSING:
        return "*required*"
    if value is None or value is False or value == "" or value == ():
        return "–"
    return "yes" if value is True else f"`{value}`"


def _fields(kind: type) -> Iterator[tuple[str, bool, Any, str]]:
    """Name, whether it is positional, default and text of every option, the positional ones first."""
    texts = {**attributes_of(kind), **_below_fields(kind)}
    hints = get_type_hints(kind, include_extras=True)
    groups = []
    own = []
    for field in dataclasses.fields(kind):
        inner, *marks = get_args(hints[field.name]) or (hints[field.name],)
        if conf.Suppress in marks:
            continue
        if dataclasses.is_dataclass(inner):
            groups.append(inner)
            continue
        own.append((field.name, conf.Positional in marks, field.default, texts[field.name]))
    yield from sorted(own, key=lambda row: not row[1])
    for group in groups:
        yield from _fields(group)


def _below_fields(kind: type) -> dict[str, str]:
    """What stands below a field, in quotes, as commands document theirs."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(tree, ast.ClassDef)
    told = {}
    for field, text in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
            told[ast.unparse(field.target)] = " ".join(str(text.value.value).split())
    return told


def method_options(name: str) -> str:
    """Option · default · meaning, of a method."""
    method = find_method(name)
    rows = [
        [f"`{field.name}`", f"`{_written(field.default)}`", _shown(method.option_texts[field.name])]
        for field in dataclasses.fields(method.options)
    ]
    return table(["Option", "Default", "Meaning"], rows) if rows else "It has none."


def _written(value: Any) -> Any:
    return ("yes" if value else "no") if isinstance(value, bool) else value


def domain_methods() -> str:
    """Method · Generates · Adapts · in one sentence · Paper."""
    rows = []
    for method in (DOMAIN_METHODS[name] for name in DOMAIN_METHODS):
        paper = f"[{method.paper}]({method.url})"
        rows.append([f"`{method.name}`", method.generates, method.adapts, method.summary, paper])
    return table(["Method", "Generates", "Adapts", "In one sentence", "Paper"], rows)


def datasets() -> str:
    """Name · what it is · what it is for · how to get it."""
    rows = [
        [f"`{row['name']}`", _shown(row["summary"]), row["for"], _shown(row["how to get"])] for row in listed.datasets()
    ]
    return table(["Name", "What it is", "For", "How to get it"], rows)


def dataset_keys() -> str:
    """Name · key · meaning, of those keys that not all data sets know."""
    rows = [
        [f"`{row['name']}`", f"`{key}`", _shown(text)]
        for row in listed.datasets()
        for key, text in row["options"].items()
        if key not in COMMON_OPTIONS
    ]
    common = [["every one", f"`{key}`", text] for key, text in COMMON_OPTIONS.items()]
    return table(["Data set", "Key", "Meaning"], [*common, *rows])


def learners() -> str:
    """Name · what it is · its features."""
    return table(
        ["Name", "What it is", "Features"],
        [[f"`{row['name']}`", row["summary"], row["features"]] for row in listed.learners()],
    )


TABLES: dict[str, Callable[[], str]] = {
    "commands": commands,
    "data_sets": datasets,
    "data_set_keys": dataset_keys,
    "learners": learners,
    "domain_methods": domain_methods,
    **{f"options_{name}": partial(options, name) for name in COMMANDS},
    **{f"method_options_{name.replace('-', '_')}": partial(method_options, name) for name in METHODS},
}
