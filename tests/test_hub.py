"""Where a checkpoint is found: the package, a folder, the hub's cache, and a hub that runs on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from huggingface_hub import constants, errors

from mlexport.errors import CheckpointError
from mlexport.hub import DEMO, resolve

COMMIT, OLDER = "0123456789abcdef" * 2 + "01234567", "fedcba98" * 5
WANTED = {
    "config.json": b"{}",
    # Its head names the licence
    "README.md": b"# Model",
    "model.safetensors": b"weights",
    "U.pth": b"u",
    "V.pth": b"v",
    "tokenizer.json": b"{}",
    "1_Pooling/config.json": b"{}",
}
UNWANTED = {"pytorch_model.bin": b"pickles", "onnx/model.onnx": b"graph", "run.py": b"x"}


def refused(model: str) -> str:
    with pytest.raises(CheckpointError) as error:
        resolve(model)
    assert len(str(error.value).splitlines()) == 1
    return str(error.value)


def test_demo_is_the_package_s_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo").mkdir()
    demo = resolve(DEMO)
    assert (demo.name, demo.revision) == ("demo", None)
    assert (demo.folder / "model.safetensors").is_file()
    assert resolve("./demo").folder.resolve() == (tmp_path / "demo").resolve()


def test_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "owner" / "name").mkdir(parents=True)
    for model in ("owner/name", str(tmp_path / "owner" / "name"), "~/owner/name", "./owner/name/"):
        found = resolve(model)
        assert (found.name, found.revision) == ("name", None)
        assert found.folder.samefile(tmp_path / "owner" / "name")


@pytest.mark.parametrize(
    "model",
    ["", "word", "/nowhere", "./nowhere", "../nowhere/x", "~/nowhere/x", "a/b/c", "@main", "demo@main", "a\0b", "a\nb"],
)
def test_what_is_no_checkpoint_names_the_choices(model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    message = refused(model)
    assert message.startswith("no checkpoint '")
    assert message.endswith("': expected demo, an existing folder, or a hub id OWNER/NAME")


def test_paths_that_cannot_be_looked_at(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert refused(str(tmp_path / "file")).endswith(
        "is a file: a checkpoint is a folder with config.json and model.safetensors"
    )
    assert refused("x" * 5000) == f"no checkpoint '{'x' * 100}': File name too long"
    assert refused("~no-such-user/model") == "no checkpoint '~no-such-user/model': no such user"


@pytest.mark.parametrize("name", ["owner--x/name", "own er/name", "owner/name\n", "owner/..", "-owner/name", "o/n.git"])
def test_impossible_hub_ids(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert refused(name).endswith("is neither an existing folder nor a possible hub id OWNER/NAME")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's cache with two commits of owner/name, and no way to the hub."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    repository = tmp_path / "cache" / "models--owner--name"
    for commit in (COMMIT, OLDER):
        (repository / "snapshots" / commit).mkdir(parents=True)
        (repository / "snapshots" / commit / "config.json").write_text("{}")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    (repository / "refs" / "v1").write_text(OLDER)
    return repository


@pytest.mark.parametrize(
    ("model", "commit"),
    [
        ("owner/name", COMMIT),
        ("owner/name@", COMMIT),
        ("owner/name@main", COMMIT),
        ("owner/name@v1", OLDER),
        (f"owner/name@{OLDER}", OLDER),
    ],
)
def test_the_cache_serves_without_a_hub(cache: Path, model: str, commit: str) -> None:
    found = resolve(model)
    assert (found.name, found.revision, found.folder) == ("owner/name", commit, cache / "snapshots" / commit)


def test_a_folder_comes_before_the_cache(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "owner" / "name").mkdir(parents=True)
    assert resolve("owner/name").revision is None
    assert resolve("owner/name@main").revision == COMMIT


@pytest.mark.parametrize("model", ["owner/other", "owner/name@v2", f"owner/name@{COMMIT[::-1]}"])
def test_what_is_not_in_the_cache_needs_the_hub(cache: Path, model: str) -> None:
    assert refused(model) == (
        f"'{model}' is no existing folder, not in the hub's local cache, and the hub cannot be reached: "
        "connect (or unset HF_HUB_OFFLINE), or use --model demo"
    )


@pytest.mark.parametrize("revision", ["../../../elsewhere", "/etc/hostname", "a\nb", "a\0b"])
def test_a_revision_leads_nowhere_else(cache: Path, revision: str) -> None:
    (cache.parent.parent / "elsewhere").write_text(COMMIT)
    assert "has no possible revision after @: expected a branch, a tag or a commit" in refused(f"owner/name@{revision}")


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        PermissionError(13, "Permission denied"),
        RuntimeError("Data processing error: cas server\nunavailable"),
        errors.HTTPError("407 Proxy Authentication Required"),
        errors.XetDownloadError("chunk"),
        errors.FileMetadataError("no etag"),
    ],
)
def test_a_download_that_breaks_is_one_line(cache: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def broken(*_: object, **__: object) -> str:
        raise error

    monkeypatch.setattr("huggingface_hub.snapshot_download", broken)
    message = refused("owner/name")
    assert message.startswith(f"owner/name cannot be downloaded: {' '.join(str(error).split())}")
    assert message.endswith(". Try again, or pass a folder of it")


class Hub(BaseHTTPRequestHandler):
    """The hub's answers about owner/name, and its errors for other names."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0].removeprefix("/api/models/").removeprefix("/")
        files = WANTED | UNWANTED
        file = path.removeprefix(f"owner/name/resolve/{COMMIT}/")
        if path in ("owner/name", "owner/name/revision/main"):
            self.answer(200, json.dumps({"id": "owner/name", "sha": COMMIT}).encode())
        elif path == f"owner/name/tree/{COMMIT}":
            tree = [{"type": "file", "path": name, "size": len(data), "oid": "0"} for name, data in files.items()]
            self.answer(200, json.dumps(tree).encode())
        elif file in files:
            self.answer(200, files[file])
        elif path.startswith("owner/name"):
            self.answer(404, b"", "RevisionNotFound")
        elif path.startswith("owner/gated"):
            self.answer(403, b"", "GatedRepo")
        else:
            self.answer(404, b"", "RepoNotFound")

    def answer(self, status: int, content: bytes, error: str = "") -> None:
        self.send_response(status)
        headers = {"Content-Length": str(len(content)), "Content-Type": "application/json", "X-Repo-Commit": COMMIT}
        for name, value in (headers | {"ETag": f'"{len(content)}-{hash(self.path)}"', "X-Error-Code": error}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nothing to the terminal."""


@pytest.fixture
def endpoint() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


# In a process of its own: huggingface_hub reads its environment when it is imported
ASK = """
import json, sys
from mlexport.errors import CheckpointError
from mlexport.hub import resolve
for model in sys.argv[1:]:
    try:
        found = resolve(model)
        print(json.dumps([found.name, str(found.folder), found.revision]))
    except CheckpointError as error:
        print(json.dumps(str(error)))
"""


def ask(models: list[str], folder: Path, **environment: str) -> list[object]:
    """What `resolve` says in a fresh process."""
    inherited = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    settings = {"HF_HOME": str(folder / "home"), "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", ASK, *models],
        cwd=folder,
        env={**inherited, **settings, "PYTHONPATH": str(Path(__file__).parents[1]), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_repository_is_downloaded_once_at_one_commit_and_only_what_a_cut_reads(endpoint: str, tmp_path: Path) -> None:
    [(name, folder, revision)] = ask(["owner/name"], tmp_path, HF_ENDPOINT=endpoint)
    assert (name, revision, Path(folder).name) == ("owner/name", COMMIT, COMMIT)
    files = {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()
    }
    assert files == WANTED
    again = ask(["owner/name", f"owner/name@{COMMIT}"], tmp_path, HF_HUB_OFFLINE="1")
    assert again == [[name, folder, revision]] * 2


def test_the_hub_s_own_errors(endpoint: str, tmp_path: Path) -> None:
    assert ask(["owner/gone", "owner/name@v9", "owner/gated"], tmp_path, HF_ENDPOINT=endpoint) == [
        "'owner/gone' is no existing folder, and not on the hub (or private: `hf auth login`)",
        "owner/name has no revision 'v9' on the hub: choose a branch, a tag or a commit of it",
        "owner/gated is gated: accept its terms on its page, then run `hf auth login`",
    ]


def test_no_network(tmp_path: Path) -> None:
    # Port 9 takes no connection
    [message] = ask(["owner/name"], tmp_path, HF_ENDPOINT="http://127.0.0.1:9")
    assert "not in the hub's local cache, and the hub cannot be reached: connect" in str(message)
