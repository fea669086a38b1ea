"""The application: what each address answers."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib import resources

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from genmeta.core.errors import GenmetaError
from genmeta.serve import handlers
from genmeta.serve.adapting import Backend
from genmeta.serve.guard import Guard
from genmeta.serve.handlers import Handler, Page
from genmeta.serve.limits import Limits

_SCRIPTS = ("app", "classes", "dom", "learning", "pad", "plot", "server", "trying")
#: Files of the page: address -> (file, media type). The list is closed; no other file is ever served.
PAGE = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/style.css": ("style.css", "text/css; charset=utf-8"),
    **{f"/{name}.js": (f"{name}.js", "text/javascript; charset=utf-8") for name in _SCRIPTS},
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
TOKEN = "x-session"


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
            Route("/api/session", own(handlers.state), methods=["GET"]),
            Route("/api/session", own(handlers.end), methods=["DELETE"]),
            Route("/api/checkpoint", own(handlers.choose), methods=["PUT"]),
            Route("/api/example", own(handlers.example), methods=["POST"]),
            Route("/api/classes", own(handlers.add_class), methods=["POST"]),
            Route("/api/classes/{id:int}", own(handlers.rename), methods=["PATCH"]),
            Route("/api/classes/{id:int}", own(handlers.remove_class), methods=["DELETE"]),
            Route("/api/classes/{id:int}/images", own(handlers.add_image), methods=["POST"]),
            Route("/api/images/{id:int}", own(handlers.remove_image), methods=["DELETE"]),
            Route("/api/adapt", own(handlers.adapt), methods=["POST"]),
            Route("/api/progress", own(handlers.progress), methods=["GET"]),
            Route("/api/predict", own(handlers.predict), methods=["POST"]),
            Route("/api/model", own(handlers.download), methods=["GET"]),
        ],
        middleware=[Middleware(Guard, loopback=loopback)],
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
