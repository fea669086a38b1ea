"""What commands print: a table for people, or one JSON object and nothing else for programs."""

from __future__ import annotations

import json
import math
from typing import Any

from rich.console import Console


def console() -> Console:
    """Where tables go: stdout, at least 100 columns wide where it is no terminal.

    Names of files and classes are printed as they are, whatever brackets and colons they hold.
    """
    out = Console(highlight=False, markup=False, emoji=False)
    return out if out.is_terminal else Console(highlight=False, markup=False, emoji=False, width=max(out.width, 100))


def error_console() -> Console:
    """Where remarks go: stderr."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def print_json(value: Any) -> None:
    """One JSON object on stdout; numbers that JSON has no word for become null."""
    print(json.dumps(_plain(value), ensure_ascii=False, indent=2))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
