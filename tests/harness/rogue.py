"""A server that speaks just enough of MySQL's protocol to ask a client for a password or a file.

MySQL Internals, "Connection Phase" and "COM_QUERY Response": a packet is a length of three bytes, a sequence number,
and its body.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from typing import TYPE_CHECKING, Self

from tests.harness.wire import read_packet

if TYPE_CHECKING:
    import trustme

# Long password, connect with a schema, protocol 4.1, authentication by plugin.
CAPABILITIES = 0x1 | 0x8 | 0x200 | 0x8000 | 0x80000
TLS = 0x800
OK = b"\x00\x00\x00\x02\x00\x00\x00"
AUTH_SWITCH = b"\xfe"
SEND_FILE = b"\xfb"


class RogueServer:
    """Asks for the login by `plugin`, or takes any login and then asks for `file`.

    It offers TLS if it has a certificate; `received` are packets as it understands them, after TLS. One that `freezes`
    offers TLS, too, and says nothing more.
    """

    def __init__(
        self, *, plugin: str = "", file: str = "", certificate: trustme.LeafCert | None = None, freezes: bool = False
    ) -> None:
        self._freezes = freezes
        self._frozen: list[socket.socket] = []
        self._plugin = plugin
        self._file = file
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if certificate else None
        if certificate and self._tls:
            certificate.configure_cert(self._tls)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.connections = 0
        self.received: list[bytes] = []

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self._frozen:
            connection.close()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def url(self, options: str = "") -> str:
        return f"mysql://chatsync:hunter2secret@127.0.0.1:{self._listener.getsockname()[1]}/ppc{options}"

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            with connection, contextlib.suppress(OSError):
                connection.settimeout(5)
                self._talk(connection)

    def _talk(self, connection: socket.socket) -> None:
        send(connection, greeting(CAPABILITIES | (TLS if self._tls or self._freezes else 0)), sequence=0)
        if self._freezes:
            self._frozen.append(connection.dup())
            return
        if self._tls and read_packet(connection):  # the request for TLS, which has no login
            with self._tls.wrap_socket(connection, server_side=True) as secret:
                self._answer(secret)
        else:
            self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        login = self._hear(connection)
        if not login:
            return
        if self._plugin:
            switch = AUTH_SWITCH + self._plugin.encode() + b"\x00" + b"a" * 20 + b"\x00"
            send(connection, switch, sequence=login[3] + 1)
            self._hear(connection)
            return
        send(connection, OK, sequence=login[3] + 1)
        while statement := self._hear(connection):
            asks = b"SELECT" in statement or b"SET SESSION" in statement
            send(connection, SEND_FILE + self._file.encode() if asks else OK, sequence=1)

    def _hear(self, connection: socket.socket) -> bytes:
        packet = read_packet(connection)
        if packet:
            self.received.append(packet)
        return packet


def greeting(capabilities: int) -> bytes:
    """Make the first packet of a server."""
    low, high = struct.pack("<H", capabilities & 0xFFFF), struct.pack("<H", capabilities >> 16)
    salt = b"abcdefgh\x00" + low + b"\x21" + struct.pack("<H", 2) + high + bytes([21]) + b"\x00" * 10 + b"i" * 12
    return b"\x0a8.0.36\x00" + struct.pack("<I", 9) + salt + b"\x00mysql_native_password\x00"


def send(connection: socket.socket, body: bytes, *, sequence: int) -> None:
    connection.sendall(len(body).to_bytes(3, "little") + bytes([sequence % 256]) + body)
