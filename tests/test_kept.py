"""Kept tokens as data: their rows, their file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlexport.errors import ArtifactError
from mlexport.kept import KEPT_FILE, KeptTokens, read_kept, write_kept
from mlexport.tensors import Float32, LazyTensor


def table(rows: int, reads: list[tuple[int, int]]) -> LazyTensor:
    values = np.arange(rows * 3, dtype=np.float32).reshape(rows, 3)

    def read_rows(start: int, stop: int) -> Float32:
        assert 0 <= start < stop <= rows
        reads.append((start, stop))
        return values[start:stop]

    return LazyTensor(name="t", shape=(rows, 3), stored="bf16", read_rows=read_rows)


@settings(deadline=None, database=None, derandomize=True)
@given(st.sets(st.integers(0, 1999), min_size=1, max_size=400), st.integers(1, 500))
def test_gathered_rows_are_numpys(ids: set[int], block: int) -> None:
    kept = KeptTokens.of(ids, 2000)
    tensor = kept.gathered(table(2000, []))
    assert (tensor.name, tensor.shape, tensor.stored) == ("t", (len(ids), 3), "bf16")
    expected = table(2000, []).read()[sorted(ids)]
    assert np.array_equal(tensor.read(), expected)
    assert np.array_equal(np.concatenate(list(tensor.blocks(12 * block))), expected)


def test_runs_are_read_in_few_pieces_and_never_far_more_than_is_kept() -> None:
    reads: list[tuple[int, int]] = []
    KeptTokens.of([*range(0, 400, 2), 5000, 5001], 6000).gathered(table(6000, reads)).read()
    assert reads == [(0, 399), (5000, 5002)]
    reads.clear()
    KeptTokens.of(range(0, 60000, 10), 60000).gathered(table(60000, reads)).read()
    assert max(stop - start for start, stop in reads) <= 256 * 16


def test_no_rows() -> None:
    assert KeptTokens.of([3, 7], 9).gathered(table(9, [])).read_rows(1, 1).shape == (0, 3)


def test_ids_and_runs() -> None:
    kept = KeptTokens.of([9, 0, 1, 2, 7, 9], 12)
    assert kept.runs == ((0, 3), (7, 8), (9, 10))
    assert (kept.count, kept.ids.tolist()) == (5, [0, 1, 2, 7, 9])
    assert kept.new_ids() == {0: 0, 1: 1, 2: 2, 7: 3, 9: 4}


def test_the_file_gives_the_same_back(tmp_path: Path) -> None:
    kept = KeptTokens.of([0, 1, 5], 6)
    write_kept(kept, tmp_path)
    assert json.loads((tmp_path / KEPT_FILE).read_text()) == {"rows": 6, "kept": 3, "runs": [[0, 2], [5, 6]]}
    assert read_kept(tmp_path) == kept


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        "{",
        '{"rows": 6, "kept": 0, "runs": []}',
        '{"rows": 6, "kept": 2, "runs": [[0, 3]]}',
        '{"rows": 6, "kept": 3, "runs": [[4, 7]]}',
        '{"rows": 6, "kept": 3, "runs": [[0, 1], [1, 3]]}',
        '{"rows": 6, "kept": 3, "runs": [[2, 3], [0, 2]]}',
        '{"rows": 6, "kept": 1, "runs": [["0", 1]]}',
        '{"rows": 6, "kept": 1, "runs": [[0]]}',
        '{"kept": 1, "runs": [[0, 1]]}',
        '{"rows": 6, "kept": 1, "runs": [[-1, 0]]}',
    ],
)
def test_a_damaged_file_is_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / KEPT_FILE).write_text(content)
    with pytest.raises(ArtifactError, match=r"vocabulary\.json .*Make the artifact again$"):
        read_kept(tmp_path)


def test_every_row_kept_is_no_file(tmp_path: Path) -> None:
    write_kept(None, tmp_path)
    assert not list(tmp_path.iterdir())
    assert read_kept(tmp_path) is None
