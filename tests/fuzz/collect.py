"""Makes ``results/fuzz/results.json`` of the lines that ``run.py`` printed: ``python tests/fuzz/collect.py LINES...``.

The last line of each target and engine counts. Lines say which commit they ran; ``--commit`` is for those of older
versions, which do not. A commit that is not in the history of this checkout is refused.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
from pathlib import Path
from typing import Any

from targets import TARGETS

from genmeta.core.files import write_json
from genmeta.scenarios import provenance

ROOT = Path(__file__).parents[2]
ENGINES = ("atheris", "hypothesis")


def collected(lines: list[str], commit: str) -> list[dict[str, Any]]:
    """The last run of each target with each engine, in the order of the targets."""
    runs: dict[tuple[str, str], dict[str, Any]] = {}
    for line in lines:
        if line.startswith("{"):
            run = {"commit": commit, **json.loads(line)}
            run.pop("command", None)  # holds paths of the machine; target, engine and seconds say it all
            runs[run["target"], run["engine"]] = run
    return [runs[target, engine] for target in TARGETS for engine in ENGINES if (target, engine) in runs]


def in_history(commit: str) -> bool:
    """Whether this checkout descends from the commit, which has no local changes."""
    command = ["git", "-C", str(ROOT), "merge-base", "--is-ancestor", commit or "none", "HEAD"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def main() -> None:
    """Reads the lines and writes the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lines", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "fuzz" / "results.json")
    parser.add_argument("--commit", default="", help="of the lines that do not say theirs")
    arguments = parser.parse_args()
    lines = [line for file in arguments.lines for line in file.read_text(encoding="utf-8").splitlines()]
    runs = collected(lines, arguments.commit)
    for run in runs:
        if not in_history(run["commit"]):
            parser.error(f"{run['target']}, {run['engine']}: commit {run['commit']!r} is not in this history")
    made = provenance()
    made["command"] = shlex.join(["python", "tests/fuzz/collect.py", *[file.name for file in arguments.lines]])
    write_json(arguments.out, {"schema": "genmeta.fuzz/2", **made, "runs": runs})


if __name__ == "__main__":
    main()
