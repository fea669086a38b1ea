"""What all tables are made with: reading a result file, and Markdown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[1] / "results"


def read(name: str) -> dict[str, Any]:
    """What ``results/NAME/results.json`` holds."""
    return dict(json.loads((RESULTS / name / "results.json").read_text(encoding="utf-8")))


def read_if_there(name: str) -> dict[str, Any] | None:
    """The same, or nothing where there is no such file."""
    return read(name) if (RESULTS / name / "results.json").is_file() else None


def there(names: dict[str, str]) -> dict[str, str]:
    """Those results of which there is a file."""
    return {name: label for name, label in names.items() if (RESULTS / name / "results.json").is_file()}


def table(headers: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    return "\n".join("| " + " | ".join(row) + " |" for row in (headers, ["---"] * len(headers), *rows))


def count(step: str) -> str:
    """A number of steps in words."""
    return f"{step} step" if step == "1" else f"{step} steps"
