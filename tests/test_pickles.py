"""torch.save files read without torch: torch's own numbers, or one line that says why not."""

from __future__ import annotations

import io
import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from mlexport.errors import CheckpointError
from mlexport.pickles import open_pickled_tensor
from mlexport.tensors import LazyTensor
from tests.test_unpickle import HUGE, tensor_pickle


def saved(value: object, **options: object) -> bytes:
    """What torch.save writes."""
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


def rewritten(data: bytes, change: Callable[[dict[str, bytes]], object], method: int = zipfile.ZIP_STORED) -> bytes:
    """A torch.save file whose entries were changed."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    change(entries)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def with_pickle(data: bytes) -> bytes:
    """A torch.save file of four float32 with another pickle."""
    return rewritten(saved(torch.zeros(2, 2)), lambda entries: entries.update({"archive/data.pkl": data}))


def refused(tmp_path: Path, data: bytes) -> str:
    """The one line, after the path, that a file is refused with."""
    path = tmp_path / "U.pth"
    path.write_bytes(data)
    with pytest.raises(CheckpointError) as error:
        open_pickled_tensor(path, "U")
    message = str(error.value)
    assert len(message.splitlines()) == 1
    return message.removeprefix(str(path)).lstrip(": ")


def numbers(rows: int, columns: int) -> Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(rows))


VALUES: dict[str, object] = {
    "bfloat16": numbers(50, 7).bfloat16(),
    "float16": numbers(50, 7).half(),
    "float32": numbers(50, 7),
    "parameter": nn.Parameter(numbers(5, 3)),
    "slice with an offset": numbers(20, 6)[4:9],
    "one row": numbers(20, 6)[3:4],
    "one column": numbers(20, 1),
    "one column of a transposed row": numbers(1, 20).t(),
    "dict": {"U": numbers(5, 3)},
    "state dict": nn.Embedding(5, 3).state_dict(),
}


@pytest.mark.parametrize("name", VALUES)
def test_numbers_are_those_of_torch(tmp_path: Path, name: str) -> None:
    path = tmp_path / "U.pth"
    torch.save(VALUES[name], path)
    expected = torch.load(path, weights_only=True)
    if isinstance(expected, dict):
        [expected] = expected.values()
    tensor = open_pickled_tensor(path, "U")
    assert (tensor.name, tensor.shape) == ("U", tuple(expected.shape))
    assert tensor.stored == {"torch.bfloat16": "bf16", "torch.float16": "f16"}.get(str(expected.dtype), "f32")
    assert torch.equal(torch.from_numpy(tensor.read()), expected.detach().float())
    last = len(expected) - 1
    assert torch.equal(torch.from_numpy(tensor.read_rows(last, last + 1)), expected[last:].detach().float())


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pickle_protocols(tmp_path: Path, protocol: int) -> None:
    path = tmp_path / "U.pth"
    torch.save(nn.Parameter(numbers(300, 3)), path, pickle_protocol=protocol)
    assert torch.equal(torch.from_numpy(open_pickled_tensor(path, "U").read()), numbers(300, 3))


def test_a_file_without_byte_order_is_read_as_torch_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "U.pth"
    path.write_bytes(rewritten(saved(numbers(4, 4)), lambda entries: entries.pop("archive/byteorder")))
    expected = torch.load(path, weights_only=True)
    assert torch.equal(torch.from_numpy(open_pickled_tensor(path, "U").read()), expected)


def test_rows_are_read_alone(tmp_path: Path) -> None:
    """Numbers of the other rows may be gone: nothing else is read."""
    path = tmp_path / "U.pth"
    torch.save(numbers(1000, 8), path)
    tensor = open_pickled_tensor(path, "U")
    data = path.read_bytes()
    begin = data.index(numbers(1000, 8).numpy().tobytes())
    path.write_bytes(data[: begin + 11 * 32])
    assert torch.equal(torch.from_numpy(tensor.read_rows(10, 11)), numbers(1000, 8)[10:11])
    with pytest.raises(CheckpointError, match="became shorter"):
        tensor.read_rows(11, 12)


class Runs:
    """What a malicious pickle does when it is loaded."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("protocol", [2, 5])
def test_what_a_pickle_names_is_not_run(tmp_path: Path, protocol: int) -> None:
    marker = tmp_path / "marker"
    data = pickle.dumps(Runs(marker), protocol=protocol)
    message = refused(tmp_path, with_pickle(data))
    assert message == (
        f"names {os.name}.system, which a tensor needs not: nothing of it was run. Do not trust this checkpoint"
    )
    assert not marker.exists()
    # The same bytes do run where Python's unpickler reads them
    pickle.loads(data)
    assert marker.exists()


