"""The README's code runs, and every table is the one that the result files and the registry give."""

from __future__ import annotations

import doctest
import importlib
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
