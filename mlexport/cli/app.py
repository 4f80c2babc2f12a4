"""The application that commands register with, its options, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import Annotated

import typer

from mlexport.errors import DocumentError, MlexportError

# As a shell reports a process that the signal ended
_INTERRUPTED = 128 + signal.SIGINT
_TERMINATED = 128 + signal.SIGTERM
_OUT_OF_MEMORY = 8

app = typer.Typer(
    name="mlexport",
    help="Cut, quantise, export and verify 3D-Matryoshka text-embedding models.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document for scripts.")]


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context, version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False
) -> None:
    """Cut, quantise, export and verify 3D-Matryoshka text-embedding models.

    Begin with: mlexport slice --layers 8 --dim 128 --out out/demo
    """
    if version:
        from importlib.metadata import version as installed  # noqa: PLC0415

        typer.echo(f"mlexport {installed('mlexport')}")
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit: what a user can cause or mend is one line on standard error."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        code = app(args=arguments, prog_name="mlexport", standalone_mode=False) or 0
        sys.stdout.flush()
    except DocumentError as error:
        code = _fail(str(error), error.exit_code)
        for problem in error.problems if len(error.problems) > 1 else ():
            typer.echo(f"  {problem}", err=True)
    except MlexportError as error:
        code = _fail(str(error), error.exit_code)
    except typer.TyperException as error:
        code = _fail(error.format_message(), error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        code = _INTERRUPTED
    except MemoryError:
        code = _fail("out of memory: free some, or choose a smaller cut", _OUT_OF_MEMORY)
    except BrokenPipeError:
        # The reader, such as `head`, has what it wanted; Python would complain once more at its own exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    if code == _INTERRUPTED:
        _fail("interrupted: nothing half-written was kept", code)
    sys.exit(code)


def _terminate(number: int, frame: FrameType | None) -> None:
    """SIGTERM unwinds the stack as Ctrl-C does, so that nothing half-written stays."""
    _fail("terminated: nothing half-written was kept", _TERMINATED)
    sys.exit(_TERMINATED)


def _fail(message: str, code: int) -> int:
    typer.echo(f"error: {' '.join(message.split())}", err=True)
    return code


def print_json(content: object) -> None:
    """Print the one document of `--json`."""
    typer.echo(json.dumps(content, ensure_ascii=False, indent=1))