SAVED = saved(numbers(30, 4))
FILES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "is truncated, or no file of torch.save since torch 1.6"),
    "text": (b"version https://git-lfs.github.com/spec/v1\n", "is truncated, or no file of torch.save since torch 1.6"),
    "truncated": (SAVED[:-30], "is truncated, or no file of torch.save since torch 1.6"),
    "before torch 1.6": (saved(numbers(3, 4), _use_new_zipfile_serialization=False), "was saved by torch before 1.6"),
    "float64": (saved(numbers(3, 4).double()), "holds a torch.DoubleStorage, expected numbers in bf16, f16, f32"),
    "int64": (saved(torch.zeros(3, 4).long()), "holds a torch.LongStorage, expected numbers in bf16, f16, f32"),
    "one axis": (saved(torch.zeros(3)), "holds a tensor of 1 axes, or an empty one: expected a matrix"),
    "three axes": (saved(torch.zeros(3, 2, 1)), "holds a tensor of 3 axes, or an empty one: expected a matrix"),
    "no rows": (saved(torch.zeros(0, 4)), "holds a tensor of 2 axes, or an empty one: expected a matrix"),
    "transposed": (saved(numbers(3, 4).t()), "is stored transposed or in pieces"),
    "some columns": (saved(numbers(3, 4)[:, :2]), "is stored transposed or in pieces"),
    "two tensors": (saved({"U": numbers(3, 4), "V": numbers(3, 4)}), "does not hold one tensor"),
    "a number": (saved(1), "does not hold one tensor"),
    "a list": (saved([numbers(3, 4)]), "has a pickle with EMPTY_LIST, which a tensor needs not"),
    "a module": (saved(nn.Linear(2, 2)), "names torch.nn.modules.linear.Linear, which a tensor needs not"),
    "sparse": (saved(numbers(3, 4).to_sparse()), "names torch._utils._rebuild_sparse_tensor, which"),
    "another zip": (rewritten(SAVED, dict.clear), "is no file of torch.save: 0 data.pkl in it, expected 1"),
    "two pickles": (
        rewritten(SAVED, lambda entries: entries.update({"b/data.pkl": b""})),
        "is no file of torch.save: 2 data.pkl in it, expected 1",
    ),
    "compressed": (rewritten(SAVED, lambda entries: None, zipfile.ZIP_DEFLATED), "is compressed, which torch.save"),
    "big-endian": (
        rewritten(SAVED, lambda entries: entries.update({"archive/byteorder": b"big"})),
        "was saved on a big-endian machine",
    ),
    "no numbers": (
        rewritten(SAVED, lambda entries: entries.pop("archive/data/0")),
        "is damaged: it has no entry data/0",
    ),
    "too few numbers": (
        rewritten(SAVED, lambda entries: entries.update({"archive/data/0": bytes(4 * 30 * 4 - 1)})),
        "is damaged: 479 bytes are too few for its shape",
    ),
    "huge offset": (with_pickle(tensor_pickle(offset=HUGE)), "is damaged: 16 bytes are too few for its shape"),
    "huge shape": (
        with_pickle(tensor_pickle(shape=HUGE + b"K\2\x86")),
        "is damaged: 16 bytes are too few for its shape",
    ),
    "key outside the archive": (
        with_pickle(tensor_pickle(key=b"../byteorder")),
        "is damaged: it has no entry data/../byteorder",
    ),
    "a large pickle": (with_pickle(b"\x80\2" + b"N0" * 2**19 + b"."), "its pickle has 1,048,579 bytes"),
}


@pytest.mark.parametrize("name", FILES)
def test_other_files_are_refused_in_one_line(tmp_path: Path, name: str) -> None:
    data, message = FILES[name]
    assert message in refused(tmp_path, data)


def test_missing_and_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"U.pth is missing: not a complete checkpoint. Download it again$"):
        open_pickled_tensor(tmp_path / "U.pth", "U")
    with pytest.raises(CheckpointError, match=r"cannot be read: Is a directory$"):
        open_pickled_tensor(tmp_path, "U")


def test_a_damaged_directory_is_one_line(tmp_path: Path) -> None:
    """The offset of each entry in the zip's directory leads past the end."""
    data = bytearray(SAVED)
    place = data.find(b"PK\1\2")
    while place >= 0:
        data[place + 42 : place + 46] = b"\xf0\xff\xff\x7f"
        place = data.find(b"PK\1\2", place + 1)
    assert "is damaged: entry byteorder does not lie where it should" in refused(tmp_path, bytes(data))


@given(
    edits=st.lists(st.tuples(st.integers(0, len(SAVED) - 1), st.integers(0, 255)), min_size=1, max_size=8),
    end=st.one_of(st.none(), st.integers(0, len(SAVED))),
)
def test_changed_bytes_give_a_tensor_or_one_line(
    tmp_path_factory: pytest.TempPathFactory, edits: list[tuple[int, int]], end: int | None
) -> None:
    data = bytearray(SAVED)
    for place, value in edits:
        data[place] = value
    check_reading(tmp_path_factory.getbasetemp() / "edited.pth", bytes(data[:end]))


PICKLE_AT = SAVED.index(b"\x80\2ctorch")
PICKLE_END = SAVED.index(b"tq", PICKLE_AT) + 40


@given(
    edits=st.lists(
        st.tuples(
            st.integers(PICKLE_AT, PICKLE_END), st.sampled_from(sorted(set(b"(.0123abcehjqrstubNKMJIFUTXCB}])QR")))
        ),
        min_size=1,
        max_size=4,
    )
)
def test_changed_opcodes_give_a_tensor_or_one_line(
    tmp_path_factory: pytest.TempPathFactory, edits: list[tuple[int, int]]
) -> None:
    data = bytearray(SAVED)
    for place, value in edits:
        data[place] = value
    check_reading(tmp_path_factory.getbasetemp() / "opcodes.pth", bytes(data))


def check_reading(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    try:
        tensor = open_pickled_tensor(path, "U")
        assert isinstance(tensor, LazyTensor)
        assert tensor.read().shape == tensor.shape
    except CheckpointError as error:
        assert len(str(error).splitlines()) == 1


def test_torch_is_not_imported() -> None:
    code = "import sys, mlexport.pickles; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
