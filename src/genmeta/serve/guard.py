"""What stands before every request: who may ask, how much may be sent, and what a browser may do with the answer."""

from __future__ import annotations

import asyncio
import ipaddress

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from genmeta.serve.limits import Limits
from genmeta.serve.refusal import Refusal

#: The page loads nothing but its own files, is shown in no frame, sends no form anywhere; the browser enforces it.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


def is_loopback(host: str) -> bool:
    """Whether a name or address reaches only this very machine."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class Guard:
    """ASGI middleware.

    A page of another site, open in the same browser, could send requests to this address. So where the server is bound
    to the loopback address only requests that name it by such an address are answered (a foreign name that resolves to
    127.0.0.1 is not one), and a request that says where it comes from must come from this page.
    """

    def __init__(self, app: ASGIApp, loopback: bool) -> None:
        self.app, self.loopback = app, loopback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers or refuses one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        host, origin = headers.get("host", ""), headers.get("origin")
        # an IPv6 address has colons of its own
        name = host if host.endswith("]") else host.rsplit(":", 1)[0]

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message["headers"], *((k.encode(), v.encode()) for k, v in HEADERS.items()),
                ]  # fmt: skip
            await send(message)

        if self.loopback and not is_loopback(name):
            answer = JSONResponse({"error": "This page answers only on the machine it runs on."}, 403)
            await answer(scope, receive, send_guarded)
        elif origin is not None and origin.partition("://")[2].lower() != host.lower():
            answer = JSONResponse({"error": "This page takes no requests from other sites."}, 403)
            await answer(scope, receive, send_guarded)
        else:
            await self.app(scope, receive, send_guarded)


async def read_body(request: Request, limits: Limits) -> bytes:
    """The request's body, never more of it in memory than is allowed.

    Raises:
        Refusal: it is too large, too slow, or broke off.
    """
    too_large = Refusal(f"That file is larger than the {limits.upload_mb:g} MB that are allowed.", 413)
    said = request.headers.get("content-length", "0")
    if said.isdecimal() and len(said) < 20 and int(said) > limits.upload_bytes:
        raise too_large
    parts, size = [], 0
    try:
        async with asyncio.timeout(limits.body_seconds):
            async for part in request.stream():
                size += len(part)
                if size > limits.upload_bytes:
                    raise too_large
                parts.append(part)
    except TimeoutError as error:
        raise Refusal("That upload took too long.", 408) from error
    except ClientDisconnect as error:
        raise Refusal("That upload broke off.", 400) from error
    return b"".join(parts)
