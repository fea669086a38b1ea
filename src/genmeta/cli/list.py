"""``genmeta list``."""

from __future__ import annotations

import dataclasses
import inspect
import sys
from collections.abc import Mapping
from typing import Any

from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from genmeta.cli.commands import List
from genmeta.cli.output import console, print_json
from genmeta.core.errors import unknown
from genmeta.data import available
from genmeta.data.domains import INFOS as DOMAINS
from genmeta.learners import LEARNERS
from genmeta.methods import DOMAIN_METHODS, list_methods
from genmeta.vision import VISUAL_TASKS
from genmeta.zoo import list_checkpoints


def run(command: List) -> None:
    """Prints what was asked for: a matrix as a table, all else as a paragraph for each."""
    of = {
        "methods": methods,
        "vision": vision,
        "datasets": datasets,
        "learners": learners,
        "checkpoints": checkpoints,
    }
    rows = of[command.what]()
    if command.name:
        names = [next(iter(row.values())) for row in rows]
        if command.name not in names:
            raise unknown(command.what.removesuffix("s"), command.name, names)
        rows = [row for row, name in zip(rows, names, strict=True) if name == command.name]
    if command.json:
        print_json({"schema": "genmeta.list/1", command.what: rows})
    elif not rows:
        console().print(f"no {command.what}")
    elif command.what == "vision":
        _print_matrix(rows)
    else:
        for row in rows:
            _print_paragraph(row, every_option=bool(command.name) or command.what != "methods")
        if command.what == "methods" and not command.name:
            console().print("What the options of a method mean: genmeta list methods NAME")


def _print_matrix(rows: list[dict[str, Any]]) -> None:
    table = Table()
    for name in rows[0]:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*["yes" if value is True else "–" if value is False else value for value in row.values()])
    console().print(table)


def _print_paragraph(row: dict[str, Any], *, every_option: bool) -> None:
    """The name and its summary, and below it a line for each of the rest."""
    out = console()
    out.print(f"[bold]{escape(str(row['name']))}[/bold]: {escape(str(row['summary']))}", markup=True)
    texts = row.get("meaning", {})
    rest = {label: value for label, value in row.items() if label not in ("name", "summary", "meaning") and value}
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for label, value in rest.items():
        if isinstance(value, dict):
            grid.add_row(label, _options(value, texts) if every_option else _one_line(value))
        else:
            grid.add_row(label, str(value))
    out.print(Padding(grid, (0, 0, 1, 2)))


def _options(options: Mapping[str, Any], texts: Mapping[str, str]) -> Table:
    """One below the other, each with what it means; of a data set that is the value itself."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in options.items():
        grid.add_row(*((f"{name}={_written(value)}", texts[name]) if name in texts else (f"{name}=", str(value))))
    return grid


def _one_line(options: Mapping[str, Any]) -> str:
    return "  ".join(f"{name}={_written(value)}" for name, value in options.items())


def _written(value: Any) -> str:
    """As ``--set`` takes it."""
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


def methods() -> list[dict[str, Any]]:
    """Those of every scenario."""
    domain = [DOMAIN_METHODS[name] for name in DOMAIN_METHODS]
    return [
        {
            "name": method.name,
            "summary": method.summary,
            "generates": method.generates,
            "adapts": method.adapts,
            "scenario": "domain alone" if method in domain else "all but domain",
            "paper": method.paper,
            "url": method.url,
            "options": {f.name: f.default for f in dataclasses.fields(method.options)},
            "meaning": method.option_texts,
            "file": method.file,
        }
        for method in [*list_methods(), *domain]
    ]


def datasets() -> list[dict[str, Any]]:
    """Of images by class, of scenes, of domains."""
    return [
        {
            "name": info.name,
            "summary": info.summary,
            "for": info.serves,
            "how to get": info.how_to_get,
            "size": info.size,
            "channels": info.channels,
            "options": {option: str(default) for option, default in info.all_options.items()},
        }
        for info in (*available(), *DOMAINS.values())
    ]


def learners() -> list[dict[str, Any]]:
    """The library's own, and where others come from."""
    modules = {name: sys.modules[LEARNERS[name].__module__] for name in LEARNERS}
    own = [
        {
            "name": name,
            "summary": _first_paragraph(module),
            "features": _first_paragraph(LEARNERS[name]),
            "file": module.__name__.replace(".", "/") + ".py",
        }
        for name, module in modules.items()
    ]
    others = [
        {
            "name": f"{library}:NAME",
            "summary": f"Any backbone of {title} whose weights lie on this machine: pip install 'genmeta[{library}]'.",
            "features": "As many as it has; the scales and shifts of its norms can be written.",
            "file": "genmeta/learners/backbone.py",
        }
        for library, title in {"timm": "timm", "hf": "Hugging Face's transformers"}.items()
    ]
    return [*own, *others]


def _first_paragraph(of: Any) -> str:
    return " ".join((inspect.getdoc(of) or "").split("\n\n")[0].replace("`", "").split())


def checkpoints() -> list[dict[str, Any]]:
    """Those in the package."""
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


def vision() -> list[dict[str, Any]]:
    """A row for each method, a column for each visual task."""
    return [
        {"method": method.name, **{vision: method.serves(vision) for vision in VISUAL_TASKS}}
        for method in list_methods()
    ]
