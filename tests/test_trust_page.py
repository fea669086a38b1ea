"""The page on faults names tests that there are."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_every_test_that_the_page_names_exists() -> None:
    page = (ROOT / "docs" / "trust.md").read_text(encoding="utf-8")
    named = re.findall(r"`(?:tests/)?((?:[a-z_]+/)*[a-z_]+\.py)(?:::(\w+))?`", page)
    assert len(named) > 40
    for file, test in named:
        path = ROOT / "tests" / file
        assert path.is_file(), file
        assert not test or f"def {test}(" in path.read_text(encoding="utf-8"), f"{file}::{test}"
    for target, name in re.findall(r"`fuzz/corpus/([a-z-]+)(?:/([a-z-]+))?`", page):
        assert list((ROOT / "tests" / "fuzz" / "corpus" / target).glob(f"*{name}*")), (target, name)
