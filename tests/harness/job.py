"""A configured job: a folder with a configuration, an exclusion list, and databases to sync.

Tests change the world with the methods here, run commands in this process (`run`, quick) or in a
process of their own (`process`, where it matters), and check the whole answer.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol
from unittest import mock

from chatsync import cli
from tests.harness.schema import create_sqlite, open_sqlite

if TYPE_CHECKING:
    from pathlib import Path

    from tests.harness.yt_proxy import YtProxy

FEATURE, FEATURE_ID, OTHER_FEATURE_ID = "checked_support_chat", 217, 42
PROPERTY = "CHECKED_SUPPORT_CHAT_FEATURE_LAST_SYNCED_MOD_TIME"
TABLE = "//home/sales/exclusions"
DISABLED = "9999-12-31T00:00:00.000000Z"  # what `set-modtime --disable` writes
MODIFIED, LIST_TIME = 1_790_000_000.0, "2026-09-21T14:13:20.000000Z"  # one moment: of a list, and as a mod-time
RECORDS = {"dir": "records"}
MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
COMMAND = [sys.executable, "-m", "chatsync"]

# Lists are written by the test that reads them.
SETTLE = "0.000001s"

# For a process that cannot write files; otherwise coverage fails first.
UNMEASURED = {"COVERAGE_PROCESS_CONFIG": ""}

Rows = list[tuple[Any, ...]]
Documents = list[dict[str, Any]]


class Databases(Protocol):
    """What a job needs from its databases: `tests.harness.schema.World` (a real server) or `SqliteFiles`."""

    @property
    def dict_url(self) -> str: ...

    @property
    def shard_urls(self) -> Mapping[str, str]: ...

    def sql(self, database: str, statement: str, *args: object) -> Rows: ...


class SqliteFiles:
    """The tables in SQLite files, for tests that need no server."""

    def __init__(self, folder: Path, shards: int = 4) -> None:
        self.files = create_sqlite(folder, shards)

    @property
    def dict_url(self) -> str:
        return f"sqlite:///{self.files['ppcdict']}"

    @property
    def shard_urls(self) -> Mapping[str, str]:
        return {name.removeprefix("ppc"): f"sqlite:///{file}" for name, file in self.files.items() if name != "ppcdict"}

    def sql(self, database: str, statement: str, *args: object) -> Rows:
        with closing(open_sqlite(self.files[database])) as connection, connection:
            return connection.execute(statement.replace("%s", "?"), args).fetchall()


@dataclass(frozen=True)
class Result:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Job:
    """The folder, list, databases and configuration of one job; `shards` are the numbers of its shards."""

    def __init__(self, folder: Path, databases: Databases) -> None:
        self.folder = folder
        self.databases = databases
        self.config = folder / "chatsync.toml"
        self.list_file = folder / "exclusions.csv"
        self.plan_file = folder / "plan.json"
        self.records_folder = folder / "records"  # once configured: records={"dir": "records"}
        self.environment: dict[str, str] = {}
        self.exclusions: Mapping[str, Any] = {"file": str(self.list_file), "settle": SETTLE}
        self.shards = sorted(map(int, databases.shard_urls))
        features = [
            (number, name, name) for number, name in ((FEATURE_ID, FEATURE), (OTHER_FEATURE_ID, "another_feature"))
        ]
        self._write("ppcdict", "features (feature_id, feature_text_id, feature_public_name)", features)
        self.configure()
        self.list([])

    # -- the world --

    def configure(self, **sections: Mapping[str, Any]) -> None:
        """Write the configuration: the valid one, with these sections changed or added."""
        document: dict[str, Any] = {
            "exclusions": self.exclusions,
            "databases": {"dict": self.databases.dict_url, "shards": dict(self.databases.shard_urls)},
        }
        for name, section in sections.items():
            document[name] = {**document.get(name, {}), **section} if name != "exclusions" else dict(section)
        self.config.write_text(_toml(document), encoding="utf-8")
        self.config.chmod(0o600)

    def keep_list_in(self, yt: YtProxy, **keys: Any) -> None:
        """Take the list from TABLE in the YT stand-in (`tests.harness.yt_proxy`) from now on."""
        self.exclusions = {"proxy": yt.url, "path": TABLE, **keys}
        self.configure()

    def list(self, cells: Iterable[object], *, modified: float | None = None) -> None:
        """Write the list as a file; `modified` is in seconds since 1970."""
        self.list_file.write_text("client_id\n" + "".join(f"{cell}\n" for cell in cells), encoding="utf-8")
        if modified is not None:
            nanoseconds = round(modified * 1_000_000) * 1000  # a float of today holds no more than microseconds
            os.utime(self.list_file, ns=(nanoseconds, nanoseconds))

    def dict_sql(self, statement: str, *args: object) -> Rows:
        return self.databases.sql("ppcdict", statement, *args)

    def shard_sql(self, shard: int, statement: str, *args: object) -> Rows:
        return self.databases.sql(f"ppc{shard}", statement, *args)

    def _write(self, database: str, table: str, rows: Sequence[tuple[object, ...]]) -> None:
        """Write rows in few statements, as each takes a connection; a row with the same key is replaced."""
        for some in (rows[start : start + 1000] for start in range(0, len(rows), 1000)):
            values = ", ".join(f"({', '.join(['%s'] * len(row))})" for row in some)
            self.databases.sql(
                database, f"REPLACE INTO {table} VALUES {values}", *(cell for row in some for cell in row)
            )

    def settle(self, clients: Mapping[int, int]) -> None:
        """Give clients a home shard: {client: shard}."""
        self._write("ppcdict", "shard_client_id (ClientID, shard)", list(clients.items()))

    def row(self, shard: int, client: int, enabled: int, *, feature: int = FEATURE_ID) -> None:
        """Write the row of a client's feature."""
        self._write(f"ppc{shard}", "clients_features", [(client, feature, enabled)])

    def settle_off(self, clients: Mapping[int, int]) -> None:
        """Give clients a home shard, and a row there that turns the feature off."""
        self.settle(clients)
        for shard in set(clients.values()):
            rows = [(client, FEATURE_ID, 0) for client, home in clients.items() if home == shard]
            self._write(f"ppc{shard}", "clients_features", rows)

    def rows(self) -> set[tuple[int, int, int, int]]:
        """Read every row of every shard: (shard, client, feature, is_enabled)."""
        return {
            (shard, client, feature, enabled)
            for shard in self.shards
            for client, feature, enabled in self.shard_sql(shard, "SELECT * FROM clients_features")
        }

    def off(self) -> set[int]:
        """Read which clients are off."""
        return {client for _, client, feature, enabled in self.rows() if feature == FEATURE_ID and not enabled}

    def set_property(self, value: str | None) -> None:
        """Write the mod-time as an operator would, by hand; None removes it."""
        if value is None:
            self.dict_sql("DELETE FROM ppc_properties WHERE name = %s", PROPERTY)
        else:
            self._write("ppcdict", "ppc_properties (name, value)", [(PROPERTY, value)])

    def property(self) -> str | None:
        """Read the mod-time as it is written."""
        rows = self.dict_sql("SELECT value FROM ppc_properties WHERE name = %s", PROPERTY)
        return rows[0][0] if rows else None

    # -- the commands --

    def run(self, *arguments: str, stdin: str = "") -> Result:
        """Run a command in this process."""
        out, err = io.StringIO(), io.StringIO()
        with (
            mock.patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode()))),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            _environment(self.environment),
        ):
            code = cli.run(["-c", str(self.config), *arguments])
        return Result(int(code), out.getvalue(), err.getvalue())

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """Start a command as a process of its own."""
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
        environment = os.environ | self.environment
        return subprocess.Popen(
            [*COMMAND, "-c", str(self.config), *arguments], text=True, env=environment, cwd=self.folder, **pipes
        )

    def process(self, *arguments: str, stdin: str = "") -> Result:
        """Run a command as a process of its own, to its end."""
        process = self.start(*arguments)
        out, err = process.communicate(stdin, timeout=120)
        return Result(process.returncode, out, err)

    def diff(self, *options: str) -> Result:
        """Make a plan in `plan_file`."""
        return self.run("diff", "--plan", str(self.plan_file), *options)

    def apply(self, *options: str) -> Result:
        """Apply the plan in `plan_file`."""
        return self.run("apply", "--plan", str(self.plan_file), *options)

    def set_modtime(self, *options: str) -> Result:
        """Mark the list of the plan in `plan_file` as synced."""
        return self.run("set-modtime", "--plan", str(self.plan_file), *options)

    def chain(self, *apply_options: str) -> Result:
        """Run the main job as cron does: each step only if the one before ended with 0."""
        result = self.diff("--if-modified")
        result = result if result.code else self.apply(*apply_options)
        return result if result.code else self.set_modtime()

    def records(self) -> Documents:
        """Read the records, the newest first."""
        files = sorted(self.records_folder.glob("*.json"), reverse=True)
        return [json.loads(file.read_text(encoding="utf-8")) for file in files]

    def plan(self) -> dict[str, Any]:
        """Read the plan file."""
        document: dict[str, Any] = json.loads(self.plan_file.read_text(encoding="utf-8"))
        return document


def _toml(document: Mapping[str, Any]) -> str:
    lines: list[str] = []
    for name, section in document.items():
        tables = {key: value for key, value in section.items() if isinstance(value, Mapping)}
        lines.append(f"[{name}]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in section.items() if key not in tables]
        for key, table in tables.items():
            lines.append(f"[{name}.{key}]")
            lines += [f"{item} = {json.dumps(value)}" for item, value in table.items()]
    return "\n".join(lines) + "\n"


@contextlib.contextmanager
def _environment(variables: Mapping[str, str]) -> Any:
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
