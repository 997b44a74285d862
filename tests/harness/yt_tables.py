"""The in-memory Cypress behind `yt_proxy`: tables, links, versions, locks, transactions, errors, row formats.

A rule that is not obvious names its source: a page of the YTsaurus docs (yt/docs/en), or a file of ytsaurus/ytsaurus.
Nothing here knows HTTP.
"""

from __future__ import annotations

import dataclasses
import functools
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from yt import yson
from yt.ypath import parse_ypath

Row = Mapping[str, Any]
NULL_ID = "0-0-0-0"
FIRST_REVISION = 2814749767106561

# Error codes: yt/yt/client/{ytree,security_client,transaction_client,api,table_client}/public.h; the predicates for
# them are in yt/common.py (YtError.is_resolve_error, is_access_denied, is_no_such_transaction, ...).
RESOLVE_ERROR = 500
AUTHENTICATION_ERROR = 900
ACCESS_DENIED = 901
REQUEST_LIMIT_EXCEEDED = 904
INVALID_CREDENTIALS = 110
QUEUE_SIZE_LIMIT_EXCEEDED = 108
PROXY_BANNED = 2100
NO_SUCH_TRANSACTION = 11000
ALREADY_EXISTS = 501
LOCK_CONFLICT = 402
FORMAT_DISABLED = 1925
FORMAT_CANNOT_REPRESENT_ROW = 315


class YtFault(Exception):  # noqa: N818 - what tests plan is a fault
    """An error the proxy answers: YT's code, message, attributes, inner error, and the HTTP status it travels with."""

    def __init__(
        self, code: int, message: str, *, status: int = 400, inner: YtFault | None = None, **attributes: Any
    ) -> None:
        super().__init__(message)
        self.code, self.message, self.status, self.inner, self.attributes = code, message, status, inner, attributes

    def to_dict(self) -> dict[str, Any]:
        inner = [self.inner.to_dict()] if self.inner else []
        attributes = {"host": "localhost", "datetime": iso(datetime.now(UTC)), **self.attributes}
        return {"code": self.code, "message": self.message, "attributes": attributes, "inner_errors": inner}


