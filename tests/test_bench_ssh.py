"""Measuring on a board: over an OpenSSH server on the loopback, which the test starts."""

from __future__ import annotations

import getpass
import json
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlexport.bench import BenchRequest, Contestant
from mlexport.bench.remote import parse_place
from mlexport.bench.ship import REQUIREMENTS, pack
from mlexport.bench.ssh import SshPlace, measure_over_ssh, parse_ssh
from mlexport.cli import main
from mlexport.errors import MeasureError, UsageError
from mlexport.latency import BenchResult, read_latency
from tests import sshd
from tests.written import sliced

ROOT = Path(__file__).parent.parent


class Told:
    """Progress that is remembered."""

    def __init__(self) -> None:
        self.steps: list[tuple[str, int | None]] = []
        self.done: list[int] = []

    def step(self, name: str, total: int | None) -> None:
        self.steps.append((name, total))
        self.done.append(0)

    def advance(self, count: int) -> None:
        self.done[-1] += count


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sshd.Server]:
    with sshd.serve(tmp_path_factory.mktemp("sshd")) as server:
        yield server


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two precisions in one folder, of which one is measured."""
    out = tmp_path_factory.mktemp("onnx") / "out"
    sliced(Path("demo"), out, verify="off", layers=1, dim=64, targets=("onnx",), precisions=["f32", "int8"])
    return out


def place(server: sshd.Server, **changes: Any) -> SshPlace:
    return replace(parse_ssh(server.url, options=server.options, python=sys.executable), **changes)


def request(artifact: Path, where: SshPlace, variant: str | None = "int8") -> BenchRequest:
    contestant = Contestant(artifact=str(artifact), variant=variant)
    return BenchRequest(where=str(where), contestants=(contestant,), tokens=(16,), min_calls=6, min_seconds=0, rounds=2)


def command(server: sshd.Server, artifact: Path, *more: object) -> list[str]:
    options = [word for option in server.options for word in ("--ssh-option", option)]
    short = ["--tokens", "16", "--min-calls", "6", "--min-seconds", "0", "--rounds", "2"]
    return ["bench", str(artifact), "--on", server.url, *options, *short, *map(str, more)]


@pytest.mark.slow
def test_an_artifact_is_measured_there_and_nothing_stays(
    server: sshd.Server, artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # A shell would read each of these as something else
    board = tmp_path / 'a board\'s $HOME; `echo x` "&"'
    board.mkdir()
    out = tmp_path / "result.json"
    python = ("--remote-python", sys.executable, "--remote-folder", board)
    with pytest.raises(SystemExit) as ended:
        main(command(server, artifact, *python, "--variant", "int8", "--out", out))
    printed = capsys.readouterr()
    assert (ended.value.code or 0) == 0, printed.err
    assert f"measured on {server.url}" in printed.out
    result = read_latency(out)
    assert isinstance(result, BenchResult)
    assert (result.where, result.profile, result.kind) == (server.url, "local", "measured")
    [run], [subject] = result.runs, result.subjects
    assert len(run.samples_ns) >= 6
    assert min(run.samples_ns) > 0
    assert (run.tokens, run.engine.runtime) == (16, "onnxruntime")
    # As it is called here, not as the copy was
    assert (subject.artifact, subject.variant) == (str(artifact), "int8")
    assert list(board.iterdir()) == []


@pytest.mark.slow
def test_progress_comes_back(server: sshd.Server, artifact: Path) -> None:
    told = Told()
    measure_over_ssh(request(artifact, place(server)), place(server), progress=told)
    names = [name for name, _ in told.steps]
    assert names[:2] == ["connect to 127.0.0.1", "copy"]
    assert names[2:]
    total = told.steps[1][1]
    # A tar archive has headers and padding beside the files
    assert total is not None
    assert total <= told.done[1] <= total * 1.5
    assert all(done == expected for (_, expected), done in zip(told.steps[2:], told.done[2:], strict=True))


def test_only_what_is_needed_travels(artifact: Path) -> None:
    shipment = pack(request(artifact, parse_ssh("ssh://host")))
    names = {entry.name for entry in shipment.entries}
    models = {name for name in names if name.endswith((".onnx", ".onnx_data"))}
    assert models == {"artifacts/0/onnx/model_quantized.onnx"}
    assert {"request.json", "artifacts/0/mlexport.json", "artifacts/0/tokenizer.json"} <= names
    site = {name.removeprefix("site/mlexport/") for name in names if name.startswith("site/mlexport/")}
    assert {"bench/light.py", "runtime/ort.py", "data/evaluation/queries.jsonl"} <= site
    assert {Path(name).suffix for name in site} == {".py", ".jsonl"}
    assert shipment.modules == ("numpy", "onnxruntime", "tokenizers")


def test_what_pip_is_told_is_what_the_package_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = {*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)}
    assert set(REQUIREMENTS.values()) - asked == set()
    code = "import sys, mlexport.bench.light, mlexport.bench.worker; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    others = {name.split(".")[0] for name in done.stdout.split()} - set(sys.stdlib_module_names) - {"mlexport"}
    assert {name for name in others if not name.startswith("_")} == {"numpy"}


def test_a_python_without_the_runtime(server: sshd.Server, artifact: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(bare)], check=True)
    python = bare / "bin" / "python"
    where = place(server, python=str(python))
    with pytest.raises(MeasureError) as raised:
        measure_over_ssh(request(artifact, where), where)
    assert str(raised.value) == (
        f"{server.url}: {python} has no numpy, onnxruntime, tokenizers. There: '{python}' -m pip install "
        '"numpy>=2.0" "onnxruntime>=1.23" "tokenizers>=0.22"'
    )


def test_a_python_that_is_too_old(server: sshd.Server, artifact: Path, tmp_path: Path) -> None:
    old = tmp_path / "python3.9"
    # A real one runs the same file; only what it says of itself is older
    old.write_text(
        f"#!/bin/sh\nshift\nexec {sys.executable} -c 'import sys; sys.version_info = (3, 9, 2); "
        'code = sys.argv.pop(1); sys.executable = "/usr/bin/python3.9"; exec(code)\' "$@"\n',
        encoding="utf-8",
    )
    old.chmod(0o755)
    where = place(server, python=str(old))
    with pytest.raises(MeasureError) as raised:
        measure_over_ssh(request(artifact, where), where)
    assert str(raised.value) == (
        f"{server.url}: /usr/bin/python3.9 is Python 3.9.2, the runner needs 3.11 or newer: name another with "
        "--remote-python PATH"
    )


def test_no_python_and_no_folder(server: sshd.Server, artifact: Path, tmp_path: Path) -> None:
    where = place(server, python="/no/such/python3")
    with pytest.raises(MeasureError) as raised:
        measure_over_ssh(request(artifact, where), where)
    assert str(raised.value) == (
        f"{server.url}: there is no /no/such/python3 that runs: name Python 3.11 or newer with --remote-python PATH"
    )
    where = place(server, folder=str(tmp_path / "none"))
    with pytest.raises(MeasureError) as raised:
        measure_over_ssh(request(artifact, where), where)
    assert str(raised.value) == f"{server.url}: there is no folder {tmp_path / 'none'}: choose another --remote-folder"


def test_a_host_that_refuses(artifact: Path) -> None:
    port = sshd.free_port()
    where = parse_ssh(f"ssh://nobody@127.0.0.1:{port}")
    with pytest.raises(MeasureError) as raised:
        measure_over_ssh(request(artifact, where), where)
    assert str(raised.value) == (
        f"ssh://nobody@127.0.0.1:{port} cannot be reached: "
        f"ssh: connect to host 127.0.0.1 port {port}: Connection refused"
    )


def test_a_host_whose_key_is_not_known(server: sshd.Server, artifact: Path, tmp_path: Path) -> None:
    unknown = tmp_path / "known_hosts"
    unknown.touch()
    options = [one for one in server.options if not one.startswith("UserKnownHostsFile")]
    where = place(server, options=(*options, f"UserKnownHostsFile={unknown}"))
    with pytest.raises(MeasureError) as raised:
        measure_over_ssh(request(artifact, where), where)
    user = getpass.getuser()
    assert str(raised.value) == (
        f"{server.url} cannot be reached: Host key verification failed. Connect once by hand, and compare the key: "
        f"ssh -p {server.port} {user}@127.0.0.1"
    )
    assert unknown.read_text(encoding="utf-8") == ""


def test_a_user_without_a_key(server: sshd.Server, artifact: Path, tmp_path: Path) -> None:
    options = [one for one in server.options if not one.startswith("IdentityFile")]
    where = place(server, options=(*options, f"IdentityFile={tmp_path / 'none'}", "BatchMode=yes"))
    with pytest.raises(MeasureError, match=r"cannot be reached: .*Permission denied \(publickey\)\."):
        measure_over_ssh(request(artifact, where), where)


def test_an_error_of_the_runner_comes_back_as_one_line(server: sshd.Server, artifact: Path) -> None:
    where = place(server)
    with pytest.raises(MeasureError) as raised:
        measure_over_ssh(replace(request(artifact, where), tokens=(100_000,)), where)
    assert str(raised.value) == (f"{server.url}: --tokens 100000 is more than {artifact} takes: its limit is 512")


@pytest.mark.slow
def test_interrupted_it_leaves_nothing_there(server: sshd.Server, artifact: Path, tmp_path: Path) -> None:
    board = tmp_path / "board"
    board.mkdir()
    python = ("--remote-python", sys.executable, "--remote-folder", board)
    # Would take minutes
    words = [*command(server, artifact, *python), "--min-seconds", "600"]
    started = subprocess.Popen(
        [sys.executable, "-m", "mlexport", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        _until(lambda: any(board.glob("*/artifacts/0/mlexport.json")), 60)
        time.sleep(1)
        started.send_signal(signal.SIGINT)
        _, err = started.communicate(timeout=60)
    finally:
        started.kill()
    assert (started.returncode, err.splitlines()[-1]) == (130, "error: interrupted: nothing half-written was kept")
    _until(lambda: not any(board.iterdir()), 30)


@pytest.mark.slow
def test_killed_it_leaves_nothing_there_either(server: sshd.Server, artifact: Path, tmp_path: Path) -> None:
    board = tmp_path / "board"
    board.mkdir()
    words = [*command(server, artifact, "--remote-python", sys.executable, "--remote-folder", board)]
    started = subprocess.Popen([sys.executable, "-m", "mlexport", *words, "--min-seconds", "600"])
    try:
        _until(lambda: any(board.glob("*/artifacts/0/mlexport.json")), 60)
    finally:
        started.kill()
        started.wait()
    _until(lambda: not any(board.iterdir()), 60)


def _until(true: Any, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.1)


@pytest.mark.slow
def test_a_login_that_prints_is_not_taken_for_an_answer(server: sshd.Server, artifact: Path, tmp_path: Path) -> None:
    noisy = tmp_path / "python"
    noisy.write_text(f'#!/bin/sh\necho Welcome to the board\necho \'{{"python": [2]}}\'\nexec {sys.executable} "$@"\n')
    noisy.chmod(0o755)
    where = place(server, python=str(noisy))
    assert measure_over_ssh(request(artifact, where), where).runs


@pytest.mark.parametrize(
    "url",
    [
        "ssh://-oProxyCommand=touch%20x",
        "ssh://-l@host",
        "ssh://user@-host",
        "ssh://a b",
        "ssh://host;reboot",
        "ssh://user@host$(x)",
        "ssh://user:secret@host",
        "ssh://host:22/path",
        "ssh://host\n",
        "ssh://",
        "ssh://host:",
    ],
)
def test_addresses_that_ssh_or_a_shell_would_read_otherwise(url: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse_ssh(url)
    assert str(raised.value) == f"--on {url!r} is not of the form ssh://user@host:port, user and port as you like"


def test_addresses_and_commands() -> None:
    assert str(parse_ssh("ssh://pi@raspberrypi.local")) == "ssh://pi@raspberrypi.local"
    assert parse_ssh("ssh://[fe80::1%eth0]:2222").command("true")[-5:] == ["-p", "2222", "--", "fe80::1%eth0", "true"]
    made = parse_ssh("ssh://pi@board:22", options=("IdentityFile=~/.ssh/a key",)).command("x")
    assert made[made.index("IdentityFile=~/.ssh/a key") - 1] == "-o"
    assert made[-4:] == ["pi", "--", "board", "x"]
    assert not any("StrictHostKeyChecking" in word for word in made)
    with pytest.raises(UsageError, match=r"port 70000 is not between 1 and 65535"):
        parse_ssh("ssh://host:70000")
    with pytest.raises(UsageError, match=r"--ssh-option '-v' is not of the form KEY=VALUE"):
        parse_ssh("ssh://host", options=("-v",))
    with pytest.raises(UsageError, match=r"--remote-python '-c' is not a command or a path"):
        parse_ssh("ssh://host", python="-c")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"on": "http://host"}, "--on 'http://host' is neither ssh://USER@HOST:PORT nor adb:SERIAL"),
        ({"on": None, "remote_python": "python3"}, "--remote-python goes with --on ssh://USER@HOST:PORT"),
        ({"on": "adb:1", "ssh_options": ("A=b",)}, "--ssh-option goes with --on ssh://USER@HOST:PORT"),
        ({"on": None, "runner": "x"}, "--runner goes with --on adb:SERIAL"),
        (
            {"on": "ssh://host", "runner": "x"},
            "--runner goes with --on adb:SERIAL: over ssh the runner is mlexport's own",
        ),
    ],
)
def test_options_that_go_with_another_place(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse_place(**options)
    assert str(raised.value) == said


def test_without_ssh_on_this_machine(artifact: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    where = parse_ssh("ssh://host")
    with pytest.raises(MeasureError, match=r"no ssh on this machine \(No such file or directory\): install OpenSSH"):
        measure_over_ssh(request(artifact, where), where)


@pytest.mark.slow
def test_json_is_the_result(server: sshd.Server, artifact: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(command(server, artifact, "--remote-python", sys.executable, "--json"))
    assert json.loads(capsys.readouterr().out)["where"] == server.url
