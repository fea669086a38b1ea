"""Trains in forked processes: torch is imported once, and each run begins like a fresh process.

``python zygote.py JOBS.json`` takes a list of ``{"config": {...}, "size": n, "resume": bool, "kill_after": seconds}``.
Each job is a run of ``n`` processes, as torchrun would start them; with ``kill_after`` all of them get a SIGKILL after
that time. Exit codes go to stdout as JSON.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
import warnings
from pathlib import Path
from typing import Any

from genmeta.core.errors import GenmetaError
from genmeta.core.settings import TrainConfig
from genmeta.engine import train


def rank(job: dict[str, Any], number: int, port: int) -> None:
    if job["size"] > 1:
        names = {"RANK": number, "LOCAL_RANK": number, "WORLD_SIZE": job["size"], "LOCAL_WORLD_SIZE": job["size"]}
        os.environ.update({key: str(value) for key, value in names.items()})
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), TORCHELASTIC_RUN_ID="test")
    try:
        train(TrainConfig(**job["config"]), resume=job.get("resume", False), progress=False)
    except GenmetaError as error:
        sys.stderr.write(f"{number}: {error}\n")
        os._exit(2)


def fork(job: dict[str, Any]) -> list[int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    children = []
    for number in range(job["size"]):
        if (child := os.fork()) == 0:
            try:
                rank(job, number, port)
            finally:
                sys.stderr.flush()
                os._exit(1 if sys.exc_info()[0] else 0)
        children.append(child)
    return children


def run(job: dict[str, Any]) -> list[int]:
    children = fork(job)
    if (after := job.get("kill_after")) is not None:
        time.sleep(after)
        for child in children:
            os.kill(child, signal.SIGKILL)  # one that has ended is a zombie still, and harmless to kill
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


if __name__ == "__main__":
    warnings.simplefilter("ignore", DeprecationWarning)  # of forking, which is what this is for
    sys.stdout.write(json.dumps([run(job) for job in json.loads(Path(sys.argv[1]).read_text())]))
