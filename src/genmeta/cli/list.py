"""``genmeta list``."""

from __future__ import annotations

import dataclasses
import sys
from typing import Any

from rich.table import Table

from genmeta.cli.commands import List
from genmeta.cli.output import console, print_json
from genmeta.data import available
from genmeta.learners import LEARNERS
from genmeta.methods import list_methods
from genmeta.vision import VISUAL_TASKS
from genmeta.zoo import list_checkpoints


def run(command: List) -> None:
    """Prints the table asked for."""
    tables = {
        "methods": _methods,
        "vision": _vision,
        "datasets": _datasets,
        "learners": _learners,
        "checkpoints": _checkpoints,
    }
    rows = tables[command.what]()
    if command.json:
        print_json({"schema": "genmeta.list/1", command.what: rows})
        return
    if not rows:
        console().print(f"no {command.what}")
        return
    table = Table(title=command.what)
    for name in rows[0]:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*[_text(value) for value in row.values()])
    console().print(table)


def _methods() -> list[dict[str, Any]]:
    return [
        {
            "name": method.name,
            "summary": method.summary,
            "generates": method.generates,
            "adapts": method.adapts,
            "paper": method.paper,
            "options": {f.name: f.default for f in dataclasses.fields(method.options)},
            "file": method.file,
        }
        for method in list_methods()
    ]


def _datasets() -> list[dict[str, Any]]:
    return [
        {
            "name": info.name,
            "summary": info.summary,
            "how to get": info.how_to_get,
            "size": info.size,
            "channels": info.channels,
            "options": {option: str(default) for option, default in dict(info.options).items()},
        }
        for info in available()
    ]


def _learners() -> list[dict[str, Any]]:
    modules = {name: sys.modules[LEARNERS[name].__module__] for name in LEARNERS}
    return [
        {
            "name": name,
            "summary": " ".join((module.__doc__ or "").split("\n\n")[0].split()),
            "file": module.__name__.replace(".", "/") + ".py",
        }
        for name, module in modules.items()
    ]


def _checkpoints() -> list[dict[str, Any]]:
    return [
        {
            "name": it.name,
            "summary": it.summary,
            "method": it.method,
            "learner": it.learner,
            "images": it.images,
            "meta-trained on": it.data,
            "licence": it.licence,
            "MB": it.megabytes,
            "card": "genmeta/checkpoints/" + it.card.name,
        }
        for it in list_checkpoints()
    ]


def _vision() -> list[dict[str, Any]]:
    """A row for each method, a column for each visual task."""
    return [
        {"method": method.name, **{vision: method.serves(vision) for vision in VISUAL_TASKS}}
        for method in list_methods()
    ]


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "–"
    if isinstance(value, dict):
        return "  ".join(f"{name}={item}" for name, item in value.items())
    return str(value)
