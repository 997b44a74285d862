"""A wire between client and MySQL server on which a test acts at an exact statement. Client and server are real.

It relays the protocol of MySQL and MariaDB and knows just enough of it to read the statements that pass
(MySQL Internals, "Text Protocol": a packet is a length of three bytes, a sequence number, and its body;
0x03 is COM_QUERY). What a test planned for a statement happens before the statement reaches the server,
or after the server has answered and before the client receives the answer.
"""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import unquote, urlsplit, urlunsplit

import mysql.connector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.harness.schema import World
    from tests.harness.servers import Server

COM_QUERY = 3
NO_ATTRIBUTES = b"\x00\x01"  # what MySQL 8 and its driver put before a statement ("Query Attributes")
FOREVER = -1
# The commit of one of our transactions; the driver's own, while it sets up a connection, is in capitals.
COMMIT = "^commit$"


@dataclass
class Planned:
    """What to do at the statements that match: skip the first `skip`, then do it `left` times."""

    statement: re.Pattern[str]
    skip: int
    left: int
    before: Callable[[], object] | None = None
    after: Callable[[], object] | None = None
    error: tuple[int, str] | None = None
    cut: bool = False


class Wire:
    """Listens on its own port; `url` is the server's address with that port."""

    def __init__(self, url: str, *, is_mariadb: bool) -> None:
        parts = urlsplit(url)
        self._login = {"user": unquote(parts.username or ""), "password": unquote(parts.password or "")}
        self._is_mariadb = is_mariadb
        self._server = (parts.hostname, parts.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        # Without TLS, as the wire must be able to read the statements.
        self._port = self._listener.getsockname()[1]
        place = parts.netloc.rpartition(":")[0] + f":{self._port}"
        self.url = urlunsplit(parts._replace(netloc=place, query="ssl_disabled=true"))
        self.statements: list[str] = []
        self._plans: list[Planned] = []
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.go_away()

    def go_away(self) -> None:
        """Close every connection, and accept no new one: the server is down."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.hang_up()

    def come_back(self) -> None:
        """Listen on the same port again."""
        self._listener = socket.create_server(("127.0.0.1", self._port))
        threading.Thread(target=self._accept, daemon=True).start()

    def before(self, statement: str, callback: Callable[[], object], *, skip: int = 0, times: int = 1) -> None:
        """Call before a statement reaches the server; it passes when the callback has returned."""
        self._plans.append(Planned(re.compile(statement), skip, times, before=callback))

    def after(self, statement: str, callback: Callable[[], object], *, skip: int = 0, times: int = 1) -> None:
        """Call when the server has answered a statement and the client has not received the answer yet."""
        self._plans.append(Planned(re.compile(statement), skip, times, after=callback))

    def lose_answer(self, statement: str, *, skip: int = 0, times: int = 1) -> None:
        """Let the server run a statement, then close the connection instead of passing the answer on."""
        self._plans.append(Planned(re.compile(statement), skip, times, cut=True))

    def refuse(self, statement: str, number: int, message: str, *, skip: int = 0, times: int = 1) -> None:
        """Answer a statement with an error instead of passing it to the server."""
        self._plans.append(Planned(re.compile(statement), skip, times, error=(number, message)))

    def forget(self) -> None:
        """Drop all plans."""
        self._plans.clear()

    def hang_up(self) -> None:
        """Close every open connection."""
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._relay, args=(client,), daemon=True).start()

    def _log_in_with_tls(self) -> None:
        """Log in once with TLS: MySQL accepts a password without TLS only when it has it in its cache."""
        host, port = self._server
        with contextlib.suppress(mysql.connector.Error):  # the server may be down
            mysql.connector.connect(host=host, port=port, connection_timeout=5, **self._login).close()

    def _relay(self, client: socket.socket) -> None:
        if not self._is_mariadb:
            self._log_in_with_tls()
        try:
            server = socket.create_connection(self._server)
        except OSError:
            client.close()  # the wire has accepted already, so it can no longer refuse
            return
        self._open |= {client, server}
        answers = _Answers(server, client)
        threading.Thread(target=answers.run, daemon=True).start()
        with client, server:
            with contextlib.suppress(OSError, struct.error):
                while (packet := read_packet(client)) and self._send(packet, client, server, answers):
                    pass
            for end in (client, server):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)  # close() alone is not seen by a thread that still reads
        self._open -= {client, server}

    def _send(self, packet: bytes, client: socket.socket, server: socket.socket, answers: _Answers) -> bool:
        plan = self._plan_for(packet)
        if plan is None:
            server.sendall(packet)
            return True
        if plan.before:
            plan.before()
        if plan.error:
            client.sendall(error_packet(*plan.error))
            return True
        if not (plan.after or plan.cut):
            server.sendall(packet)
            return True
        held = answers.hold()
        server.sendall(packet)
        held.wait()
        if plan.after:
            plan.after()
        answers.release(drop=plan.cut)
        return not plan.cut

    def _plan_for(self, packet: bytes) -> Planned | None:
        if packet[3] != 0 or packet[4] != COM_QUERY:
            return None
        statement = packet[5:].removeprefix(NO_ATTRIBUTES).decode("utf-8", "replace")
        with self._lock:
            self.statements.append(statement)
            for plan in self._plans:
                if plan.left and plan.statement.search(statement):
                    if plan.skip:
                        plan.skip -= 1
                        continue
                    plan.left -= 1
                    return plan
        return None


class _Answers:
    """Relays the server's answers, except one that is held back."""

    def __init__(self, server: socket.socket, client: socket.socket) -> None:
        self._server = server
        self._client = client
        self._arrived: threading.Event | None = None
        self._released = threading.Event()
        self._drop = False

    def hold(self) -> threading.Event:
        """Hold the next answer back; the event is set when it has arrived."""
        self._released.clear()
        self._arrived = threading.Event()
        return self._arrived

    def release(self, *, drop: bool) -> None:
        self._drop = drop
        self._released.set()

    def run(self) -> None:
        with contextlib.suppress(OSError):
            while data := self._server.recv(65536):
                if self._arrived is not None:
                    self._arrived.set()
                    self._released.wait()
                    self._arrived = None
                    if self._drop:
                        break
                self._client.sendall(data)
        if self._arrived is not None:
            self._arrived.set()  # the server went away instead of answering
        with contextlib.suppress(OSError):
            self._client.shutdown(socket.SHUT_RDWR)


def read_packet(connection: socket.socket) -> bytes:
    """Read one packet with its header; empty if the other end has closed the connection."""
    header = _read(connection, 4)
    return header + _read(connection, int.from_bytes(header[:3], "little")) if header else b""


def _read(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = connection.recv(size - len(data))
        if not piece:
            return b""
        data += piece
    return data


def error_packet(number: int, message: str) -> bytes:
    """Make an ERR packet: 0xff, the number, "#" with the SQL state, the text."""
    body = b"\xff" + struct.pack("<H", number) + b"#HY000" + message.encode()
    return len(body).to_bytes(3, "little") + b"\x01" + body


class Wired:
    """The databases of a world, each behind its own wire: `wires["ppc1"]`."""

    def __init__(self, world: World) -> None:
        self._world = world
        urls = {"ppcdict": world.dict_url} | {f"ppc{shard}": url for shard, url in world.shard_urls.items()}
        self.wires = {
            database: Wire(url, is_mariadb=world.server(database).is_mariadb) for database, url in urls.items()
        }

    def __enter__(self) -> Self:
        for wire in self.wires.values():
            wire.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        for wire in self.wires.values():
            wire.__exit__(*exception)

    @property
    def dict_url(self) -> str:
        return self.wires["ppcdict"].url

    @property
    def shard_urls(self) -> dict[str, str]:
        return {shard: self.wires[f"ppc{shard}"].url for shard in self._world.shard_urls}

    def sql(self, database: str, statement: str, *args: object) -> list[tuple[Any, ...]]:
        """Run one statement as the administrator, without the wire."""
        return self._world.sql(database, statement, *args)


@contextlib.contextmanager
def locked_row(server: Server, database: str, client: int) -> Iterator[Callable[[], None]]:
    """Hold a lock on the rows of a client, as another program would; yields the function that releases it."""
    with contextlib.closing(server.connect(database)) as holder, contextlib.closing(holder.cursor()) as cursor:
        cursor.execute("SET autocommit = 0")
        cursor.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")  # this row and no gaps
        cursor.execute("SELECT 1 FROM clients_features WHERE ClientID = %s FOR UPDATE", [client])
        cursor.fetchall()
        yield holder.rollback


def wait_for_statement(server: Server, pattern: str) -> None:
    """Return as soon as the server runs a statement, such as one that waits for a lock."""
    running = "SELECT id FROM information_schema.processlist WHERE info LIKE %s AND id <> CONNECTION_ID()"
    wait_until(lambda: server.sql(running, args=[pattern]))


def wait_until(condition: Callable[[], object], *, seconds: float = 30) -> None:
    """Return as soon as a condition holds; raise TimeoutError if it does not in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("the condition did not come true")
        time.sleep(0.01)
