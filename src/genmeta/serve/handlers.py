"""What each request of a visitor does. It carries bytes and numbers, never a path or the name of a file."""

from __future__ import annotations

import functools
import json
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from genmeta.serve.adapting import Backend
from genmeta.serve.examples import EXAMPLES, draw_example
from genmeta.serve.guard import read_body
from genmeta.serve.images import read_picture
from genmeta.serve.limits import Limits
from genmeta.serve.refusal import Refusal
from genmeta.serve.sessions import Session, Sessions
from genmeta.serve.work import Lane

_SMALL_BODY = 100_000


class Page:
    """One running page: its visitors and its queues.

    Attributes:
        backend: adapts and predicts.
        limits: see `Limits`.
        loopback: whether only this very machine is served.
        sessions: the visitors.
    """

    def __init__(self, backend: Backend, limits: Limits, loopback: bool) -> None:
        self.backend, self.limits, self.loopback = backend, limits, loopback
        self.sessions = Sessions(limits)
        # reading and predicting have lanes of their own, so that they never wait for somebody's adaptation
        self.reading = Lane("reading", 2, 20 * limits.waiting)
        self.predicting = Lane("predicting", 1, 20 * limits.waiting)
        self.adapting = Lane("adapting", limits.adapting, limits.waiting)

    def close(self) -> None:
        """Forgets all visitors and stops the queues."""
        self.sessions.close_all()
        for lane in (self.reading, self.predicting, self.adapting):
            lane.close()

    def state(self, session: Session) -> dict[str, Any]:
        """Everything the page shows of a visitor."""
        return {
            "local": self.loopback,
            "limits": {"upload_mb": self.limits.upload_mb, "images": self.limits.images},
            "checkpoints": [choice._asdict() for choice in self.backend.checkpoints],
            "examples": [
                {"name": name, "title": example.title}
                for name, example in EXAMPLES.items()
                if example.checkpoint in {choice.name for choice in self.backend.checkpoints}
            ],
            "checkpoint": session.checkpoint,
            "classes": session.board.as_json(),
            **self.progress(session),
        }

    def progress(self, session: Session) -> dict[str, Any]:
        """Where the adaptation stands."""
        ticket, adapted = session.ticket, session.adapted
        return {
            "job": ticket
            and {
                "state": ticket.state,
                "ahead": self.adapting.ahead(ticket),
                "seconds": round(ticket.seconds, 1),
                "error": ticket.error,
            },
            "adapted": adapted and adapted.as_json(session.board, session.checkpoint),
        }


async def state(page: Page, session: Session, request: Request) -> Response:
    """Everything the page shows."""
    return JSONResponse(page.state(session))


async def progress(page: Page, session: Session, request: Request) -> Response:
    """Where the adaptation stands."""
    return JSONResponse(page.progress(session))


async def end(page: Page, session: Session, request: Request) -> Response:
    """Forgets the visitor."""
    page.sessions.close(session.token)
    return JSONResponse({})


async def choose(page: Page, session: Session, request: Request) -> Response:
    """Chooses the checkpoint."""
    session.checkpoint = page.backend.check((await _fields(request, page.limits)).get("checkpoint"))
    return JSONResponse(page.state(session))


async def add_class(page: Page, session: Session, request: Request) -> Response:
    """A new class."""
    name = (await _fields(request, page.limits)).get("name", "")
    added = session.board.add_class(name if isinstance(name, str) else "")
    return JSONResponse({"id": added.id, "name": added.name})


async def rename(page: Page, session: Session, request: Request) -> Response:
    """Another name for a class."""
    name = (await _fields(request, page.limits)).get("name", "")
    changed = session.board.rename(request.path_params["id"], name if isinstance(name, str) else "")
    return JSONResponse({"id": changed.id, "name": changed.name})


async def remove_class(page: Page, session: Session, request: Request) -> Response:
    """Removes a class."""
    session.board.remove_class(request.path_params["id"])
    return JSONResponse({})


async def add_image(page: Page, session: Session, request: Request) -> Response:
    """Adds the image that the body holds to a class."""
    into = request.path_params["id"]
    session.board.check_room(into)
    data = await read_body(request, page.limits)
    picture = await page.reading.call(functools.partial(read_picture, data, page.limits))
    page.sessions.check_memory(picture.pixels.nbytes)
    number = session.board.add_picture(into, picture)
    return JSONResponse({"id": number, "thumbnail": picture.thumbnail})


async def remove_image(page: Page, session: Session, request: Request) -> Response:
    """Removes an image."""
    session.board.remove_picture(request.path_params["id"])
    return JSONResponse({})


async def example(page: Page, session: Session, request: Request) -> Response:
    """Replaces the board by an example."""
    name = (await _fields(request, page.limits)).get("example")
    if not isinstance(name, str) or name not in EXAMPLES:
        raise Refusal("There is no such example.", 404)
    example = await page.reading.call(functools.partial(draw_example, name))
    checkpoint = page.backend.check(example.checkpoint)
    page.sessions.check_memory(sum(p.pixels.nbytes for pictures in example.classes.values() for p in pictures))
    board = session.board
    for class_id in list(board.classes):
        board.remove_class(class_id)
    for class_name, pictures in example.classes.items():
        added = board.add_class(class_name)
        for each in pictures:
            board.add_picture(added.id, each)
    session.checkpoint, session.adapted = checkpoint, None
    return JSONResponse({**page.state(session), "tries": example.tries})


async def adapt(page: Page, session: Session, request: Request) -> Response:
    """Queues an adaptation."""
    quick = bool((await _fields(request, page.limits)).get("quick"))
    if session.ticket is not None and not session.ticket.over:
        raise Refusal("It is adapting already.", 409)
    work = page.backend.adaptation(session.board, session.checkpoint, quick=quick)

    def keep(adapted: Any) -> None:
        session.adapted = adapted

    session.ticket = page.adapting.submit(work, keep)
    return JSONResponse(page.progress(session), 202)


async def predict(page: Page, session: Session, request: Request) -> Response:
    """Answers for the image that the body holds."""
    adapted = session.adapted
    if adapted is None:
        raise Refusal("Press Adapt first: nothing has been learned yet.", 409)
    data = await read_body(request, page.limits)
    picture = await page.reading.call(functools.partial(read_picture, data, page.limits))
    answer = await page.predicting.call(functools.partial(adapted.predict, picture))
    return JSONResponse({"thumbnail": picture.thumbnail, **answer})


async def download(page: Page, session: Session, request: Request) -> Response:
    """The model as a file."""
    adapted = session.adapted
    if adapted is None:
        raise Refusal("Press Adapt first: there is no model to download yet.", 409)
    data = await page.predicting.call(adapted.as_file)
    return Response(
        data, media_type="application/octet-stream",
        headers={"content-disposition": 'attachment; filename="model.safetensors"'},
    )  # fmt: skip


Handler = Callable[[Page, Session, Request], Awaitable[Response]]


async def _fields(request: Request, limits: Limits) -> dict[str, Any]:
    """The JSON object that a request carries."""
    data = await read_body(request, limits)
    try:
        fields = json.loads(data) if len(data) <= _SMALL_BODY else None
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise Refusal("That request is not one of this page's.")
    return fields
