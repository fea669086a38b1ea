"""The application: what each address answers. Requests carry bytes and numbers, never a path or a file name."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib import resources
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from genmeta.core.errors import GenmetaError
from genmeta.serve.adapting import Backend
from genmeta.serve.examples import EXAMPLES, draw_example
from genmeta.serve.guard import LOOPBACK, Guard, read_body
from genmeta.serve.images import read_picture
from genmeta.serve.limits import Limits
from genmeta.serve.refusal import Refusal
from genmeta.serve.sessions import Session, Sessions
from genmeta.serve.work import Lane

_SCRIPTS = ("app", "classes", "dom", "learning", "pad", "plot", "server", "trying")
#: Files of the page: address -> (file, media type). The list is closed; no other file is ever served.
PAGE = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/style.css": ("style.css", "text/css; charset=utf-8"),
    **{f"/{name}.js": (f"{name}.js", "text/javascript; charset=utf-8") for name in _SCRIPTS},
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
TOKEN = "x-session"
_SMALL_BODY = 100_000
Handler = Callable[["Page", Session, Request], Awaitable[Response]]


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


async def _state(page: Page, session: Session, request: Request) -> Response:
    return JSONResponse(page.state(session))


async def _progress(page: Page, session: Session, request: Request) -> Response:
    return JSONResponse(page.progress(session))


async def _end(page: Page, session: Session, request: Request) -> Response:
    page.sessions.close(session.token)
    return JSONResponse({})


async def _choose(page: Page, session: Session, request: Request) -> Response:
    session.checkpoint = page.backend.check((await _fields(request, page.limits)).get("checkpoint"))
    return JSONResponse(page.state(session))


async def _add_class(page: Page, session: Session, request: Request) -> Response:
    name = (await _fields(request, page.limits)).get("name", "")
    added = session.board.add_class(name if isinstance(name, str) else "")
    return JSONResponse({"id": added.id, "name": added.name})


async def _rename(page: Page, session: Session, request: Request) -> Response:
    name = (await _fields(request, page.limits)).get("name", "")
    changed = session.board.rename(request.path_params["id"], name if isinstance(name, str) else "")
    return JSONResponse({"id": changed.id, "name": changed.name})


async def _remove_class(page: Page, session: Session, request: Request) -> Response:
    session.board.remove_class(request.path_params["id"])
    return JSONResponse({})


async def _add_image(page: Page, session: Session, request: Request) -> Response:
    into = request.path_params["id"]
    session.board.check_room(into)
    data = await read_body(request, page.limits)
    picture = await page.reading.call(functools.partial(read_picture, data, page.limits))
    page.sessions.check_memory(picture.pixels.nbytes)
    number = session.board.add_picture(into, picture)
    return JSONResponse({"id": number, "thumbnail": picture.thumbnail})


async def _remove_image(page: Page, session: Session, request: Request) -> Response:
    session.board.remove_picture(request.path_params["id"])
    return JSONResponse({})


async def _example(page: Page, session: Session, request: Request) -> Response:
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


async def _adapt(page: Page, session: Session, request: Request) -> Response:
    quick = bool((await _fields(request, page.limits)).get("quick"))
    if session.ticket is not None and not session.ticket.over:
        raise Refusal("It is adapting already.", 409)
    work = page.backend.adaptation(session.board, session.checkpoint, quick=quick)

    def keep(adapted: Any) -> None:
        session.adapted = adapted

    session.ticket = page.adapting.submit(work, keep)
    return JSONResponse(page.progress(session), 202)


async def _predict(page: Page, session: Session, request: Request) -> Response:
    adapted = session.adapted
    if adapted is None:
        raise Refusal("Press Adapt first: nothing has been learned yet.", 409)
    data = await read_body(request, page.limits)
    picture = await page.reading.call(functools.partial(read_picture, data, page.limits))
    answer = await page.predicting.call(functools.partial(adapted.predict, picture))
    return JSONResponse({"thumbnail": picture.thumbnail, **answer})


async def _download(page: Page, session: Session, request: Request) -> Response:
    adapted = session.adapted
    if adapted is None:
        raise Refusal("Press Adapt first: there is no model to download yet.", 409)
    data = await page.predicting.call(adapted.as_file)
    return Response(
        data, media_type="application/octet-stream",
        headers={"content-disposition": 'attachment; filename="model.safetensors"'},
    )  # fmt: skip


def create_app(backend: Backend, limits: Limits | None = None, *, loopback: bool = True) -> Starlette:
    """The page as an ASGI application.

    Args:
        backend: adapts and predicts.
        limits: see `Limits`.
        loopback: answer only requests addressed to this very machine.
    """
    page = Page(backend, limits or Limits(), loopback)

    async def open_session(request: Request) -> Response:
        session = page.sessions.open(backend.checkpoints[0].name)
        for _ in range(2):
            session.board.add_class("")
        return JSONResponse({"token": session.token, **page.state(session)})

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        sweeping = asyncio.create_task(_sweep(page))
        try:
            yield
        finally:
            sweeping.cancel()
            page.close()

    own = functools.partial(_own, page)
    app = Starlette(
        routes=[
            *(Route(address, _file(*file)) for address, file in PAGE.items()),
            Route("/api/session", open_session, methods=["POST"]),
            Route("/api/session", own(_state), methods=["GET"]),
            Route("/api/session", own(_end), methods=["DELETE"]),
            Route("/api/checkpoint", own(_choose), methods=["PUT"]),
            Route("/api/example", own(_example), methods=["POST"]),
            Route("/api/classes", own(_add_class), methods=["POST"]),
            Route("/api/classes/{id:int}", own(_rename), methods=["PATCH"]),
            Route("/api/classes/{id:int}", own(_remove_class), methods=["DELETE"]),
            Route("/api/classes/{id:int}/images", own(_add_image), methods=["POST"]),
            Route("/api/images/{id:int}", own(_remove_image), methods=["DELETE"]),
            Route("/api/adapt", own(_adapt), methods=["POST"]),
            Route("/api/progress", own(_progress), methods=["GET"]),
            Route("/api/predict", own(_predict), methods=["POST"]),
            Route("/api/model", own(_download), methods=["GET"]),
        ],
        middleware=[Middleware(Guard, hosts=LOOPBACK if loopback else None)],
        exception_handlers={GenmetaError: _refused, 404: _nowhere, 405: _nowhere, 500: _broken},
        lifespan=lifespan,
    )
    app.state.page = page
    return app


def _own(page: Page, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        return await handler(page, page.sessions.find(request.headers.get(TOKEN)), request)

    return answer


def _file(name: str, media_type: str) -> Callable[[Request], Awaitable[Response]]:
    content = (resources.files("genmeta.serve") / "page" / name).read_bytes()

    async def answer(request: Request) -> Response:
        return Response(content, media_type=media_type)

    return answer


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


async def _sweep(page: Page) -> None:
    while True:
        await asyncio.sleep(20)
        page.sessions.forget_idle()


async def _refused(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, getattr(error, "status", 400))


async def _nowhere(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": "There is nothing at this address."}, getattr(error, "status_code", 404))


async def _broken(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": "Something went wrong here that should not have. Try again."}, 500)
