"""A sweep's points as one Parquet file, which pandas, DuckDB and others read without an extension."""

from __future__ import annotations

from dataclasses import asdict, fields
from importlib.util import find_spec
from pathlib import Path
from types import NoneType, UnionType
from typing import get_args, get_type_hints

from mlexport.swept import Point, Sweep

PARQUET = "points.parquet"


def write_parquet(sweep: Sweep, path: Path) -> bool:
    """Write a row for each point, the sweep's facts as the file's metadata; whether pyarrow is there to do it."""
    if find_spec("pyarrow") is None:
        path.unlink(missing_ok=True)
        return False
    import pyarrow as pa  # noqa: PLC0415
    from pyarrow import parquet  # noqa: PLC0415

    kinds = {int: pa.int64(), float: pa.float64(), str: pa.string()}
    hints = get_type_hints(Point)
    # Named types: a column without any value would have none
    schema = pa.schema([(field.name, kinds[_plain(hints[field.name])]) for field in fields(Point)])
    schema = schema.with_metadata({f"mlexport.{key}": value for key, value in sweep.facts.items()})
    table = pa.Table.from_pylist([asdict(point) for point in sweep.points], schema=schema)
    partial = path.with_name(f".{path.name}.partial")
    parquet.write_table(table, partial)
    partial.replace(path)
    return True


def _plain(hint: object) -> type:
    options = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    [known] = [one for one in options if one is not NoneType]
    return known  # type: ignore[no-any-return]
