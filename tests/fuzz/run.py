"""Fuzzes one target for some time: ``python tests/fuzz/run.py --engine atheris --target image --seconds 600``.

Seconds are those of the processor, so that a busy machine does not shorten the work.

Inputs begin with those of ``tests/fuzz/corpus/TARGET``. Prints how many were tried and how each ended; an input that
ends in anything but a result or an error of the library is written to ``--findings`` and the run goes on. Atheris comes
from ``tests/fuzz/requirements.txt``, hypothesis with the development tools.
"""

from __future__ import annotations

import argparse
import datetime
import json
import random
import shlex
import sys
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"


class Record:
    """Counts, and findings by the line that raised."""

    def __init__(self, target: str, findings: Path) -> None:
        self.target, self.folder = target, findings / target
        self.outcomes: Counter[str] = Counter()
        self.found: dict[str, str] = {}
        self.slowest = 0.0

    def __call__(self, data: bytes) -> None:
        from targets import run

        began = time.process_time()
        try:
            self.outcomes[run(self.target, data)] += 1
        except Exception as error:  # noqa: BLE001  (whatever it is, it is a finding)
            where = traceback.extract_tb(error.__traceback__)[-1]
            key = f"{type(error).__name__} at {Path(where.filename).name}:{where.lineno}"
            self.outcomes["finding"] += 1
            if key not in self.found:
                self.folder.mkdir(parents=True, exist_ok=True)
                name = f"{len(self.found)}-{type(error).__name__}"
                (self.folder / name).write_bytes(data)
                (self.folder / f"{name}.txt").write_text("".join(traceback.format_exception(error)))
                self.found[key] = str(error)[:200]
        took = time.process_time() - began
        if took > self.slowest:
            self.slowest = took
            if took > 5:
                self.folder.mkdir(parents=True, exist_ok=True)
                (self.folder / f"slow-{took:.0f}s").write_bytes(data)

    def report(self, engine: str, seconds: float) -> str:
        """One line of JSON."""
        from genmeta.engine.run_directory import git_commit

        return json.dumps(
            {
                "command": shlex.join(["python", "tests/fuzz/run.py", *sys.argv[1:]]),
                "commit": git_commit(Path(__file__).parent),
                "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
                "target": self.target,
                "engine": engine,
                "seconds": round(seconds),
                "cpu_seconds": round(time.process_time()),
                "inputs": sum(self.outcomes.values()),
                "outcomes": dict(self.outcomes),
                "slowest_seconds": round(self.slowest, 2),
                "findings": self.found,
            }
        )


def main() -> None:
    """Runs one engine on one target."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", choices=("atheris", "hypothesis"), required=True)
    parser.add_argument("--target", required=True)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--findings", type=Path, default=Path("fuzz-findings"))
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    record = Record(arguments.target, arguments.findings)
    seeds = [file.read_bytes() for file in sorted((CORPUS / arguments.target).glob("*"))]
    if arguments.engine == "atheris":
        _atheris(record, seeds, arguments.seconds)
    else:
        _hypothesis(record, seeds, arguments.seconds)


def _atheris(record: Record, seeds: list[bytes], seconds: float) -> None:
    import atheris

    with atheris.instrument_imports(include=["genmeta", "PIL", "zipfile"]):
        import targets  # noqa: F401
    began, used = time.monotonic(), time.process_time()

    def one(data: bytes) -> None:
        record(data)
        if time.process_time() - used > seconds:
            print(record.report("atheris", time.monotonic() - began), flush=True)
            import os

            os._exit(0)

    atheris.Setup(
        [
            sys.argv[0],
            "-verbosity=0",
            "-timeout=60",
            "-rss_limit_mb=4096",
            "-max_len=20000",
            str(CORPUS / record.target),
        ],
        one,
    )
    atheris.Fuzz()


def _hypothesis(record: Record, seeds: list[bytes], seconds: float) -> None:
    from hypothesis import HealthCheck, Phase, given, seed, settings
    from strategies import STRATEGIES

    began, used, rounds = time.monotonic(), time.process_time(), random.SystemRandom().randrange(10**6)
    for data in seeds:
        record(data)
    while time.process_time() - used < seconds:
        rounds += 1

        @seed(rounds)
        @settings(
            max_examples=500,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(STRATEGIES[record.target])
        def some(data: bytes) -> None:
            record(data)

        some()
    print(record.report("hypothesis", time.monotonic() - began), flush=True)


if __name__ == "__main__":
    main()
