"""The README's code runs, and every table is the one that the result files and the registry give."""

from __future__ import annotations

import doctest
import importlib
import json
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import genmeta

ROOT = Path(__file__).parents[1]


def test_readme_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert code is not None
    monkeypatch.chdir(tmp_path)
    exec(compile(code[1], "README.md", "exec"), {})
    out = capsys.readouterr().out
    accuracies = [float(value) for value in re.findall(r"steps: ([\d.]+) %", out)]
    assert len(accuracies) == 3
    # ten classes: chance is 10 %
    assert min(accuracies) > 50


def test_tables_come_from_result_files() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "tables.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def parts(page: str) -> dict[str, list[str]]:
    """What two languages of a page have in common."""
    text = (ROOT / page).read_text(encoding="utf-8")
    outside = re.sub(r"<!-- table: \w+ -->.*?<!-- end -->|^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    return {
        "blocks": re.findall(r"^```.*?^```$", text, re.DOTALL | re.MULTILINE),
        "directives": re.findall(r"<!-- (?:not )?run: .*?-->", text),
        "tables": re.findall(r"<!-- table: \w+ -->.*?<!-- end -->", text, re.DOTALL),
        "links": sorted(link for link in re.findall(r"\]\(([^)]+)\)", outside) if not link.startswith("README")),
        "code": sorted(set(re.findall(r"`[^`\n]+`", outside))),
        "numbers": sorted(set(re.findall(r"\d+(?:\.\d+)?", re.sub(r"`[^`\n]+`|\]\([^)]+\)", "", outside)))),
        "headings": [len(level) for level in re.findall(r"^(#+) ", outside, re.MULTILINE)],
    }


def test_the_chinese_readme_is_the_readme() -> None:
    english, chinese = parts("README.md"), parts("README.zh-CN.md")
    for kind, found in english.items():
        assert chinese[kind] == found, kind


def test_pictures_are_small_and_say_what_made_them() -> None:
    pictures = ROOT / "docs" / "pictures"
    made = json.loads((pictures / "gallery.json").read_text(encoding="utf-8"))["pictures"]
    for picture in [*pictures.glob("*.png"), *pictures.glob("*.svg")]:
        assert picture.stat().st_size < 300_000, picture.name
        if picture.stem.startswith("gallery-") or picture.stem == "first":
            assert made[picture.stem]["command"].startswith("python tools/gallery.py"), picture.name
            assert made[picture.stem]["commit"], picture.name


def test_links_lead_somewhere() -> None:
    for page in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")):
        text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
        for link in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", text)):
            if not re.match(r"[a-z]+:|#", link):
                assert (page.parent / link.partition("#")[0]).exists(), f"{page.name}: {link}"


def test_examples_in_docstrings() -> None:
    tried = 0
    for module in pkgutil.walk_packages(genmeta.__path__, "genmeta."):
        if module.name != "genmeta.__main__":
            result = doctest.testmod(importlib.import_module(module.name))
            assert result.failed == 0, module.name
            tried += result.attempted
    assert tried > 0


def test_public_names_exist() -> None:
    for name in genmeta.__all__:
        assert getattr(genmeta, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        genmeta.nothing  # noqa: B018
