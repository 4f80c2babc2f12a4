"""Options that several commands have."""

from __future__ import annotations

from typing import Annotated

import typer

Layers = Annotated[int | None, typer.Option("--layers", metavar="N", help="Decoder layers kept; all by default.")]
Rank = Annotated[
    int | None, typer.Option("--rank", metavar="R", help="Rank of the token table; the stored table by default.")
]
Dim = Annotated[int | None, typer.Option("--dim", metavar="D", help="Numbers of a vector kept; all by default.")]
AllowUntrained = Annotated[bool, typer.Option("--allow-untrained", help="Allow a cut that was not trained.")]
