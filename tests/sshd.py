"""An OpenSSH server of a test's own: on the loopback, with keys of its own, in a folder of its own."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running server: its address, and what a client needs to be let in."""

    url: str
    port: int
    folder: Path

    @property
    def options(self) -> tuple[str, ...]:
        """ssh's options: the user's key, and the server's own as the only known one."""
        known = f"UserKnownHostsFile={self.folder / 'known_hosts'}"
        key = f"IdentityFile={self.folder / 'user_key'}"
        return (key, "IdentitiesOnly=yes", known, "GlobalKnownHostsFile=/dev/null", "StrictHostKeyChecking=yes")


def free_port() -> int:
    """A port that nobody has at this moment."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def serve(folder: Path) -> Iterator[Server]:
    """Start it, and end it with all that it started."""
    sshd = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    assert sshd, "no sshd: `make system` installs it"
    if os.geteuid() == 0:
        # Where it separates privileges; the system's own start-up makes it otherwise
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    for name in ("host_key", "user_key"):
        make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(folder / name)]
        subprocess.run(make, check=True)
    port = free_port()
    host_key = (folder / "host_key.pub").read_text(encoding="utf-8")
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {host_key}", encoding="utf-8")
    config = folder / "sshd_config"
    config.write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder / 'host_key'}\nPidFile none\n"
        f"AuthorizedKeysFile {folder / 'user_key.pub'}\nStrictModes no\nUsePAM no\nPermitRootLogin yes\n"
        "PasswordAuthentication no\nKbdInteractiveAuthentication no\nPubkeyAuthentication yes\nLogLevel ERROR\n",
        encoding="utf-8",
    )
    with (folder / "sshd.log").open("wb") as log:
        server = subprocess.Popen([sshd, "-D", "-e", "-f", str(config)], stderr=log, start_new_session=True)
    try:
        _wait(port, server, folder / "sshd.log")
        yield Server(url=f"ssh://{getpass.getuser()}@127.0.0.1:{port}", port=port, folder=folder)
    finally:
        server.terminate()
        server.wait()


def _wait(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(200):
        assert server.poll() is None, log.read_text(encoding="utf-8")
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1) as one:
            if one.recv(4) == b"SSH-":
                return
        time.sleep(0.05)
    raise AssertionError(f"nothing answers on port {port}")
