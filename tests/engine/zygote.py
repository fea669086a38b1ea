"""Trains in forked processes: torch is imported once, and each run begins like a fresh process.

``python zygote.py JOBS.json`` takes a list of ``{"config": {...}, "size": n, "kills": k, "seed": s}``. Each job is a
run of ``n`` processes, as torchrun would start them, resumed until it is done. With ``kills``, a run of one process is
first killed (SIGKILL) that many times at random moments; after each, what lies in its directory must be whole. What
happened goes to stdout as JSON.
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
from random import Random
from typing import Any

from safetensors.torch import load_file

from genmeta.core.errors import GenmetaError
from genmeta.core.settings import TrainConfig
from genmeta.engine import read_header, train
from genmeta.engine.checkpoint import load_state

ENDED = os.WEXITED | os.WNOHANG | os.WNOWAIT


def rank(job: dict[str, Any], number: int, port: int) -> None:
    if job["size"] > 1:
        names = {"RANK": number, "LOCAL_RANK": number, "WORLD_SIZE": job["size"], "LOCAL_WORLD_SIZE": job["size"]}
        os.environ.update({key: str(value) for key, value in names.items()})
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), TORCHELASTIC_RUN_ID="test")
    try:
        train(TrainConfig(**job["config"]), resume=True, progress=False)
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


def wait(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def whole(directory: Path) -> int:
    """Reads everything in a run directory that a reader may meet, and gives the step of its state."""
    if (directory / "config.json").exists():
        json.loads((directory / "config.json").read_text())
    if (directory / "model.safetensors").exists():
        read_header(directory)
        load_file(directory / "model.safetensors")
    state = directory / "last.ckpt"
    return int(load_state(state)["step"]) if state.exists() else -1


def changed(state: Path) -> int:
    return state.stat().st_ino if state.exists() else 0


def kill(job: dict[str, Any]) -> dict[str, Any]:
    """Kills a run again and again: while it starts, or some time after it has saved its state some times more."""
    random, directory = Random(job["seed"]), Path(job["config"]["run"])
    state, steps = directory / "last.ckpt", []
    while len(steps) < job["kills"]:
        (child,) = fork(job)
        saves, deadline = random.choice((0, 1, 1, 2)), time.monotonic() + 60
        seen = changed(state)
        while saves and time.monotonic() < deadline and not os.waitid(os.P_PID, child, ENDED):
            if (now := changed(state)) != seen:
                saves, seen = saves - 1, now
            time.sleep(0.001)
        time.sleep(random.uniform(0, 0.06 if seen else 0.5))
        ended = os.waitid(os.P_PID, child, ENDED) is not None
        os.kill(child, signal.SIGKILL)
        wait(child)
        if ended:
            break  # all steps were done before the last kills could happen
        steps.append(whole(directory))
    return {"codes": [wait(child) for child in fork(job)], "steps": steps}


def run(job: dict[str, Any]) -> dict[str, Any]:
    return kill(job) if "kills" in job else {"codes": [wait(child) for child in fork(job)]}


if __name__ == "__main__":
    warnings.simplefilter("ignore", DeprecationWarning)  # of forking, which is what this is for
    sys.stdout.write(json.dumps([run(job) for job in json.loads(Path(sys.argv[1]).read_text())]))
