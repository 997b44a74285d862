"""A stand-in for the HTTP proxy of a YTsaurus cluster, for the real ytsaurus-client to talk to.

In a test:      `with YtProxy() as yt: yt.write("//home/list", ids=[1, 2]); YtClient(proxy=yt.url)`
By hand:        `python -m tests.harness.yt_proxy --port 0 --table //home/list --ids-file ids.txt` prints its URL first.

It follows the page "HTTP proxy reference" of the YTsaurus docs (yt/docs/en/user-guide/proxy/http-reference) and,
where the page is silent, yt/yt/server/http_proxy/context.cpp of ytsaurus/ytsaurus.
Tables are in `yt_tables`, formats in `yt_formats`, and HTTP itself in `yt_http`, all beside this file.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import threading
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self
from urllib.parse import urlsplit

from yt import yson

from tests.harness import yt_formats
from tests.harness import yt_tables as tables
from tests.harness.yt_http import V3_NAMES, V4_NAMES, Cut, Reply, Seen, Server, header_format
from tests.harness.yt_tables import Cypress, IdRows, Row, Tx, YtFault

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

# name: (output_type, is_volatile, is_heavy). As /api/v4 lists them.
COMMANDS = {
    "start_transaction": ("structured", True, False),
    "ping_transaction": ("null", True, False),
    "commit_transaction": ("null", True, False),
    "abort_transaction": ("null", True, False),
    "lock": ("structured", True, False),
    "get": ("structured", False, False),
    "list": ("structured", False, False),
    "exists": ("structured", False, False),
    "get_supported_features": ("structured", False, False),
    "execute_batch": ("structured", True, False),
    "read_table": ("tabular", False, True),
    "create": ("structured", True, False),
    "set": ("null", True, False),
    "write_table": ("null", True, True),
}
INPUTS = {"set": "structured", "write_table": "tabular"}  # the others have none
FOREVER = -1


class Clique(Protocol):
    """What answers for a clique: `tests.harness.clickhouse.ClickHouse`, or a stub."""

    def answer(self, sql: str, settings: Mapping[str, str], resolve: Callable[[str], tables.Version]) -> Reply: ...


@dataclasses.dataclass
class Planned:
    """Something a test has asked for: the next `left` times `command` comes."""

    kind: str
    command: str
    value: Any
    left: int


class YtProxy:
    """The proxy and its cluster. What a verb for faults plans is used up `times` times (FOREVER: always)."""

    def __init__(self, *, port: int = 0) -> None:
        self.cypress = Cypress()
        self.tokens: dict[str, str] = {}  # token -> user; empty: every user is root, as with require_authentication off
        self.requests: list[Seen] = []
        self.disabled_formats: set[str] = set()
        self.framing = True  # the proxy's default: yt/yt/server/http_proxy/config.cpp, TFramingConfig
        self.compression = True  # as the client accepts it
        self.heavy: list[str] | None = None  # what /hosts names; none: this one
        self.cliques: dict[str, Clique] = {}
        self.users_of_cliques: set[str] | None = None  # who has `use`; none: all
        self._port = port
        self._plans: list[Planned] = []
        self._lock = threading.Lock()
        self._server: Server | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> Self:
        """Starts, or comes back on the same port."""
        self._server = Server(("127.0.0.1", self._port), self)
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), name="YtProxy", daemon=True).start()
        return self

    def use_tls(self, context: ssl.SSLContext) -> None:
        """From now on connections begin with a TLS handshake."""
        assert self._server is not None
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)

    def stop(self) -> None:
        """The cluster is away: connections are closed, new ones refused. Tables and transactions stay."""
        self.release()
        if self._server is not None:
            self._server.close_all()
            self._server = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def commands(self) -> list[str]:
        """The names of the requests so far, pings left out: they come when they come."""
        return [seen.command for seen in list(self.requests) if seen.command != "ping_transaction"]

    # -- the cluster's content -------------------------------------------------------------------------------------

    def write(
        self,
        path: str,
        *,
        ids: Iterable[Any] | None = None,
        rows: Iterable[Row] | None = None,
        column: str = "client_id",
        **version: Any,
    ) -> str:
        """Creates or overwrites a table, says its node id. `version`: modified, schema, strict, dynamic, extra."""
        content = list(rows) if rows is not None else [{column: one} for one in ids or ()]
        return self.cypress.write(path, content, **version)

    def overwrite(self, path: str, **content: Any) -> str:
        """`write`, of a table that must be there: a new version of the same node."""
        self.cypress.find(path, None, None)
        return self.write(path, **content)

    def remove(self, path: str) -> None:
        self.cypress.remove(path)

    def link(self, path: str, target: str, *, modified: datetime | None = None) -> str:
        """A link, or a new one in its place; `modified` is when."""
        return self.cypress.link(path, target, modified=modified)

    def deny(self, path: str, user: str | None = None, permission: str = "read") -> None:
        self.cypress.deny(path, user, permission)

    def rows(self, path: str) -> list[dict[str, Any]]:
        """What all see in a table."""
        _, version = self.cypress.find(path, None, None)
        assert version is not None
        return [dict(row) for row in version.rows]

    # -- faults ----------------------------------------------------------------------------------------------------

    def fail_next(
        self, command: str, *, code: int = 1, status: int = 400, message: str = "Planned fault", times: int = 1
    ) -> None:
        self._plan("fail", command, YtFault(code, message, status=status), times)

    def throttle(self, command: str = "*", *, times: int = 1) -> None:
        """Too many requests of this user: 429 (docs, return codes), error 904."""
        self.fail_next(
            command, code=tables.REQUEST_LIMIT_EXCEEDED, status=429, message="Too many requests", times=times
        )

    def overload(self, command: str = "*", *, times: int = 1) -> None:
        """Too many concurrent requests: 503, error 108 (context.cpp, TryAcquireConcurrencySemaphore)."""
        self.fail_next(command, code=tables.QUEUE_SIZE_LIMIT_EXCEEDED, status=503, message="Too many", times=times)

    def ban(self, command: str = "*", *, times: int = 1) -> None:
        """503, error 2100 (context.cpp, TryCheckAvailability)."""
        self.fail_next(command, code=tables.PROXY_BANNED, status=503, message="This proxy is banned", times=times)

    def answer_next(self, command: str, reply: Reply, *, times: int = 1) -> None:
        """Answers what is no answer of YT: that of a web proxy, of a login page, or garbage."""
        self._plan("reply", command, reply, times)

    def cut_body_after(self, size: int, *, times: int = 1) -> None:
        """read_table sends `size` bytes of rows, then the connection closes."""
        self._plan("break", "read_table", (size, Cut()), times)

    def fail_body_after(self, size: int, *, code: int = 1, message: str = "Planned fault", times: int = 1) -> None:
        """read_table sends `size` bytes of rows, then an error in the trailers (docs, return codes)."""
        self._plan("break", "read_table", (size, YtFault(code, message)), times)

    def cut_rows(self, count: int, *, times: int = 1) -> None:
        """read_table answers well but with `count` rows at most."""
        self._plan("rows", "read_table", count, times)

    def on(self, command: str, callback: Callable[[], object], *, times: int = 1) -> None:
        """Calls `callback` before `command` is answered."""
        self._plan("call", command, callback, times)

    def hang(self, command: str, *, times: int = 1) -> threading.Event:
        """`command` isn't answered until the event is set, `release` or `stop`; the event's owner needn't wait."""
        gate = threading.Event()
        self._plan("hang", command, gate, times)
        return gate

    def release(self) -> None:
        for gate in [plan.value for plan in self._plans if plan.kind == "hang"]:
            gate.set()

    def heal(self) -> None:
        """Forgets all planned faults."""
        self.release()
        self._plans = []

    def _plan(self, kind: str, command: str, value: Any, times: int) -> None:
        self._plans.append(Planned(kind, V4_NAMES.get(command, command), value, times))

    def _take(self, kind: str, command: str) -> Any:
        with self._lock:
            for plan in self._plans:
                if plan.kind == kind and plan.command in (command, "*") and plan.left:
                    plan.left -= 1
                    return plan.value
        return None

    # -- answering -------------------------------------------------------------------------------------------------

    def answer(self, seen: Seen) -> Reply:
        if (reply := self._planned(seen)) is not None:
            return reply
        if seen.command == "api":
            return _json(["v3", "v4"] if seen.params["version"] is None else _descriptors(v4=seen.v4))
        if seen.command == "hosts":
            return _json([urlsplit(self.url).netloc] if self.heavy is None else self.heavy)
        if seen.command == "version":
            return Reply(body=b"24.2.0-stand-in")
        user = self._user(seen)
        if seen.command == "whoami":
            return _json({"login": user})
        return self._query(seen, user) if seen.command == "query" else self._run(seen, user)

    def _planned(self, seen: Seen) -> Reply | None:
        """Notes a request, and does what a test has planned for it."""
        self.requests.append(seen)
        if (gate := self._take("hang", seen.command)) is not None:
            gate.wait()
        if (callback := self._take("call", seen.command)) is not None:
            callback()
        if (reply := self._take("reply", seen.command)) is not None:
            return reply  # type: ignore[no-any-return]  # planned as such
        if (fault := self._take("fail", seen.command)) is not None:
            raise fault
        return None

    def _query(self, seen: Seen, user: str) -> Reply:
        """A statement for a clique; the texts are those of http_proxy/clickhouse/handler.cpp."""
        alias = seen.params.get("database", "").removeprefix("*")
        if alias not in self.cliques:
            inner = YtFault(1, f"Strawberry operation {alias} is not found")
            raise YtFault(1, "Invalid clique specification", inner=inner)
        if self.users_of_cliques is not None and user not in self.users_of_cliques:
            inner = YtFault(tables.ACCESS_DENIED, f'Access denied for user "{user}"')
            raise YtFault(1, f'User "{user}" has no access to clique {alias}', status=403, inner=inner)

        def resolve(path: str) -> tables.Version:
            version = self.cypress.find(path, None, user)[1]
            assert version is not None
            return version

        return self.cliques[alias].answer(seen.params["sql"], seen.params, resolve)

    def _user(self, seen: Seen) -> str:
        """http_authenticator.cpp: no or wrong credentials are 401; error 900 around 110."""
        token = seen.headers.get("Authorization", "").removeprefix("OAuth ")
        if not self.tokens:
            return "root"
        if token not in self.tokens:
            text = "Client token is invalid" if token else "Client is missing credentials"
            inner = YtFault(tables.INVALID_CREDENTIALS, text)
            raise YtFault(tables.AUTHENTICATION_ERROR, "Authentication failed", status=401, inner=inner)
        return self.tokens[token]

    def _run(self, seen: Seen, user: str) -> Reply:
        if seen.command not in COMMANDS:
            raise YtFault(1, f'Command "{seen.command}" is not registered', status=404)
        if seen.method != ("PUT" if seen.command in INPUTS else "POST" if COMMANDS[seen.command][1] else "GET"):
            raise YtFault(1, f"Method {seen.method} is not that of {seen.command}", status=405)
        form = seen.params.get("output_format", "yson")
        if str(form) in self.disabled_formats:  # yt/yt/library/formats/format_manager.cpp
            raise YtFault(tables.FORMAT_DISABLED, f'Format "{form}" is disabled', origin="output_format")
        tx = self.cypress.transaction(seen.params.get("transaction_id"))
        if seen.command == "read_table":
            return self._read_table(seen, tx, user)
        value = getattr(self, "_do_" + seen.command)(seen, tx, user)
        if value is None:
            return Reply()
        return Reply(body=_structured(_bare(value, seen), form))

    def _do_start_transaction(self, seen: Seen, tx: Tx | None, _: str) -> Any:
        new = self.cypress.start(timeout_ms=seen.params.get("timeout", 30000), parent=tx)
        return {"transaction_id": new.id}

    def _do_ping_transaction(self, _: Seen, tx: Tx | None, __: str) -> None:
        if tx is not None:
            self.cypress.ping(tx)

    def _do_commit_transaction(self, _: Seen, tx: Tx | None, __: str) -> None:
        if tx is not None:
            self.cypress.finish(tx, commit=True)

    def _do_abort_transaction(self, _: Seen, tx: Tx | None, __: str) -> None:
        if tx is not None:
            self.cypress.finish(tx)

    def _do_execute_batch(self, seen: Seen, _: Tx | None, user: str) -> Any:
        """Each request has its output or its error (docs: api/commands, execute_batch)."""
        return {"results": [self._of_batch(seen, one, user) for one in seen.params["requests"]]}

    def _of_batch(self, seen: Seen, one: Mapping[str, Any], user: str) -> Any:
        inner = dataclasses.replace(seen, command=str(one["command"]), params=one["parameters"], body=b"")
        try:
            self._planned(inner)
            tx = self.cypress.transaction(inner.params.get("transaction_id"))
            value = getattr(self, "_do_" + inner.command)(inner, tx, user)
            return {} if value is None else {"output": _bare(value, inner)}
        except YtFault as fault:
            return {"error": fault.to_dict()}

    def _do_create(self, seen: Seen, tx: Tx | None, user: str) -> Any:
        if seen.params.get("type") != "table" or seen.params.get("recursive") or seen.params.get("force"):
            raise YtFault(1, "Only tables in a folder that is there are created here")
        path, _, _ = tables.split_path(seen.params["path"])
        attributes, ignore = seen.params.get("attributes", {}), bool(seen.params.get("ignore_existing"))
        return {"node_id": self.cypress.create(path, tx, user, attributes=attributes, ignore=ignore)}

    def _do_set(self, seen: Seen, tx: Tx | None, user: str) -> None:
        path, attribute, _ = tables.split_path(seen.params["path"])
        if not attribute:
            raise YtFault(1, "Only attributes are set here")
        self.cypress.overwrite(path, tx, user, extra={attribute: yson.loads(seen.body)})

    def _do_write_table(self, seen: Seen, tx: Tx | None, user: str) -> None:
        """Without `append` on the path the rows replace the former ones (docs: api/commands, write_table)."""
        path, _, attributes = tables.split_path(seen.params["path"])
        if attributes.get("append") or str(seen.params["input_format"]) != "yson":
            raise YtFault(1, "Only overwriting in YSON is known here")
        rows = list(yson.loads(seen.body, yson_type="list_fragment")) if seen.body else []
        self.cypress.overwrite(path, tx, user, rows=rows)

    def _do_lock(self, seen: Seen, tx: Tx | None, user: str) -> Any:
        if seen.params.get("mode") != "snapshot":
            raise YtFault(1, "Only snapshot locks are known here")
        if tx is None:
            raise YtFault(1, "Operation cannot be performed without transaction")
        path, _, _ = tables.split_path(seen.params["path"])
        lock_id, node = self.cypress.snapshot(path, tx, user)
        return {"lock_id": lock_id, "node_id": node.id}

    def _do_get(self, seen: Seen, tx: Tx | None, user: str) -> Any:
        path, attribute, _ = tables.split_path(seen.params["path"])
        found = self.cypress.attributes(path, tx, user)
        wanted = seen.params.get("attributes")
        chosen = {k: v for k, v in found.items() if k in wanted} if wanted is not None else found
        if attribute == "":
            return {"value": chosen}
        if attribute is None:  # a table has no value but its attributes; docs: api/commands, get
            content = dict.fromkeys(self.cypress.children(path)) if found["type"] == "map_node" else None
            return {"value": yson.to_yson_type(content, chosen if wanted is not None else {})}
        if attribute not in found:
            inner = YtFault(tables.RESOLVE_ERROR, f'Attribute "{attribute}" is not found')
            raise YtFault(tables.RESOLVE_ERROR, f"Error resolving path {seen.path}", inner=inner)
        return {"value": found[attribute]}

    def _do_list(self, seen: Seen, tx: Tx | None, user: str) -> Any:
        path, _, _ = tables.split_path(seen.params["path"])
        self.cypress.attributes(path, tx, user)
        return {"value": self.cypress.children(path)}

    def _do_exists(self, seen: Seen, tx: Tx | None, _: str) -> Any:
        """Asks for no permission (docs: storage/access-control)."""
        path, attribute, _rest = tables.split_path(seen.params["path"])
        try:
            found = self.cypress.attributes(path, tx, None)
        except YtFault as fault:
            if fault.code == tables.RESOLVE_ERROR:
                return {"value": False}
            raise
        return {"value": not attribute or attribute in found}

    def _do_get_supported_features(self, _: Seen, __: Tx | None, ___: str) -> Any:
        return {"features": {"primitive_types": ["int64", "uint64", "string", "double", "boolean"]}}

    def _read_table(self, seen: Seen, tx: Tx | None, user: str) -> Reply:
        path, _, attributes = tables.split_path(seen.params["path"])
        _, version = self.cypress.find(path, tx, user)
        if version is None:
            raise YtFault(1, f'Invalid type of {path}: expected "table"')
        ranges = tables.row_ranges(attributes, len(version.rows))
        form, control = seen.params.get("output_format", "yson"), seen.params.get("control_attributes", {})
        asked = {"start_row_index": ranges[0].start if ranges else 0, "approximate_row_count": sum(map(len, ranges))}
        if (count := self._take("rows", "read_table")) is not None:
            ranges = _first(ranges, count)
        body = yt_formats.render(version, ranges, columns=attributes.get("columns"), form=form, control=control)
        if (broken := self._take("break", "read_table")) is not None:
            body = _broken(body, *broken)
        # table_commands.py, read_table.process_response: without this header the client takes the answer for garbage
        parameters = _structured(asked, header_format(seen.headers)).decode("latin-1").replace("\n", "")
        return Reply(body=body, headers={"X-YT-Response-Parameters": parameters})


