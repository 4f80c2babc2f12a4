"""Measuring on a board: `python -m mlexport.bench.light REQUEST.json RESULT.json`.

It needs the base install and the runtimes that the request's artifacts run in; no torch, no command line library.
REQUEST.json is a BenchRequest whose folders lie on this machine; RESULT.json becomes a BenchResult, whole or not at
all. Each line on standard output is a JSON object that tells how far it is: {"step": NAME, "total": N or null} when a
step begins, {"advance": N} when so many of its turns are done. The last one is {"done": true}. An error is one line on
standard error, and the exit code is the error's, as of the `mlexport` command.
"""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from types import FrameType

from mlexport.bench.measuring import measure
from mlexport.bench.request import read_request
from mlexport.errors import MlexportError, UsageError
from mlexport.latency import write_latency

_TERMINATED = 128 + signal.SIGTERM


class Told:
    """Progress as lines of JSON."""

    def step(self, name: str, total: int | None) -> None:
        """A step begins."""
        _tell({"step": name, "total": total})

    def advance(self, count: int) -> None:
        """So many turns more are done."""
        _tell({"advance": count})


def main(arguments: list[str]) -> int:
    """Measure; the exit code."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        if len(arguments) != 2:
            raise UsageError("expected two files: python -m mlexport.bench.light REQUEST.json RESULT.json")
        request, result = map(Path, arguments)
        write_latency(measure(read_request(request), progress=Told()), result)
    except MlexportError as error:
        sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
        return error.exit_code
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    _tell({"done": True})
    return 0


def _tell(content: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(content) + "\n")
    sys.stdout.flush()


def _terminate(number: int, frame: FrameType | None) -> None:
    """SIGTERM unwinds the stack, which ends the children."""
    sys.exit(_TERMINATED)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
