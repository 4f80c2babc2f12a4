"""Write docs/cli.md from each command's --help: python docs/generate_cli.py"""

from __future__ import annotations

from pathlib import Path

from typer.main import get_command
from typer.testing import CliRunner

from mlexport.cli import app

PAGE = Path(__file__).with_name("cli.md")
_INTRODUCTION = """\
# The command line

Generated from `--help` by `make docs`; a test keeps it up to date.

Every command takes `--json`: one document on standard output, for scripts. Progress bars and errors go to standard
error; an error is one line, `error: …`.

| exit code | meaning |
|---|---|
| 0 | done |
| 2 | the command line or an input file makes no sense: unknown option, target, precision; a cut that does not exist |
| 3 | the checkpoint is missing, incomplete or damaged |
| 4 | the artifact cannot be written: existing target, full disk, read-only folder, another run |
| 5 | the artifact's vectors differ from the reference |
| 6 | an optional library is not installed; the message has the `pip` line |
| 7 | not an artifact, or its files do not match its manifest |
| 8 | out of memory |
| 9 | the full model's vectors could not be computed, or an mteb task failed |
| 10 | latency could not be measured: a provider is missing, a device cannot be reached, a run failed |
| 11 | a recipe was made, and a demand of it is not met |
| 130, 143 | interrupted (Ctrl-C), terminated; nothing half-written stays |
"""


def page() -> str:
    """The whole page; typer's runner fixes the width at 80 columns."""
    commands = get_command(app).commands  # type: ignore[attr-defined]
    parts = [_INTRODUCTION, _section([])]
    for name, command in commands.items():
        parts += [_section([name]), *(_section([name, inner]) for inner in getattr(command, "commands", {}))]
    return "\n".join(parts)


def _section(arguments: list[str]) -> str:
    result = CliRunner().invoke(app, [*arguments, "--help"], prog_name="mlexport")
    title = " ".join(["mlexport", *arguments])
    return f"## {title}\n\n```\n{result.stdout.rstrip()}\n```\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
