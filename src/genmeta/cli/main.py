"""``genmeta``: reads the command line, runs the command, turns every known error into one message and exit code 2."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Sequence

import tyro

from genmeta.cli.commands import COMMANDS
from genmeta.core.errors import GenmetaError

_DESCRIPTION = "Train a generator of network weights over many small visual tasks; adapt to a new one in a few steps."


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the ``genmeta`` command."""
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning  # type: ignore[assignment]
            _run(arguments)
    except GenmetaError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted: train goes on with --resume; compare and demo go on by themselves", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(1)


def _run(arguments: Sequence[str] | None) -> None:
    command = tyro.extras.subcommand_cli_from_dict(
        COMMANDS, prog="genmeta", description=_DESCRIPTION, args=arguments, config=(tyro.conf.FlagCreatePairsOff,)
    )
    # the work is imported only now, since it brings torch along
    importlib.import_module(f"genmeta.cli.{type(command).__name__.lower()}").run(command)


def _show_warning(message: Warning | str, category: type[Warning], *place: object) -> None:
    """A line on stderr; where in the code it arose is of no use to the user of a command."""
    print(f"warning: {message}", file=sys.stderr)


if __name__ == "__main__":
    main()
