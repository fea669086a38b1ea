"""Every method has a page with all its parts, and a figure of what it really puts into the slots."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from genmeta.methods import METHODS, list_methods

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", sorted(METHODS))
def test_a_method_has_a_page_with_all_its_parts(name: str) -> None:
    page = (ROOT / "docs" / "methods" / f"{name}.md").read_text(encoding="utf-8")
    command = "genmeta fit" if name == "film-transfer" else f"genmeta train {name}"
    table = f"<!-- table: measured_{name.replace('-', '_')} -->"
    for part in (f"# {name}\n", "**Idea.**", f"(../pictures/methods/{name}.svg)", "**Equation.**", command, table,
                 "## When to use it"):  # fmt: skip
        assert part in page, f"docs/methods/{name}.md lacks {part!r}"
    method = METHODS[name]
    assert not method.url or method.url in page


def test_no_page_is_of_a_method_that_is_gone() -> None:
    pages = {path.stem for path in (ROOT / "docs" / "methods").glob("*.md")} - {"index"}
    assert pages == {method.name for method in list_methods()}


def test_figures_show_the_parts_that_are_built() -> None:
    check = [sys.executable, str(ROOT / "tools" / "method_figures.py"), "--check"]
    ran = subprocess.run(check, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
