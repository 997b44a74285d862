"""The real ClickHouse, embedded (chDB), behind the cliques of the YT stand-in: it queries the stand-in's tables.

What CHYT adds to the dialect is translated for ClickHouse: paths in backquotes, `concatYtTables`, `$table_index`
(YTsaurus docs, CHYT, "Working with tables"). Only for tests that need it: chDB takes half a gigabyte.
"""

from __future__ import annotations

import re
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chdb.session import Session

from tests.harness.yt_http import Reply
from tests.harness.yt_tables import IdRows

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.harness.yt_tables import Version

_TYPES = {
    **{f"int{bits}": f"Int{bits}" for bits in (8, 16, 32, 64)},
    **{f"uint{bits}": f"UInt{bits}" for bits in (8, 16, 32, 64)},
    "boolean": "Bool",
    "string": "String",
    "utf8": "String",
}
_CONCAT = re.compile(r"concatYtTables\(((?:'(?:[^'\\]|\\.)*'(?:, )?)+)\)")
_TEXT = re.compile(r"'((?:[^'\\]|\\.)*)'")
_PATH = re.compile(r"`(//(?:[^`\\]|\\.)*)`")
# Those of HTTP, and those of CHYT.
_NO_SETTINGS = re.compile(r"database|default_format|chyt\..*|wait_end_of_query|cancel_http_.*|sql")
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\0": "\\0"})


class ClickHouse:
    """One engine for a process, as chDB allows; `resolve` finds the version of a table by its path."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="clickhouse-")
        self._session = Session()
        self._lock = threading.Lock()
        self._tables: dict[int, tuple[Version, str]] = {}
        self._cached: dict[str, Version] = {}

    def close(self) -> None:
        self._session.close()
        self._folder.cleanup()

    def answer(self, sql: str, settings: Mapping[str, str], resolve: Callable[[str], Version]) -> Reply:
        """Answer as the clique's HTTP interface does: text, and errors as text with a header."""
        locked = settings.get("chyt.execution.table_read_lock_mode") == "sync"

        def version(path: str) -> Version:
            # Attributes come from a cache unless tables are locked (chyt/server/config.cpp).
            return resolve(path) if locked else self._cached.setdefault(path, resolve(path))

        chosen = {name: value for name, value in settings.items() if not _NO_SETTINGS.fullmatch(name)}
        tail = ", ".join(f"{name} = {value}" for name, value in chosen.items())
        with self._lock:
            try:
                plain = self._plain(sql, version) + (f" SETTINGS {tail}" if tail else "")
                body = self._session.query(plain, settings.get("default_format", "TabSeparated")).bytes()
            except RuntimeError as error:
                return failure(str(error))
        return Reply(body=bytes(body), headers={"X-ClickHouse-Server-Display-Name": "stand-in"})

    def _plain(self, sql: str, version: Callable[[str], Version]) -> str:
        def concat(found: re.Match[str]) -> str:
            paths = [_unescaped(text) for text in _TEXT.findall(found[1])]
            parts = (
                f"SELECT toInt64({at}) AS `$table_index`, * FROM {self._table(version(path))}"
                for at, path in enumerate(paths)
            )
            return f"({' UNION ALL '.join(parts)})"

        return _PATH.sub(lambda found: self._table(version(_unescaped(found[1]))), _CONCAT.sub(concat, sql))

    def _table(self, version: Version) -> str:
        """Return the name of a table with these rows, made when it is first asked for."""
        known = self._tables.get(id(version))
        if known is None:
            name = f"t{len(self._tables)}"
            columns = [(str(one["name"]), _type(one)) for one in version.schema]
            declared = ", ".join(f"{_quoted(column)} {kind}" for column, kind in columns)
            self._session.query(f"CREATE TABLE {name} ({declared}) ENGINE = Memory")
            self._fill(name, version, [column for column, _ in columns], declared)
            known = self._tables[id(version)] = (version, name)
        return known[1]

    def _fill(self, name: str, version: Version, columns: list[str], declared: str) -> None:
        file = Path(self._folder.name) / f"{name}.tsv"
        if hasattr(version.rows, "row_binary"):  # rows that are numbers: bench/exported.py
            file.write_bytes(version.rows.row_binary())
            self._session.query(f"INSERT INTO {name} SELECT * FROM file('{file}', 'RowBinary', '{declared}')")
            file.unlink()
            return
        if isinstance(version.rows, IdRows):
            file.write_bytes(version.rows.body)
        else:
            lines = ("\t".join(_cell(row.get(column)) for column in columns) for row in version.rows)
            file.write_bytes("".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape"))
        if file.stat().st_size:
            structure = declared.replace("\\", "\\\\").replace("'", "\\'")
            self._session.query(f"INSERT INTO {name} SELECT * FROM file('{file}', 'TabSeparated', '{structure}')")
        file.unlink()


def failure(text: str, *, status: int = 500) -> Reply:
    """An error of ClickHouse: plain text, and its number in a header."""
    found = re.search(r"Code: (\d+)", text)
    headers = {"X-ClickHouse-Exception-Code": found[1] if found else "1002", "Content-Type": "text/plain"}
    return Reply(status, text.encode(), headers)


def _type(column: Mapping[str, Any]) -> str:
    kind = _TYPES[column["type"]]
    return kind if column.get("required") else f"Nullable({kind})"


def _cell(value: Any) -> str:
    if value is None:
        return "\\N"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, bytes):
        value = value.decode("utf-8", "surrogateescape")
    return value.translate(_ESCAPES) if isinstance(value, str) else str(int(value))


def _quoted(name: str) -> str:
    escaped = name.replace("\\", "\\\\").replace("`", "\\`")
    return f"`{escaped}`"


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)
