"""Binds an address and serves the page there until it is told to stop."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable

import uvicorn

from genmeta.core.errors import RunError, UsageError
from genmeta.serve.adapting import Backend
from genmeta.serve.app import create_app
from genmeta.serve.guard import is_loopback
from genmeta.serve.limits import Limits


def exposure(host: str) -> str:
    """What to warn of where an address reaches beyond this machine; else empty."""
    if is_loopback(host):
        return ""
    return (
        f"the page is bound to {host}: whoever can reach this machine can use it. It has no password and no "
        "encryption; on an open network put a proxy with both before it, or bind to 127.0.0.1 and use an SSH tunnel."
    )


def bind(host: str, port: int) -> socket.socket:
    """Binds an address.

    Args:
        host: name or address.
        port: 0 takes one that is free.

    Raises:
        UsageError: there is no such address.
        RunError: the port is taken, or may not be used.
    """
    if not 0 <= port <= 65535:
        raise UsageError(f"A port is a number from 0 to 65535, got {port}.")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
    except OSError as error:
        raise UsageError(f"Cannot bind to host {host!r}: {error.strerror}. Use 127.0.0.1 for this machine.") from error
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(256)
    except OSError as error:
        listening.close()
        taken = error.errno == errno.EADDRINUSE
        hint = "Something listens there already: stop it, or choose another --port (0 for any)."
        todo = hint if taken else "Choose another --host or --port (0 for any)."
        raise RunError(f"Cannot bind to {host}:{port}: {error.strerror}. {todo}") from error
    return listening


def address_of(listening: socket.socket) -> str:
    """The URL to open."""
    host, port = listening.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def build(backend: Backend, limits: Limits, *, host: str) -> uvicorn.Server:
    """A server for the page, not yet running: ``build(...).run(sockets=[bind(host, port)])``."""
    return uvicorn.Server(
        uvicorn.Config(
            create_app(backend, limits, loopback=is_loopback(host)),
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            lifespan="on",
            ws="none",
            limit_concurrency=4 * limits.sessions,
            timeout_keep_alive=15,
            timeout_graceful_shutdown=3,
        )
    )


def serve(backend: Backend, limits: Limits, *, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Serves the page until the process is interrupted.

    Args:
        backend: adapts and predicts.
        limits: see `Limits`.
        host: address to bind to.
        port: 0 takes one that is free.
        ready: called with the URL once the address is bound.

    Raises:
        UsageError: there is no such address.
        RunError: the address cannot be bound.
    """
    listening = bind(host, port)
    with listening:
        ready(address_of(listening))
        build(backend, limits, host=host).run(sockets=[listening])