def iso(moment: datetime) -> str:
    """Microseconds and Z, as every YT time (yt/common.py YT_DATETIME_FORMAT_STRING)."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class IdRows(Sequence[Row]):
    """Rows of one int64 column kept as their schemaful_dsv text, one id a line: ten million cost some 130 MB."""

    def __init__(self, column: str, body: bytes) -> None:
        self.column = column
        self.body = body if not body or body.endswith(b"\n") else body + b"\n"
        ends = np.flatnonzero(np.frombuffer(self.body, np.uint8) == ord("\n")) + 1
        self._ends = ends.astype(np.uint32 if len(self.body) < 1 << 32 else np.int64)

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            start, stop, _ = index.indices(len(self))
            return IdRows(self.column, bytes(self.text(start, stop)))
        return {self.column: int(self.text(index, index + 1))}

    @functools.cached_property
    def as_dsv(self) -> IdRows:
        """The same rows as dsv text, made once: a measurement of a reader must not include this writer."""
        key = self.column.encode() + b"="
        return IdRows(self.column, (key + self.body.replace(b"\n", b"\n" + key)).removesuffix(key))

    def text(self, start: int, stop: int) -> memoryview:
        """The lines of rows [start, stop)."""
        first, last = (int(self._ends[i - 1]) if i > 0 else 0 for i in (start, stop))
        return memoryview(self.body)[first : max(first, last)]


@dataclasses.dataclass(frozen=True)
class Version:
    """What a snapshot lock pins: the content of a node at one revision."""

    rows: Sequence[Row]
    modified: datetime
    revision: int
    content_revision: int
    schema: Sequence[Mapping[str, Any]] = ()
    strict: bool = False
    dynamic: bool = False
    extra: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Node:
    id: str
    path: str
    created: datetime
    version: Version | None = None  # none: a link, or without `target` a folder
    target: str = ""
    account: str = "tmp"


@dataclasses.dataclass
class Tx:
    id: str
    timeout: float
    deadline: float
    parent: Tx | None
    snapshots: dict[str, tuple[Node, Version | None]] = dataclasses.field(default_factory=dict)
    locks: dict[str, str] = dataclasses.field(default_factory=dict)  # node id -> lock id
    created: dict[str, Node] = dataclasses.field(default_factory=dict)  # path -> node
    written: dict[str, tuple[Node, Version]] = dataclasses.field(default_factory=dict)  # node id -> what it will be

    def ancestry(self) -> Iterator[Tx]:
        tx: Tx | None = self
        while tx is not None:
            yield tx
            tx = tx.parent


def resolve_error(path: str, key: str) -> YtFault:
    """The pair of errors the master answers: test texts in yt/yt/tests/integration (`has no child with key`)."""
    parent = path[: -len(key) - 1] or "/"
    inner = YtFault(RESOLVE_ERROR, f'Node {parent} has no child with key "{key}"')
    return YtFault(RESOLVE_ERROR, f"Error resolving path {path}", inner=inner, path=path)


class Cypress:
    """Tables, links and transactions. All methods may be called from any thread."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._nodes: dict[str, Node] = {}
        self._ids: dict[str, Node] = {}
        self._txs: dict[str, Tx] = {}
        self._denied: set[tuple[str, str | None, str]] = set()
        self._counter = 0
        self._revision = FIRST_REVISION
        self._offset = 0.0

    # -- what tests do --------------------------------------------------------------------------------------------

    def write(self, path: str, rows: Sequence[Row], *, modified: datetime | None = None, **version: Any) -> str:
        """Creates the table, or gives the existing node new content (`write_table` without append keeps the id)."""
        with self.lock:
            node = self._nodes.get(path)
            if node is None:
                node = self._add(path, "191", modified)  # 0x191 = 401: EObjectType::Table
            old = node.version
            kept = {"schema": old.schema, "strict": old.strict, "dynamic": old.dynamic} if old else {}
            revision = self._next_revision()
            node.version = Version(rows, modified or datetime.now(UTC), revision, revision, **{**kept, **version})
            return node.id

    def touch(self, path: str, /, *, modified: datetime | None = None, **extra: Any) -> None:
        """Sets attributes: mod-time and revision move, content_revision does not (docs: storage/objects, revisions)."""
        with self.lock:
            node = self._nodes[path]
            assert node.version is not None
            node.version = dataclasses.replace(
                node.version,
                extra={**node.version.extra, **extra},
                modified=modified or datetime.now(UTC),
                revision=self._next_revision(),
            )

    def remove(self, path: str) -> None:
        with self.lock:
            del self._ids[self._nodes.pop(path).id]

    def link(self, path: str, target: str, *, modified: datetime | None = None) -> str:
        """Creates the link, or puts a new one in its place, as `link --force` does: a new node with its own times."""
        with self.lock:
            node = self._add(path, "1a1", modified)  # 0x1a1 = 417: EObjectType::Link
            node.target = target
            return node.id

    def deny(self, path: str, user: str | None = None, permission: str = "read") -> None:
        """No such permission on `path` for `user` (all users if none)."""
        self._denied.add((path, user, permission))

    def allow(self, path: str, user: str | None = None, permission: str = "read") -> None:
        self._denied.discard((path, user, permission))

    def pass_time(self, seconds: float) -> None:
        """Moves the clock by which transactions expire."""
        self._offset += seconds

    # -- transactions ---------------------------------------------------------------------------------------------

    def start(self, *, timeout_ms: int, parent: Tx | None) -> Tx:
        with self.lock:
            seconds = min(timeout_ms / 1000, 3600)  # docs: storage/transactions, "upper limit is one hour"
            tx = Tx(self._new_id("1"), seconds, self._now() + seconds, parent)
            self._txs[tx.id] = tx
            return tx

    def transaction(self, tx_id: str | None) -> Tx | None:
        """The live transaction, none for the null id.

        Raises YtFault 11000 for an unknown, finished or expired one.
        """
        if not tx_id or tx_id == NULL_ID:
            return None
        with self.lock:
            tx = self._txs.get(tx_id)
            if tx is not None and tx.deadline <= self._now():
                self.finish(tx)  # docs: storage/transactions: not pinged for `timeout` = aborted
                tx = None
        if tx is None:
            raise YtFault(NO_SUCH_TRANSACTION, f"Transaction {tx_id} has expired or was aborted")
        return tx

    def ping(self, tx: Tx) -> None:
        tx.deadline = self._now() + tx.timeout

    def finish(self, tx: Tx, *, commit: bool = False) -> None:
        """The locks go, and so do nested transactions; a commit hands what was written on to the parent, or to all
        (docs: storage/transactions, versioning).
        """
        with self.lock:
            if commit and tx.id in self._txs:
                self._hand_on(tx)
            self._txs.pop(tx.id, None)
            for child in [t for t in self._txs.values() if t.parent is tx]:
                self.finish(child)

    def _hand_on(self, tx: Tx) -> None:
        if tx.parent is not None:
            tx.parent.created |= tx.created
            tx.parent.written |= tx.written
            return
        self._nodes |= tx.created
        for node, version in tx.written.values():
            node.version = version

    @property
    def live_transactions(self) -> list[str]:
        with self.lock:
            return [tx.id for tx in self._txs.values() if tx.deadline > self._now()]

    def snapshot(self, path: str, tx: Tx, user: str) -> tuple[str, Node]:
        """Takes a snapshot lock: the version is pinned for `tx`; a second lock changes nothing (lock compatibility)."""
        with self.lock:
            node, version = self.find(path, tx, user)
            tx.snapshots.setdefault(node.id, (node, version))
            return tx.locks.setdefault(node.id, self._new_id("c8")), node

    # -- looking ---------------------------------------------------------------------------------------------------

    def find(self, path: str, tx: Tx | None, user: str | None) -> tuple[Node, Version | None]:
        """The node and its version as `tx` sees it; `user` none skips the permission check."""
        with self.lock:
            node = self._by_id(path[1:], tx) if path.startswith("#") else self._by_path(path, tx)
            self.check(node, user, "read")
            return node, self._seen(node, tx)

    def check(self, node: Node, user: str | None, permission: str) -> None:
        """Denied to `user`? None skips the check."""
        if user is not None and {(node.path, None, permission), (node.path, user, permission)} & self._denied:
            # Text and attributes: yt/yt/server/lib/security_server / ytlib/security_client/permission_cache.cpp
            message = f'Access denied for user "{user}": "{permission}" permission is not allowed by any matching ACE'
            raise YtFault(ACCESS_DENIED, message, user=user, permission=permission, object=node.path)

    # -- writing ---------------------------------------------------------------------------------------------------

    def create(self, path: str, tx: Tx | None, user: str, *, attributes: Mapping[str, Any], ignore: bool) -> str:
        """A table, in the folder that must be there (docs: api/commands, create; `recursive` is not known here)."""
        with self.lock:
            try:
                return self._by_path(path, tx).id if ignore else self._exists(self._by_path(path, tx))
            except YtFault as fault:
                if fault.code != RESOLVE_ERROR:
                    raise
            folder = self._by_path(path.rpartition("/")[0], tx)
            self.check(folder, user, "write")
            node = Node(self._new_id("191"), path, datetime.now(UTC))
            self._ids[node.id] = node
            extra = {name: value for name, value in attributes.items() if name not in ("schema", "dynamic")}
            empty = Version((), datetime.now(UTC), 0, 0, schema=attributes.get("schema", ()), extra=extra)
            if tx is None:
                self._nodes[path], node.version = node, self._stamped(empty)
            else:
                tx.created[path] = node
                tx.written[node.id] = node, self._stamped(empty)
            return node.id

    def overwrite(self, path: str, tx: Tx | None, user: str, **changes: Any) -> None:
        """New content or attributes of a table, for `tx` alone until its commit.

        Overwriting takes an exclusive lock (docs: storage/transactions, implicit locks).
        """
        with self.lock:
            node = self._by_path(path, tx)
            self.check(node, user, "write")
            version = self._seen(node, tx)
            if version is None:
                raise YtFault(1, f'Invalid type of {path}: expected "table"')
            ours = set() if tx is None else {one.id for one in tx.ancestry()}
            others = [other.id for other in self._txs.values() if node.id in other.written and other.id not in ours]
            if others:
                message = f'Cannot take "exclusive" lock for node {node.path} since "exclusive" lock is taken by'
                raise YtFault(LOCK_CONFLICT, f"{message} concurrent transaction {others[0]}")
            extra = {**version.extra, **changes.pop("extra", {})}
            new = self._stamped(dataclasses.replace(version, extra=extra, **changes))
            if tx is None:
                node.version = new
            else:
                tx.written[node.id] = node, new

    def _exists(self, node: Node) -> str:
        raise YtFault(ALREADY_EXISTS, f"Node {node.path} already exists")

    def _stamped(self, version: Version) -> Version:
        revision = self._next_revision()
        return dataclasses.replace(version, modified=datetime.now(UTC), revision=revision, content_revision=revision)

    def attributes(self, path: str, tx: Tx | None, user: str | None) -> dict[str, Any]:
        if path.startswith("#") and (special := self._special(path[1:])) is not None:
            return special
        return _attributes(*self.find(path, tx, user))

    def children(self, path: str) -> list[str]:
        prefix = path.rstrip("/") + "/" if path != "/" else "//"
        with self.lock:
            return sorted({p[len(prefix) :].split("/")[0] for p in self._nodes if p.startswith(prefix)})

    def _special(self, object_id: str) -> dict[str, Any] | None:
        """`#<tx>/@` and `#<lock>/@` (docs: storage/transactions, transaction and lock attributes)."""
        with self.lock:
            for tx in self._txs.values():
                if tx.id == object_id:
                    return {"id": tx.id, "type": "transaction", "timeout": int(tx.timeout * 1000)}
                for node_id, lock_id in tx.locks.items():
                    if lock_id == object_id:
                        kind = {"type": "snapshot_lock", "mode": "snapshot", "state": "acquired"}
                        return {"id": lock_id, "node_id": node_id, "transaction_id": tx.id, **kind}
        return None

    def _by_id(self, node_id: str, tx: Tx | None) -> Node:
        follow = not node_id.endswith("&")  # path_resolver.cpp: a link is followed also when named by its id
        node_id = node_id.removesuffix("&")
        node = self._ids.get(node_id)
        while tx is not None:
            if node_id in tx.snapshots:  # lives on for the transaction, also when removed
                node = tx.snapshots[node_id][0]
            tx = tx.parent
        if node is None:
            raise YtFault(RESOLVE_ERROR, f"No such object {node_id}")
        return self._by_path(node.target) if node.target and follow else node

    def _by_path(self, path: str, tx: Tx | None = None) -> Node:
        for one in tx.ancestry() if tx else ():
            if path in one.created:
                return one.created[path]
        follow = not path.endswith("&")  # docs: storage/links: "&" addresses the link itself
        path = path.removesuffix("&")
        for _ in range(16):
            node = self._nodes.get(path)
            if node is None and self.children(path):
                return self._folder(path)
            if node is None:
                through = [p for p, n in self._nodes.items() if n.target and path.startswith(p + "/")]
                if not through:
                    raise self._missing(path)
                path = self._nodes[through[0]].target + path[len(through[0]) :]
            elif node.target and follow:
                path = node.target
            else:
                return node
        raise YtFault(RESOLVE_ERROR, f"Too many redirections while resolving {path}")

    def _folder(self, path: str) -> Node:
        """Folders are there as long as something is in them."""
        known = [node for node in self._ids.values() if node.path == path]
        node = known[0] if known else Node(self._new_id("12f"), path, datetime.now(UTC))  # 0x12f = 303: MapNode
        self._ids[node.id] = node
        return node

    def _missing(self, path: str) -> YtFault:
        known, names = "/", path.removeprefix("//").split("/")
        for name in names:
            if name not in self.children(known):
                return resolve_error(f"{known}/{name}", name)
            known = f"{known}/{name}"
        return resolve_error(path, names[-1])

    def _seen(self, node: Node, tx: Tx | None) -> Version | None:
        for one in tx.ancestry() if tx else ():  # docs: versioning: the closest ancestor that branched the node
            if node.id in one.written:
                return one.written[node.id][1]
            if node.id in one.snapshots:
                return one.snapshots[node.id][1]
        return node.version

    def _add(self, path: str, kind: str, created: datetime | None) -> Node:
        node = Node(self._new_id(kind), path, created or datetime.now(UTC))
        self._nodes[path] = self._ids[node.id] = node
        return node

    def _new_id(self, kind: str) -> str:
        with self.lock:
            self._counter += 1
            return f"1-{self._counter:x}-10{kind}-{0x5EED0000 + self._counter:x}"

    def _next_revision(self) -> int:
        self._revision += 1
        return self._revision

    def _now(self) -> float:
        return time.monotonic() + self._offset


