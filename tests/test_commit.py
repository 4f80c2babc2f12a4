"""A folder appears whole or not at all, whatever ends the run."""

from __future__ import annotations

import errno
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mlexport import commit
from mlexport.artifact import read_artifact
from mlexport.commit import building, check_target, require_space
from mlexport.errors import ExportError, UsageError
from tests.manifests import make_artifact

# Says when it has written a file, then waits to be stopped
HOLD = """
import sys, time
from pathlib import Path
from mlexport.commit import building
with building(Path(sys.argv[1]), needed_bytes=1, force=True) as build:
    (build.folder / "half").write_bytes(b"x")
    print("writing", flush=True)
    time.sleep(60)
"""


def hold(target: Path) -> subprocess.Popen[str]:
    child = subprocess.Popen([sys.executable, "-c", HOLD, str(target)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "writing\n"
    return child


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_only_the_artifact_is_left(tmp_path: Path) -> None:
    make_artifact(tmp_path / "a")
    assert names(tmp_path) == ["a"]
    assert names(tmp_path / "a") == ["1_Pooling", "mlexport.json", "model.gguf"]


@pytest.mark.parametrize("error", [RuntimeError("x"), KeyboardInterrupt(), SystemExit(1), MemoryError()])
def test_any_failure_leaves_nothing_not_even_new_parents(tmp_path: Path, error: BaseException) -> None:
    with pytest.raises(type(error)), building(tmp_path / "b" / "c" / "a", needed_bytes=1) as build:
        (build.folder / "half").write_bytes(b"x")
        raise error
    assert names(tmp_path) == []


def test_a_block_that_never_commits_leaves_nothing(tmp_path: Path) -> None:
    with building(tmp_path / "a", needed_bytes=1):
        pass
    assert names(tmp_path) == []


def test_an_empty_folder_is_a_target(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    make_artifact(tmp_path / "a")
    assert read_artifact(tmp_path / "a").folder == tmp_path / "a"
    assert names(tmp_path) == ["a"]


def test_an_existing_artifact_is_replaced_only_by_force(tmp_path: Path) -> None:
    make_artifact(tmp_path / "a", b"old")
    with pytest.raises(ExportError, match="exists: choose another --out, or pass --force"):
        make_artifact(tmp_path / "a", b"new")
    assert (tmp_path / "a" / "model.gguf").read_bytes() == b"old"
    make_artifact(tmp_path / "a", b"new", force=True)
    assert (tmp_path / "a" / "model.gguf").read_bytes() == b"new"
    assert names(tmp_path) == ["a"]


def test_force_never_replaces_what_is_not_an_artifact(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter.txt").touch()
    (tmp_path / "file").touch()
    with pytest.raises(ExportError, match="exists and is not an artifact"):
        make_artifact(tmp_path / "home", force=True)
    with pytest.raises(ExportError, match="is a file"):
        make_artifact(tmp_path / "file", force=True)
    assert names(tmp_path / "home") == ["letter.txt"]


def test_a_failed_replacement_keeps_the_old_one(tmp_path: Path) -> None:
    make_artifact(tmp_path / "a", b"old")
    with pytest.raises(RuntimeError), building(tmp_path / "a", needed_bytes=1, force=True):
        raise RuntimeError
    assert (tmp_path / "a" / "model.gguf").read_bytes() == b"old"
    assert names(tmp_path) == ["a"]


def test_a_rename_that_fails_puts_the_old_one_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_artifact(tmp_path / "a", b"old")
    rename = Path.replace

    def fail(self: Path, target: Path) -> Path:
        if self.suffix == ".partial":
            raise OSError(errno.EIO, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(ExportError, match="Input/output error"):
        make_artifact(tmp_path / "a", b"new", force=True)
    monkeypatch.undo()
    assert (tmp_path / "a" / "model.gguf").read_bytes() == b"old"
    assert names(tmp_path) == ["a"]


def test_the_second_run_into_a_target_is_refused_while_the_first_runs(tmp_path: Path) -> None:
    first = hold(tmp_path / "a")
    try:
        with pytest.raises(ExportError, match="another run is writing"):
            make_artifact(tmp_path / "a")
        # A target whose name begins the same is another one
        make_artifact(tmp_path / "a.b")
        assert first.poll() is None
    finally:
        first.kill()
        first.wait()
    make_artifact(tmp_path / "a")


def test_a_killed_run_is_cleared_by_the_next(tmp_path: Path) -> None:
    child = hold(tmp_path / "a")
    child.send_signal(signal.SIGKILL)
    child.wait()
    left = names(tmp_path)
    assert len(left) == 2
    assert any(name.endswith(".partial") for name in left)
    assert not (tmp_path / "a").exists()
    make_artifact(tmp_path / "a")
    assert names(tmp_path) == ["a"]


def test_a_run_killed_between_the_two_renames_gives_the_old_artifact_back(tmp_path: Path) -> None:
    make_artifact(tmp_path / "a", b"old")
    (tmp_path / "a").rename(tmp_path / ".a.old")
    with pytest.raises(ExportError, match="exists"):
        make_artifact(tmp_path / "a", b"new")
    assert (tmp_path / "a" / "model.gguf").read_bytes() == b"old"
    assert names(tmp_path) == ["a"]


def test_a_partial_folder_of_another_target_is_left_alone(tmp_path: Path) -> None:
    other = tmp_path / ".a.b.01234567.partial"
    other.mkdir()
    make_artifact(tmp_path / "a")
    assert names(tmp_path) == [other.name, "a"]


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EFBIG, "File too large"),
        RuntimeError("I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_says_what_is_needed_and_free(tmp_path: Path, error: Exception) -> None:
    with (
        pytest.raises(ExportError, match=r"the artifact needs 12,345 bytes, [\d,]+ are free\. Make room"),
        building(tmp_path / "a", needed_bytes=12_345),
    ):
        raise error
    assert names(tmp_path) == []


def test_too_little_room_is_said_before_anything_is_written(tmp_path: Path) -> None:
    needed = 10**18
    with pytest.raises(ExportError, match=f"needs {needed:,} bytes"):
        require_space(tmp_path / "not" / "there", needed)
    assert names(tmp_path) == []
    require_space(tmp_path / "not" / "there", 1)


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for target in (tmp_path / "file" / "a", Path("/proc/mlexport/a")):
        with pytest.raises(ExportError, match=f"cannot write {target}: ") as caught:
            make_artifact(target)
        assert "\n" not in str(caught.value)


def test_the_root_is_no_target() -> None:
    with pytest.raises(UsageError, match="give --out a folder's name"):
        make_artifact(Path("/"))


def test_a_lock_whose_file_was_removed_is_taken_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first holder ends between our open and our lock: what we hold then is nobody's file."""
    lock = tmp_path / ".a.lock"
    take = commit._take
    calls: list[int] = []

    def slow(descriptor: int) -> None:
        if not calls:
            lock.unlink()
        calls.append(descriptor)
        take(descriptor)

    monkeypatch.setattr(commit, "_take", slow)
    make_artifact(tmp_path / "a")
    assert len(calls) == 2
    assert names(tmp_path) == ["a"]


def test_the_check_alone_changes_nothing(tmp_path: Path) -> None:
    check_target(tmp_path / "a", force=False)
    assert names(tmp_path) == []
