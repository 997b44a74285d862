"""A private MariaDB or MySQL server for tests: in a temporary folder, on a free port of 127.0.0.1.

`CHATSYNC_TEST_MYSQLD` names the server's binary; without it, the first `mariadbd` or `mysqld` found is used.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import mysql.connector
import trustme

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

ADDRESS = "127.0.0.1"
SEARCHED = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin", "/usr/libexec"])
POLL_SECONDS = 0.02
START_SECONDS = 60
STOP_SECONDS = 30

# For speed: a commit must survive kill(), but not a power cut, so the log is written at each commit and synced later.
SETTINGS = (
    "--character-set-server=utf8mb4",
    "--innodb-buffer-pool-size=64M",
    "--innodb-buffer-pool-dump-at-shutdown=0",
    "--innodb-doublewrite=0",
    "--innodb-flush-log-at-trx-commit=2",
    "--innodb-stats-persistent=0",
    "--performance-schema=0",
    "--skip-log-bin",
    "--skip-name-resolve",
)


class Server:
    """One server with its data; `with Server() as server:` starts it and removes everything at the end."""

    def __init__(self, *options: str, certificate_for: Sequence[str] = (ADDRESS, "localhost")) -> None:
        self.options = options
        self.folder = Path(tempfile.mkdtemp(prefix="chatsync-"))  # short: a socket's path has at most 107 bytes
        self.data = self.folder / "data"
        self.socket = self.folder / "socket"
        self.log = self.folder / "log"
        self.ca = self.folder / "ca.pem"
        self.wrong_ca = self.folder / "wrong-ca.pem"
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self._one_at_a_time = threading.RLock()  # a test may kill it in a timer thread and start it again at once
        try:
            self.binary = find_binary()
            self.is_mariadb = "MariaDB" in subprocess.check_output([self.binary, "--version"], text=True)
            self._write_certificates(certificate_for)
            self._install()
        except BaseException:
            self.remove()
            raise

    def __enter__(self) -> Self:
        try:
            self.start()
            self._drop_default_users()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    # -- what a test does with it --

    def start(self) -> None:
        """Start (again) on the same port with the same data. Returns when the server answers.

        Call it from a thread that stays alive: for Linux, the end of that thread is the end of the parent.
        """
        command = [self.binary, "--no-defaults", *self._common(), *self._network(), *SETTINGS, *self.options]
        with self._one_at_a_time, self.log.open("ab") as log:
            self.process = subprocess.Popen(dies_with_parent(command), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            self._wait_until_ready(self.process)

    def stop(self) -> None:
        """Shut down cleanly."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End at once, like a crash (SIGKILL)."""
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """Stop answering but keep all connections open; the kernel accepts even new ones."""
        process = self._running()
        process.send_signal(signal.SIGSTOP)
        threads = Path(f"/proc/{process.pid}/task")
        while not all(file.read_text().rpartition(")")[2].split()[0] == "T" for file in threads.glob("*/stat")):
            time.sleep(0.001)

    def thaw(self) -> None:
        """Continue after `freeze()`."""
        self._running().send_signal(signal.SIGCONT)

    def remove(self) -> None:
        """Kill the server if it runs, and delete its folder."""
        if self.process:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def recover(self) -> None:
        """Start it or let it continue, if a test has stopped or frozen it."""
        if self.process is None:
            self.start()
        else:
            self.thaw()

    def disconnect(self, user: str) -> None:
        """Close all connections of a user, and with them their transactions and locks."""
        for (connection,) in self.sql("SELECT id FROM information_schema.processlist WHERE user = %s", args=[user]):
            with suppress(mysql.connector.Error):  # it has ended by itself
                self.sql(f"KILL {connection}")

    def sql(self, statement: str, *, database: str = "", args: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Run one statement as the administrator, committed; its rows, if any."""
        with closing(self.connect(database)) as connection, closing(connection.cursor()) as cursor:
            cursor.execute(statement, tuple(args))
            return list(cursor.fetchall()) if cursor.with_rows else []

    def connect(self, database: str = "") -> Any:
        """Return a new connection of the administrator, by the Unix socket, in autocommit."""
        return mysql.connector.connect(
            user="root",
            password="",
            unix_socket=str(self.socket),
            database=database,
            autocommit=True,
            use_pure=True,
            charset="utf8mb4",
            collation="utf8mb4_general_ci",  # MariaDB lacks the driver's default for MySQL 8
        )

    def url(self, database: str, user: str, password: str) -> str:
        """Return the address of a database, as a configuration file has it."""
        return f"mysql://{quote(user, safe='')}:{quote(password, safe='')}@{ADDRESS}:{self.port}/{database}"

    # -- how it is done --

    def _common(self) -> list[str]:
        # A server that starts deletes all temporary tables in its tmpdir: in /tmp also those of other servers.
        folders = [f"--datadir={self.data}", f"--tmpdir={self.folder}"]
        return [*folders, *(["--user=root"] if os.geteuid() == 0 else [])]

    def _network(self) -> list[str]:
        return [
            f"--bind-address={ADDRESS}",
            f"--port={self.port}",
            f"--socket={self.socket}",
            f"--pid-file={self.folder / 'pid'}",
            f"--ssl-ca={self.ca}",
            f"--ssl-cert={self.folder / 'certificate.pem'}",
            f"--ssl-key={self.folder / 'key.pem'}",
            *([] if self.is_mariadb else ["--mysqlx=0"]),
        ]

    def _write_certificates(self, names: Sequence[str]) -> None:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(self.ca)
        trustme.CA().cert_pem.write_to_path(self.wrong_ca)
        certificate = authority.issue_cert(*names)
        certificate.cert_chain_pems[0].write_to_path(self.folder / "certificate.pem")
        certificate.private_key_pem.write_to_path(self.folder / "key.pem")

    def _install(self) -> None:
        if self.is_mariadb:
            installer = shutil.which("mariadb-install-db", path=SEARCHED) or "mariadb-install-db"
            command = [installer, "--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"]
        else:
            command = [self.binary, "--no-defaults", "--initialize-insecure", *SETTINGS]
        done = subprocess.run([*command, *self._common()], capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{command[0]} failed:\n{done.stdout}{done.stderr}")

    def _drop_default_users(self) -> None:
        """Keep only root over the Unix socket; otherwise an anonymous user of localhost would match before ours."""
        for user, host in self.sql(
            "SELECT user, host FROM mysql.user WHERE user = '' OR (user = 'root' AND host <> 'localhost')"
        ):
            self.sql("DROP USER %s@%s", args=(user, host))

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                self.connect().close()
            except mysql.connector.Error as error:
                if process.poll() is not None or time.monotonic() > deadline:
                    self.kill()
                    raise RuntimeError(f"{self.binary} didn't start: {error}\n{self.log.read_text()}") from error
                time.sleep(POLL_SECONDS)
            else:
                return

    def _running(self) -> subprocess.Popen[bytes]:
        if self.process is None:
            raise RuntimeError("the server isn't running")
        return self.process

    def _end(self, how: signal.Signals) -> None:
        with self._one_at_a_time:
            process = self._running()
            process.send_signal(how)
            process.send_signal(signal.SIGCONT)  # a frozen server would never receive the first signal
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise
            finally:
                self.process = None


def find_binary() -> str:
    """Return the server's binary: the one asked for, else the first found."""
    named = os.environ.get("CHATSYNC_TEST_MYSQLD")
    found = named or shutil.which("mariadbd", path=SEARCHED) or shutil.which("mysqld", path=SEARCHED)
    if not found:
        raise FileNotFoundError("no mariadbd or mysqld: run tests/install-mariadb.sh, or set CHATSYNC_TEST_MYSQLD")
    return found


def free_port() -> int:
    """Return a port on which nothing listens now."""
    with socket.create_server((ADDRESS, 0)) as listener:
        return int(listener.getsockname()[1])


def dies_with_parent(command: list[str]) -> list[str]:
    """On Linux, let the kernel kill the command when this process ends, even by SIGKILL."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", *command] if setpriv else command
