"""`optimum-cli export mlexport …`: the command `mlexport slice` where users of optimum look for exporters.

An install puts this file at `optimum/commands/register/register_mlexport.py` too: optimum-cli imports what lies in
that namespace folder.
"""

from __future__ import annotations

from argparse import ArgumentParser

from optimum.commands.base import BaseOptimumCLICommand, CommandInfo
from optimum.commands.export.base import ExportCommand

# Options of `mlexport slice` that take a value; those of optimum's own exporters are -m and the output folder
_VALUES = {
    "layers": "decoder layers kept",
    "rank": "rank of the token table",
    "dim": "numbers of a vector kept",
    "target": "gguf, hf, onnx or openvino; several with commas",
    "vocab": "part of the vocabulary kept: 32000, scripts:Latn,Cyrl or corpus:FILE",
    "vocab-coverage": "share of a corpus's tokens that stays",
    "precision": "f32, f16, int8, int4, or the format's own; several with commas",
    "table-precision": "precision of the token table alone",
    "static": "BATCHxTOKENS, fixed shapes for NPUs",
    "verify": "full, sample or off",
}
_FLAGS = {"allow-untrained": "allow a cut that was not trained", "force": "replace an artifact in the output folder"}


class MlexportCommand(BaseOptimumCLICommand):  # type: ignore[misc]
    """Parses as optimum's exporters do, and runs `mlexport slice`."""

    COMMAND = CommandInfo(name="mlexport", help="Cut, quantise, export and verify a text-embedding model.")

    @staticmethod
    def parse_args(parser: ArgumentParser) -> None:
        """Add the options to optimum's parser."""
        parser.description = (
            "Example: optimum-cli export mlexport -m codefuse-ai/ML-Embed-0.6B --layers 8 --dim 128 --target onnx out"
        )
        parser.add_argument("-m", "--model", required=True, help='"demo", a folder, or a hub id with @REVISION')
        parser.add_argument("output", help="folder to write")
        for name, text in _VALUES.items():
            parser.add_argument(f"--{name}", help=text)
        for name, text in _FLAGS.items():
            parser.add_argument(f"--{name}", action="store_true", help=text)

    def run(self) -> None:
        """Run it; exits as `mlexport` does."""
        from mlexport.cli import main  # noqa: PLC0415

        given = {name: getattr(self.args, name.replace("-", "_")) for name in (*_VALUES, *_FLAGS)}
        values = [part for name in _VALUES if given[name] is not None for part in (f"--{name}", given[name])]
        flags = [f"--{name}" for name in _FLAGS if given[name]]
        main(["slice", "--model", self.args.model, "--out", self.args.output, *values, *flags])


REGISTER_COMMANDS = [(MlexportCommand, ExportCommand)]