def _attributes(node: Node, version: Version | None) -> dict[str, Any]:
    """The attributes a reader may ask (docs: storage/objects, storage/static-tables)."""
    common = {"id": node.id, "path": node.path, "account": node.account, "creation_time": iso(node.created)}
    if version is None and not node.target:
        return {**common, "type": "map_node"}
    if version is None:
        times = {"modification_time": common["creation_time"]}
        return {**common, **times, "type": "link", "target_path": node.target, "broken": False}
    schema = yson.to_yson_type(
        [dict(column) for column in version.schema], {"strict": version.strict, "unique_keys": False}
    )
    rows = len(version.rows)
    size = {"chunk_count": min(rows, 1), "row_count": rows, "data_weight": rows * 8, "replication_factor": 3}
    return {
        **common,
        **size,
        "type": "table",
        "modification_time": iso(version.modified),
        "revision": yson.YsonUint64(version.revision),
        "content_revision": yson.YsonUint64(version.content_revision),
        "attribute_revision": yson.YsonUint64(version.revision),
        "schema": schema,
        "schema_mode": "strong" if version.schema else "weak",
        "dynamic": version.dynamic,
        "sorted": False,
        "compressed_data_size": rows * 8,
        "uncompressed_data_size": rows * 8,
        **version.extra,
    }


