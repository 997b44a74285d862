"""The protocol of `tests.harness.yt_proxy`: requests and replies over HTTP/1.1, with YT's headers, framing and errors.

Sources: the page "HTTP proxy reference" of the YTsaurus docs (yt/docs/en/user-guide/proxy/http-reference) and
yt/yt/server/http_proxy/context.cpp of ytsaurus/ytsaurus.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import itertools
import json
import socket
import struct
import sys
import traceback
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar, cast
from urllib.parse import parse_qsl, urlsplit

from yt import yson

from tests.harness.yt_tables import YtFault

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.harness.yt_proxy import YtProxy

V3_NAMES = {f"{verb}_transaction": f"{verb}_tx" for verb in ("start", "ping", "commit", "abort")}
V4_NAMES = {v3: v4 for v4, v3 in V3_NAMES.items()}


@dataclasses.dataclass(frozen=True)
class Seen:
    """One request, as it came: `command` by its v4 name, or hosts, api, version, whoami."""

    command: str
    params: Mapping[str, Any]
    headers: Mapping[str, str]
    method: str = "GET"
    v4: bool = True
    body: bytes = b""

    @property
    def path(self) -> str:
        return str(self.params.get("path", ""))


@dataclasses.dataclass
class Reply:
    status: int = 200
    body: bytes | Iterator[bytes] = b""
    headers: dict[str, str] = dataclasses.field(default_factory=dict)


class Cut(Exception):  # noqa: N818 - not an error: a plan
    """The connection is to be closed here, in the middle of the body."""


def header_format(headers: Mapping[str, str]) -> str:
    """JSON if the client doesn't say (docs, X-YT-Header-Format); the real one says `<format=text>yson`."""
    return "yson" if headers.get("X-YT-Header-Format", "json").endswith("yson") else "json"


def _parse(raw: bytes, form: str) -> Any:
    return yson.loads(raw) if form == "yson" else yson.json_to_yson(json.loads(raw))


def _header(headers: Mapping[str, str], name: str) -> bytes | None:
    """A header, whole or in base64 parts `Name-0`, `Name-1`, ... (http_proxy/helpers.cpp, GatherHeader)."""
    if name in headers:
        return headers[name].encode("latin-1")
    parts = list(itertools.takewhile(bool, (headers.get(f"{name}-{i}") for i in itertools.count())))
    return base64.b64decode("".join(part for part in parts if part)) if parts else None


