"""``genmeta serve``."""

from __future__ import annotations

import contextlib
import webbrowser

from genmeta.cli.commands import Serve
from genmeta.cli.output import error_console
from genmeta.core.errors import RunError
from genmeta.serve import Limits


def run(command: Serve) -> None:
    """Serves the web page until it is interrupted."""
    limits = Limits(upload_mb=command.max_upload_mb)
    try:
        from genmeta.serve.server import exposure, serve
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in ("starlette", "uvicorn", "anyio"):
            raise
        raise RunError(
            f"The web page needs the package {error.name!r}, which is not installed: pip install 'genmeta[serve]'."
        ) from error
    from genmeta.engine.runtime import use_threads
    from genmeta.serve.checkpoints import estimators

    say = error_console()
    use_threads(command.threads)
    backend = estimators(command.models)
    if warning := exposure(command.host):
        say.print(f"warning: {warning}")

    def ready(address: str) -> None:
        say.print(f"The page is at [bold]{address}[/bold] (Ctrl+C ends it, and what it holds is gone).")
        if command.open:
            webbrowser.open(address)

    # a server that was told to stop returns where interrupts are ignored, as in a shell's background
    with contextlib.suppress(KeyboardInterrupt):
        serve(backend, limits, host=command.host, port=command.port, ready=ready)
    say.print("Stopped; nothing was kept.")