def _first(ranges: Sequence[range], count: int) -> list[range]:
    kept = []
    for one in ranges:
        kept.append(one[:count])
        count -= len(kept[-1])
    return kept


def _broken(body: Iterator[bytes], size: int, fault: Exception) -> Iterator[bytes]:
    for piece in body:
        yield piece[:size]
        size -= len(piece)
        if size < 0:
            break
    raise fault


def _descriptors(*, v4: bool) -> list[dict[str, Any]]:
    names = {name: name if v4 else V3_NAMES.get(name, name) for name in COMMANDS}
    keys = ("output_type", "is_volatile", "is_heavy")
    return [
        {"name": names[n], "input_type": INPUTS.get(n, "null"), **dict(zip(keys, COMMANDS[n], strict=True))}
        for n in COMMANDS
    ]


def _bare(value: dict[str, Any], seen: Seen) -> Any:
    """v3 answers a bare value; v4 a map, unless `return_only_value` (cypress_commands.py, get)."""
    if seen.v4 and not seen.params.get("return_only_value"):
        return value
    return next(iter(value.values()))


def _json(value: Any) -> Reply:
    return Reply(body=json.dumps(value).encode(), headers={"Content-Type": "application/json"})


def _structured(value: Any, form: Any) -> bytes:
    if str(form) == "json":
        return json.dumps(yson.yson_to_json(value)).encode()
    variant = str(getattr(form, "attributes", {}).get("format", "text"))
    return bytes(yson.dumps(value, yson_format=variant))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--table", default="//home/list")
    parser.add_argument("--column", default="client_id")
    parser.add_argument("--ids-file", type=Path, help="one id a line")
    parser.add_argument("--count", type=int, default=0, help="or: the ids 1..COUNT")
    parser.add_argument("--modified", type=datetime.fromisoformat, help="ISO 8601, default now")
    parser.add_argument("--no-compression", action="store_true", help="leave the CPU of this machine to the client")
    parser.add_argument("--token", help="the only token accepted; default: all are")
    args = parser.parse_args()
    body = args.ids_file.read_bytes() if args.ids_file else "\n".join(map(str, range(1, args.count + 1))).encode()
    proxy = YtProxy(port=args.port)
    proxy.compression = not args.no_compression
    proxy.tokens = {args.token: "robot"} if args.token else {}
    schema = [{"name": args.column, "type": "int64"}]
    proxy.cypress.write(args.table, IdRows(args.column, body), modified=args.modified, schema=schema, strict=True)
    with proxy:
        sys.stdout.write(f"{proxy.url}\n")
        sys.stdout.flush()
        threading.Event().wait()


if __name__ == "__main__":
    main()
