"""What is recorded of a process."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from genmeta.engine.runtime import command_line


@pytest.mark.parametrize(
    "program, expected",
    [
        ("/usr/bin/genmeta", "genmeta 'a b' --run x"),
        ("/site-packages/genmeta/__main__.py", "genmeta 'a b' --run x"),
        ("tools/families.py", "python tools/families.py 'a b' --run x"),
        ("{here}/tools/families.py", "python tools/families.py 'a b' --run x"),
        ("/home/somebody/study.py", "python study.py 'a b' --run x"),
    ],
)
def test_a_command_can_be_typed_again_and_names_no_folder_of_a_person(
    program: str, expected: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [program.format(here=tmp_path), "a b", "--run", "x"])
    assert command_line() == expected
