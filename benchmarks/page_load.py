"""The web page under load: ``results/serve/results.json``.

``python benchmarks/page_load.py`` starts ``genmeta serve`` as users do. Then all clients begin at once; each shows five
handwritten digits (three images of each) under names of its own, adapts, and asks for twenty others. Every answer is
compared with that of an estimator which was fitted in this process to that client's images alone. An answer that does
not come is lost; one that names another client's classes, or differs by more than 1e-4, is mixed up.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from genmeta.core.files import write_json
from genmeta.estimators import FewShotClassifier
from genmeta.scenarios import provenance
from genmeta.serve.images import read_picture
from genmeta.serve.limits import Limits

WAYS, SHOTS, QUERIES = 5, 3, 4


class Client(NamedTuple):
    """What one client shows and asks."""

    support: list[tuple[str, bytes]]
    queries: list[bytes]


class Answers(NamedTuple):
    """What it was told, and how long that took, in seconds."""

    told: list[dict[str, float] | None]
    adapting: float
    predicting: list[float]


def make_client(number: int) -> Client:
    """Digits of the client's own choice."""
    bunch, random = load_digits(), np.random.default_rng(number)
    support, queries = [], []
    for digit in random.choice(10, WAYS, replace=False):
        chosen = random.choice(np.flatnonzero(bunch.target == digit), SHOTS + QUERIES, replace=False)
        files = [_png(bunch.images[i]) for i in chosen]
        support += [(f"client {number} digit {digit}", file) for file in files[:SHOTS]]
        queries += files[SHOTS:]
    return Client(support, queries)


def _png(values: np.ndarray) -> bytes:
    packed = io.BytesIO()
    image = Image.fromarray(np.rint(255 - values * (255 / 16)).astype(np.uint8))
    image.resize((112, 112), Image.Resampling.BICUBIC).save(packed, "PNG")
    return packed.getvalue()


async def visit(address: str, model: str, client: Client) -> Answers:
    """One client's whole visit."""
    async with httpx.AsyncClient(base_url=address, trust_env=False, verify=False, timeout=1200) as http:
        opened = (await http.post("/api/session")).json()
        http.headers["x-session"] = opened["token"]
        for each in opened["classes"]:
            await http.delete(f"/api/classes/{each['id']}")
        numbers: dict[str, int] = {}
        for name, file in client.support:
            if name not in numbers:
                numbers[name] = (await http.post("/api/classes", json={"name": name})).json()["id"]
            (await http.post(f"/api/classes/{numbers[name]}/images", content=file)).raise_for_status()
        began = time.monotonic()
        (await http.post("/api/adapt", json={})).raise_for_status()
        while (await http.get("/api/progress")).json()["job"]["state"] in ("waiting", "running"):
            await asyncio.sleep(0.5)
        adapting, told, predicting = time.monotonic() - began, [], []
        for file in client.queries:
            began = time.monotonic()
            answer = await http.post("/api/predict", content=file)
            predicting.append(time.monotonic() - began)
            rows = answer.json().get("answers") if answer.status_code == 200 else None
            told.append({row["name"]: row["probability"] for row in rows} if rows else None)
        await http.delete("/api/session")
    return Answers(told, adapting, predicting)


async def crowd(address: str, model: str, clients: list[Client]) -> list[Answers | BaseException]:
    """All visits at once."""
    return await asyncio.gather(*(visit(address, model, client) for client in clients), return_exceptions=True)


def judge(model: str, client: Client, answers: Answers | BaseException) -> tuple[int, int, float]:
    """Answers lost and mixed up, and the largest difference to an estimator of the client's own."""
    if isinstance(answers, BaseException):
        return len(client.queries), 0, 0.0
    pixels = [read_picture(file, Limits()).pixels for _, file in client.support]
    alone = FewShotClassifier(model).fit(pixels, [name for name, _ in client.support])
    expected = alone.predict_proba([read_picture(file, Limits()).pixels for file in client.queries])
    lost = mixed = 0
    largest = 0.0
    for told, row in zip(answers.told, expected, strict=True):
        if told is None:
            lost += 1
        elif set(told) != set(alone.classes_):
            mixed += 1
        else:
            difference = max(abs(told[name] - p) for name, p in zip(alone.classes_, row, strict=True))
            largest = max(largest, float(difference))
            mixed += int(difference > 1e-4)
    return lost, mixed, largest


def main() -> None:
    """Serves, sends the clients, judges and writes the result file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", default="results/serve/results.json")
    parser.add_argument("--model", default="characters")
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--counts-only", action="store_true", help="leave out seconds, on a machine that is not idle")
    arguments = parser.parse_args()
    clients = [make_client(number) for number in range(arguments.clients)]
    command = [sys.executable, "-m", "genmeta", "serve", "--port", "0", "--threads", "1", "--models", arguments.model]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as serving:
        try:
            assert serving.stderr is not None
            address = next(word for word in serving.stderr.readline().split() if word.startswith("http://"))
            began = time.monotonic()
            answers = asyncio.run(crowd(address, arguments.model, clients))
            seconds = time.monotonic() - began
            memory = max(
                int(line.split()[1])
                for line in Path(f"/proc/{serving.pid}/status").read_text().splitlines()
                if line.startswith("VmHWM")
            )
        finally:
            serving.terminate()
            serving.communicate(timeout=30)
    judged = [judge(arguments.model, *pair) for pair in zip(clients, answers, strict=True)]
    fine = [each for each in answers if isinstance(each, Answers)]
    predicting = np.concatenate([each.predicting for each in fine])
    made = provenance()
    given = [f"--{name.replace('_', '-')}" for name in ("counts_only",) if getattr(arguments, name)]
    made["command"] = shlex.join(["python", "benchmarks/page_load.py", "--clients", str(arguments.clients), *given])
    made["machine"] = {**made["machine"], "threads": 1}
    times: dict[str, Any] = {
        "seconds": round(seconds, 1),
        "adapted_after_seconds": {"median": _at(fine, 50), "last": _at(fine, 100)},
        "predict_ms": {
            name: round(1000 * float(np.percentile(predicting, q)), 1) for name, q in (("median", 50), ("p95", 95))
        },
    }
    result: dict[str, Any] = {
        "clients": arguments.clients,
        "model": arguments.model,
        "ways": WAYS,
        "shots": SHOTS,
        "answers": sum(len(client.queries) for client in clients),
        "lost": sum(row[0] for row in judged),
        "mixed_up": sum(row[1] for row in judged),
        "largest_difference": max(row[2] for row in judged),
        "server_memory_mb": round(memory / 1000),
        **({} if arguments.counts_only else times),
    }
    write_json(Path(arguments.out), {"schema": "genmeta.page-load/1", **made, **result})
    print(result)


def _at(answers: list[Answers], percentile: float) -> float:
    return round(float(np.percentile([each.adapting for each in answers], percentile)), 1)


if __name__ == "__main__":
    main()
