"""HAProxy in front of servers: which server gets a new connection, and when an idle connection is ended."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tests.harness.servers import ADDRESS, SEARCHED, dies_with_parent, free_port
from tests.harness.wire import wait_until

if TYPE_CHECKING:
    from tests.harness.servers import Server

CONFIG = """
global
    stats socket {folder}/admin level admin
defaults
    mode tcp
    timeout connect 5s
    timeout client {idle}
    timeout server {idle}
listen dict
    bind {address}:{port}
    balance {balance}
"""


class HaProxy:
    """Leads to the first server until `switch()`, or with `balance="roundrobin"` to each in turn."""

    def __init__(self, *servers: Server, balance: str = "first", idle: str = "1h") -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="chatsync-"))
        self.port = free_port()
        self._config = self.folder / "config"
        lines = [f"    server s{number} {ADDRESS}:{server.port}" for number, server in enumerate(servers)]
        settings = {"folder": self.folder, "idle": idle, "address": ADDRESS, "port": self.port, "balance": balance}
        self._config.write_text(CONFIG.format(**settings) + "\n".join(lines) + "\n")
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        binary = shutil.which("haproxy", path=SEARCHED)
        if binary is None:
            raise FileNotFoundError("no haproxy: run tests/install-mariadb.sh")
        command = dies_with_parent([binary, "-db", "-f", str(self._config)])
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(self._listens)
        return self

    def __exit__(self, *_: object) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, server: Server, url: str) -> str:
        """Return the address of a database of this server through the proxy."""
        return url.replace(f"{ADDRESS}:{server.port}", f"{ADDRESS}:{self.port}")

    def switch(self) -> None:
        """Send new connections to the second server; those to the first stay open."""
        self._say("set server dict/s0 state maint")

    def _say(self, command: str) -> None:
        with socket.socket(socket.AF_UNIX) as admin:
            admin.connect(str(self.folder / "admin"))
            admin.sendall(command.encode() + b"\n")
            answer = admin.recv(65536)
        if answer.strip():
            raise RuntimeError(f"haproxy: {answer.decode()}")

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((ADDRESS, self.port)) == 0
