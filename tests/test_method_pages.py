"""Every method has a page with all its parts, and a figure of what it really puts into the slots."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import tyro

from genmeta.cli.commands import COMMANDS
from genmeta.methods import METHODS, list_methods

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", sorted(METHODS))
def test_a_method_has_a_page_with_all_its_parts(name: str) -> None:
    page = (ROOT / "docs" / "methods" / f"{name}.md").read_text(encoding="utf-8")
    command = "genmeta fit" if name == "film-transfer" else f"genmeta train {name}"
    measured, options = (f"<!-- table: {of}_{name.replace('-', '_')} -->" for of in ("measured", "method_options"))
    for part in (f"# {name}\n", "**Idea.**", f"(../pictures/methods/{name}.svg)", "**Equation.**", command, measured,
                 options, "## When to use it"):  # fmt: skip
        assert part in page, f"docs/methods/{name}.md lacks {part!r}"
    method = METHODS[name]
    assert not method.url or method.url in page


def test_the_page_of_commands_has_all_of_them_with_all_options() -> None:
    page = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    for command, kind in COMMANDS.items():
        section = page.partition(f"### `genmeta {command}`\n")[2].partition("\n#")[0]
        assert f"<!-- table: options_{command} -->" in section
        for option in tyro_names(kind):
            assert f"| `--{option}` |" in section or f"| `{option.upper()}` |" in section, f"{command}: {option}"


def tyro_names(kind: Callable[..., object]) -> list[str]:
    """The options as the command itself reads them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        parser = tyro.extras.get_parser(kind, config=(tyro.conf.FlagCreatePairsOff,))
    return [action.dest.rpartition(".")[2] for action in parser._actions if action.dest != "help"]


def test_no_page_is_of_a_method_that_is_gone() -> None:
    pages = {path.stem for path in (ROOT / "docs" / "methods").glob("*.md")} - {"index"}
    assert pages == {method.name for method in list_methods()}


def test_figures_show_the_parts_that_are_built() -> None:
    check = [sys.executable, str(ROOT / "tools" / "method_figures.py"), "--check"]
    ran = subprocess.run(check, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