def _parameters(headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
    """Formats from their headers, then X-YT-Parameters, then a POST's body (context.cpp, CaptureParameters)."""
    found: dict[str, Any] = {}
    form = header_format(headers)
    for name, key in (("X-YT-Input-Format", "input_format"), ("X-YT-Output-Format", "output_format")):
        if (raw := _header(headers, name)) is not None:
            found[key] = _parse(raw, form)
    if (raw := _header(headers, "X-YT-Parameters")) is not None:
        found.update(_parse(raw, form))
    if body:
        found.update(_parse(body, "json" if "json" in headers.get("Content-Type", "") else "yson"))
    return found


class Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], proxy: YtProxy) -> None:
        super().__init__(address, _Handler)
        self.proxy = proxy
        self.open: set[socket.socket] = set()

    def close_all(self) -> None:
        self.shutdown()
        self.server_close()
        for connection in list(self.open):
            with contextlib.suppress(OSError):  # the client was quicker
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm: ClassVar[bool] = True
    wbufsize = -1

    def setup(self) -> None:
        super().setup()
        self.server.open.add(self.connection)

    def finish(self) -> None:
        self.server.open.discard(self.connection)
        super().finish()

    def log_message(self, *_: Any) -> None:
        """Quiet: `YtProxy.requests` is the log."""

    def do_GET(self) -> None:
        body = b"".join(self._body())
        try:
            reply = self.server.proxy.answer(self._seen(body))
        except YtFault as fault:
            reply = _error(fault)
        except Exception as bug:  # noqa: BLE001 - a bug of this file; 400 is what the client won't retry
            traceback.print_exc()
            reply = _error(YtFault(1, f"The stand-in is broken: {bug!r}"))
        if isinstance(reply.body, bytes):
            self._send(reply, reply.body)
        else:
            self._stream(reply, reply.body)
        self.wfile.flush()

    def _body(self) -> Iterator[bytes]:
        """The body, whole or in chunks: the client streams rows (docs, HTTP proxy reference, write_table)."""
        if self.headers.get("Transfer-Encoding") != "chunked":
            yield self.rfile.read(int(self.headers.get("Content-Length", 0)))
            return
        while size := int(self.rfile.readline().split(b";")[0], 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    do_POST = do_PUT = do_GET  # noqa: N815 - the names that http.server looks for

    def _seen(self, body: bytes) -> Seen:
        headers = cast("Mapping[str, str]", self.headers)
        parts = urlsplit(self.path).path.strip("/").split("/")
        if parts[0] == "api" and len(parts) > 2:
            name = V4_NAMES.get(parts[2], parts[2])
            # Only a PUT has a body of its own: what is written (docs: a command with input is a PUT).
            ours = b"" if self.command == "PUT" else body
            return Seen(name, _parameters(headers, ours), headers, self.command, v4=parts[1] == "v4", body=body)
        if parts[0] == "query":  # of a clique (http_proxy/clickhouse/handler.cpp)
            settings = dict(parse_qsl(urlsplit(self.path).query))
            return Seen("query", {**settings, "sql": body.decode()}, headers, self.command)
        version = parts[1] if len(parts) > 1 else None
        name = parts[-1] if parts[0] == "auth" else parts[0]
        return Seen(name, {"version": version}, headers, self.command, v4=version != "v3")

    def _send(self, reply: Reply, body: bytes) -> None:
        self._head(reply, {"Content-Length": str(len(body))})
        self.wfile.write(body)

    def _head(self, reply: Reply, extra: Mapping[str, str]) -> None:
        self.send_response(reply.status)
        for name, value in {**reply.headers, **extra, "X-YT-Proxy": "localhost"}.items():
            self.send_header(name, value)
        self.end_headers()

    def _stream(self, reply: Reply, body: Iterator[bytes]) -> None:
        """A body in chunks. An error before the first is a plain 400; later it goes into the trailers."""
        trouble: Exception | None = None
        try:
            first = next(filter(None, body), b"")
        except Cut as cut:
            first, trouble = b"", cut
        except YtFault as fault:
            return self._send(failed := _error(fault), failed.body)  # type: ignore[arg-type]
        proxy = self.server.proxy
        headers = cast("Mapping[str, str]", self.headers)
        encoder = _Encoder(headers, framing=proxy.framing, compression=proxy.compression)
        self._head(reply, {**encoder.headers, "Transfer-Encoding": "chunked"})
        try:
            for piece in itertools.chain([first], body) if trouble is None else ():
                self._chunk(encoder.encode(piece))
        except (Cut, YtFault) as fault:
            trouble = fault
        if isinstance(trouble, Cut):
            self._chunk(encoder.flush())
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return None
        self._chunk(encoder.finish())
        trailers = _error(trouble).headers if isinstance(trouble, YtFault) else {}
        self.wfile.write(b"0\r\n" + b"".join(f"{k}: {v}\r\n".encode("latin-1") for k, v in trailers.items()) + b"\r\n")
        return None

    def _chunk(self, data: bytes) -> None:
        if data:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))


class _Encoder:
    """Frames, then compression, as the client accepts them (docs, Framing and Compression; SetupOutputStream)."""

    def __init__(self, asked: Mapping[str, str], *, framing: bool, compression: bool) -> None:
        self._framed = framing and asked.get("X-YT-Accept-Framing") == "1"
        best = asked.get("Accept-Encoding", "identity").split(",")[0].strip()
        self._gzip = zlib.compressobj(1, wbits=31) if compression and best == "gzip" else None
        self.headers = {"Content-Encoding": "gzip" if self._gzip else "identity"}
        if self._framed:
            self.headers["X-YT-Framing"] = "1"

    def encode(self, data: bytes) -> bytes:
        if data and self._framed:
            data = b"\x02" + struct.pack("<bi", 1, len(data)) + data  # a keep-alive, then the data
        return self._gzip.compress(data) if self._gzip else data

    def flush(self) -> bytes:
        return self._gzip.flush(zlib.Z_SYNC_FLUSH) if self._gzip else b""

    def finish(self) -> bytes:
        return self._gzip.flush() if self._gzip else b""


def _error(fault: YtFault) -> Reply:
    """The error in the body and in three headers (http_proxy/http helpers, FillYTErrorHeaders)."""
    text = json.dumps(fault.to_dict())
    message = fault.message.encode("ascii", "backslashreplace").decode().replace("\n", "\\n")
    headers = {"X-YT-Error": text, "X-YT-Response-Code": str(fault.code), "X-YT-Response-Message": message}
    if fault.status == 503:
        headers["Retry-After"] = "60"  # context.cpp, DispatchUnavailable: "probably useless"
    return Reply(fault.status, text.encode(), {**headers, "Content-Type": "application/json"})
