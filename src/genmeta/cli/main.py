"""``genmeta``: reads the command line, runs the command, turns every known error into one message and exit code 2."""

from __future__ import annotations

import atexit
import gc
import importlib
import io
import sys
import warnings
from collections.abc import Sequence

import tyro

from genmeta.cli.commands import COMMANDS
from genmeta.core.errors import GenmetaError

_DESCRIPTION = "Train a generator of network weights over many small visual tasks; adapt to a new one in a few steps."


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the ``genmeta`` command."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # file names need not be text; in JSON, this is an escape
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning  # type: ignore[assignment]
            _run(arguments)
    except GenmetaError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            sys.exit(1)  # whoever read our output has had enough
        # of a file that no part of the library expected to be a trouble
        where = str(error.filename or "")[:200]
        print(f"error: {error.strerror or error}: {where!r}. Check the path.", file=sys.stderr)
        sys.exit(2)
    except (MemoryError, RuntimeError) as error:
        if not (isinstance(error, MemoryError) or _out_of_memory(error)):
            raise
        todo = "Lower the sizes, widths or numbers that were asked for."
        print(f"error: There is not enough memory for this. {todo}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted: train goes on with --resume; compare and demo go on by themselves", file=sys.stderr)
        sys.exit(130)


def _out_of_memory(error: BaseException) -> bool:
    """Whether torch says so; on a CPU it does in words alone."""
    return type(error).__name__ == "OutOfMemoryError" or "not enough memory" in str(error) or "t allocate" in str(error)


def _run(arguments: Sequence[str] | None) -> None:
    command = tyro.extras.subcommand_cli_from_dict(
        COMMANDS, prog="genmeta", description=_DESCRIPTION, args=arguments, config=(tyro.conf.FlagCreatePairsOff,)
    )
    # the work is imported only now, since it brings torch along, whose many objects are no garbage to look for: neither
    # while they come, nor when the process ends (together a third of a second)
    atexit.register(gc.freeze)
    gc.disable()
    try:
        module = importlib.import_module(f"genmeta.cli.{type(command).__name__.lower()}")
    finally:
        gc.enable()
    module.run(command)


def _show_warning(message: Warning | str, category: type[Warning], *place: object) -> None:
    """A line on stderr; where in the code it arose is of no use to the user of a command."""
    print(f"warning: {message}", file=sys.stderr)


if __name__ == "__main__":
    main()
