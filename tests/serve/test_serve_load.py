"""Fifty people at once: every question is answered, and each with the asker's own answer."""

from __future__ import annotations

import asyncio
import time

import httpx
import numpy as np
from serve_helpers import png, running, toy_backend

from genmeta.serve.adapting import Backend
from genmeta.serve.limits import Limits

CLIENTS, QUESTIONS = 50, 4


async def person(number: int, address: str, start: asyncio.Event) -> list[tuple[str, str]]:
    """Teaches colours under names that nobody else uses, and asks for them; (true name, answer) of every question."""
    random = np.random.default_rng(number)
    # the same few colours for all, named differently by each: a mixed-up model or image would give another name
    palette = random.permutation(np.array([(250, 0, 0), (0, 250, 0), (0, 0, 250), (250, 250, 0), (0, 250, 250)]))[:3]
    names = [f"person {number} colour {'-'.join(map(str, colour))}" for colour in palette]
    answered: list[tuple[str, str]] = []
    async with httpx.AsyncClient(base_url=address, trust_env=False, verify=False, timeout=120) as client:
        await start.wait()
        opened = (await client.post("/api/session")).json()
        client.headers["x-session"] = opened["token"]
        for each, name, colour in zip([*opened["classes"], None], names, palette, strict=True):
            if each is None:
                each = (await client.post("/api/classes", json={"name": name})).json()
            else:
                await client.patch(f"/api/classes/{each['id']}", json={"name": name})
            for shift in (0, 4):
                image = png(tuple(int(c) for c in np.clip(colour + shift - 2, 0, 255)))
                (await client.post(f"/api/classes/{each['id']}/images", content=image)).raise_for_status()
        (await client.post("/api/adapt", json={"quick": False})).raise_for_status()
        while (progress := (await client.get("/api/progress")).json())["job"]["state"] in ("waiting", "running"):
            await asyncio.sleep(0.3)
        assert progress["job"]["state"] == "done", progress
        for question in range(QUESTIONS):
            at = question % len(names)
            answer = await client.post("/api/predict", content=png(tuple(map(int, palette[at]))))
            assert answer.status_code == 200, answer.text
            assert {row["name"] for row in answer.json()["answers"]} == set(names)
            answered.append((names[at], answer.json()["answers"][0]["name"]))
        model = await client.get("/api/model")
        assert model.status_code == 200
        if model.content[:3] != b"with":
            assert all(name.encode() in model.content for name in names)
        await client.delete("/api/session")
    return answered


def crowd(backend: Backend) -> float:
    """Fifty people in one process, all beginning at once; the seconds until the last has all answers."""

    async def scene(address: str) -> list[list[tuple[str, str]]]:
        start = asyncio.Event()
        people = [asyncio.create_task(person(number, address, start)) for number in range(CLIENTS)]
        await asyncio.sleep(0)
        start.set()
        return await asyncio.gather(*people)

    with running(backend, Limits(sessions=CLIENTS, waiting=CLIENTS)) as address:
        began = time.monotonic()
        answers = asyncio.run(scene(address))
        seconds = time.monotonic() - began
    assert [len(each) for each in answers] == [QUESTIONS] * CLIENTS
    assert [pair for each in answers for pair in each if pair[0] != pair[1]] == []
    return seconds


def test_fifty_clients_get_their_own_answers() -> None:
    crowd(toy_backend(seconds=0.01))