def split_path(raw: Any) -> tuple[str, str | None, dict[str, Any]]:
    """`//t{a}[#1:#2]/@x` as (path, attribute or none, columns and ranges), by the client's own parser."""
    parsed = parse_ypath(raw)
    path, at, attribute = str(parsed).partition("/@")
    return path, attribute if at else None, dict(parsed.attributes)


def row_ranges(attributes: Mapping[str, Any], count: int) -> list[range]:
    """The row indexes a path asks for: `ranges`, or the single range the client's read retries send
    (table_commands.py, _ReadTableRetriableState.prepare_params_for_retry: `lower_limit` on the path itself).
    """
    wanted = attributes.get("ranges", [attributes])
    return [_row_range(one, count) for one in wanted]


def _row_range(limits: Mapping[str, Any], count: int) -> range:
    if "exact" in limits:
        index = _row_index(limits["exact"], count)
        return range(min(index, count), min(index + 1, count))
    lower = _row_index(limits.get("lower_limit", {}), 0)
    upper = _row_index(limits.get("upper_limit", {}), count)
    return range(min(lower, count), min(upper, count))


def _row_index(limit: Mapping[str, Any], default: int) -> int:
    if set(limit) - {"row_index"}:
        raise YtFault(1, f"Only row_index limits are known here, not {sorted(limit)}")
    return int(limit.get("row_index", default))


def select(version: Version, indexes: range, columns: Sequence[str] | None) -> Iterator[Row]:
    """Rows with the asked columns only.

    A column no row has is no error (the map is just empty), and a schema's column without value is written as null
    (docs: storage/formats, yson `skip_null_values`).
    """
    nulls = {c["name"]: None for c in version.schema if columns is None or c["name"] in columns}
    for i in indexes:
        row = version.rows[i]
        yield {**nulls, **(row if columns is None else {k: row[k] for k in columns if k in row})}
