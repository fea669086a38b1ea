"""Every example runs, and says what its page promises."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_the_idea_from_scratch() -> None:
    text = (EXAMPLES / "from_scratch.py").read_text(encoding="utf-8")
    assert "import genmeta" not in text
    done = subprocess.run(
        [sys.executable, EXAMPLES / "from_scratch.py"], capture_output=True, text=True, check=False, timeout=280
    )
    assert done.returncode == 0, done.stderr
    rows = dict(re.findall(r"^(generated|zero) start +0 steps: ([\d.]+) %", done.stdout, re.MULTILINE))
    assert float(rows["zero"]) < 34  # three classes
    assert float(rows["generated"]) > 60  # written, before any step
