"""The data for a measurement: databases of one size, and a list served by the stand-in for YT."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.harness.schema import GRANTS, MYSQL_DICT, MYSQL_SHARD, PASSWORD, USER
from tests.harness.servers import ADDRESS, dies_with_parent

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy.typing as npt

    from tests.harness.servers import Server

    Ids = npt.NDArray[np.int64]

FEATURE, FEATURE_ID = "checked_support_chat", 217
PROPERTY = "CHECKED_SUPPORT_CHAT_FEATURE_LAST_SYNCED_MOD_TIME"
TABLE = "//home/list"
# By density: one id in ten of the range is in use, or ids are anywhere from 1 to 4,000,000,000.
DENSITIES = ("sparse", "dense")
DENSE_SPREAD = 10
SPARSE_RANGE = 4_000_000_000
ORDERS = ("random", "ascending")
# The dict database knows this many clients for each one that is listed; the others are neither listed nor off.
KNOWN_SHARE = 1.2
# What the user may do beyond the interface's grants, so that the peers can work: pt-table-sync locks.
PEER_GRANTS = "SELECT, INSERT, UPDATE, DELETE, LOCK TABLES, CREATE, DROP"


@dataclass(frozen=True, kw_only=True)
class Size:
    """How large a world is.

    `clients` are listed, as many are off, and a share `drift` of them is off without being
    listed, and another one listed without being off. Where the shards are `empty`, none is off:
    every listed client is to be turned off. `density` says how the ids are spread, `order` how
    the list holds them.
    """

    clients: int
    shards: int
    drift: float
    density: str
    order: str
    empty: bool = False

    @property
    def drifted(self) -> int:
        """How many clients are to be turned off, and as many on unless the shards are empty."""
        return self.clients if self.empty else max(1, round(self.clients * self.drift))

    @property
    def changes(self) -> int:
        """How many clients are to be turned off or on."""
        return self.drifted if self.empty else 2 * self.drifted

    def __str__(self) -> str:
        """Describe the world in the table."""
        state = "none off" if self.empty else f"{self.drift:.0%} drift"
        return f"{_short(self.clients)} listed, {self.density}, {self.order}, {self.shards} shards, {state}"


def _short(number: int) -> str:
    for size, letter in ((1_000_000, "M"), (1000, "k")):
        if number >= size:
            return f"{number / size:g}{letter}"
    return str(number)


class World:
    """Databases, a list and a configuration, of one size."""

    def __init__(self, name: str, size: Size, *, server: Server, folder: Path) -> None:
        """Fill the databases and write the list; `name` begins the names of the databases."""
        self.name = name
        self.size = size
        self.server = server
        self.folder = folder / name
        self.folder.mkdir()
        self.config = self.folder / "chatsync.toml"
        self.plan = self.folder / "plan.json"
        self.list_file = self.folder / "ids.txt"
        self.modified = datetime.now(UTC).replace(microsecond=123456)
        self.shards = [f"{name}_{number}" for number in range(1, size.shards + 1)]
        self.yt_url = ""
        self._has_copies = False
        known = self._known()
        self._fill_dict(np.sort(known))
        self._fill_shards(known[size.drifted : size.clients + size.drifted])
        listed = known[: size.clients]
        _write_ids(self.list_file, np.sort(listed) if size.order == "ascending" else listed)

    def _known(self) -> Ids:
        """Choose the clients: the first are to be turned off, the next need no change, the next are to be turned on."""
        size = self.size
        count = max(size.clients if size.empty else size.clients + size.drifted, round(size.clients * KNOWN_SHARE))
        generator = np.random.default_rng(1)
        highest = SPARSE_RANGE if size.density == "sparse" else count * DENSE_SPREAD
        ids = np.unique(generator.integers(1, highest, count + count // 8))
        generator.shuffle(ids)
        return ids[:count]

    def shard_of(self, ids: Ids) -> Ids:
        """Tell where clients live, by the index of the shard."""
        return ids % self.size.shards

    def _fill_dict(self, ids: Ids) -> None:
        database = f"{self.name}_dict"
        self._create(database, MYSQL_DICT)
        self._sql(database, f"INSERT INTO features VALUES ({FEATURE_ID}, '{FEATURE}', '{FEATURE}', NULL)")
        self._load(database, "shard_client_id", ids, f"shard = ClientID % {self.size.shards} + 1")
        self.set_modtime("1970-01-01")

    def _fill_shards(self, off: Ids) -> None:
        off = np.sort(off[:0] if self.size.empty else off)
        homes = self.shard_of(off)
        for index, database in enumerate(self.shards):
            self._create(database, MYSQL_SHARD)
            self._load(database, "clients_features", off[homes == index], f"feature_id = {FEATURE_ID}, is_enabled = 0")

    def _create(self, database: str, tables: Mapping[str, str]) -> None:
        self.server.sql(f"CREATE DATABASE {database}")
        for table, definition in tables.items():
            self._sql(database, definition)
            self.server.sql(f"GRANT {GRANTS[table]} ON {database}.{table} TO {USER}")

    def _load(self, database: str, table: str, ids: Ids, columns: str) -> None:
        file = self.folder / "load"
        _write_ids(file, ids)
        self._sql(database, f"LOAD DATA INFILE '{file}' INTO TABLE {table} (ClientID) SET {columns}")
        self._sql(database, f"ANALYZE TABLE {table}")
        file.unlink()

    def _sql(self, database: str, statement: str) -> list[tuple[Any, ...]]:
        return self.server.sql(statement, database=database)

    # -- for the commands that are measured --

    def keep_copies(self) -> None:
        """Keep what the shards hold now (`before`), and what they are to hold (`wanted`), each as a table."""
        if self._has_copies:
            return
        self._has_copies = True
        listed = np.fromstring(self.list_file.read_text(encoding="utf-8"), dtype=np.int64, sep="\n")
        listed.sort()
        homes = self.shard_of(listed)
        for index, database in enumerate(self.shards):
            self.server.sql(f"GRANT {PEER_GRANTS} ON {database}.* TO {USER}")
            for copy in ("before", "wanted"):
                self._sql(database, f"CREATE TABLE `{copy}` LIKE clients_features")
            self._sql(database, "INSERT INTO `before` SELECT * FROM clients_features")
            self._load(database, "wanted", listed[homes == index], f"feature_id = {FEATURE_ID}, is_enabled = 0")
            turned_on = "SELECT ClientID, feature_id, 1 FROM clients_features"
            self._sql(database, f"INSERT IGNORE INTO wanted {turned_on}")
            self._sql(database, "ANALYZE TABLE wanted")

    def reset(self) -> None:
        """Put the shards back to what they held before anything was applied."""
        for database in self.shards:
            self._sql(database, "TRUNCATE clients_features")
            self._sql(database, "INSERT INTO clients_features SELECT * FROM `before`")
            self._sql(database, "ANALYZE TABLE clients_features")

    def is_in_step(self) -> bool:
        """Tell whether the shards hold exactly what they are to hold."""
        differing = """SELECT COUNT(*) FROM clients_features f LEFT JOIN wanted w USING (ClientID, feature_id)
            WHERE w.is_enabled IS NULL OR w.is_enabled <> f.is_enabled"""
        counts = "SELECT (SELECT COUNT(*) FROM clients_features) = (SELECT COUNT(*) FROM wanted)"
        return all(
            self._sql(database, differing) == [(0,)] and self._sql(database, counts) == [(1,)]
            for database in self.shards
        )

    def set_modtime(self, value: str) -> None:
        """Write the mod-time."""
        self._sql(f"{self.name}_dict", f"REPLACE INTO ppc_properties (name, value) VALUES ('{PROPERTY}', '{value}')")

    def serve(self) -> subprocess.Popen[str]:
        """Start the stand-in for YT with the list, and write the configuration that reads it."""
        options = ["--table", TABLE, "--ids-file", str(self.list_file), "--modified", self.modified.isoformat()]
        command = [sys.executable, "-m", "tests.harness.yt_proxy", "--no-compression", *options]
        process = subprocess.Popen(dies_with_parent(command), stdout=subprocess.PIPE, text=True)
        self.yt_url = process.stdout.readline().strip() if process.stdout else ""
        self.configure(self.config)
        return process

    def configure(self, file: Path, *, port: int | None = None, urls: Mapping[str, str] | None = None) -> None:
        """Write a configuration, with another port of the server, or with other URLs of some shards."""
        # Without ssl_ca the driver loads the system's whole bundle of CAs for each connection.
        verified = f"?ssl_ca={self.server.ca}"
        there = f":{port or self.server.port}/"
        address = {name: self.url(name).replace(f":{self.server.port}/", there) + verified for name in self.databases}
        shards = {str(number): address[name] for number, name in enumerate(self.shards, 1)} | dict(urls or {})
        lines = [
            "[exclusions]", f'proxy = "{self.yt_url}"', f'path = "{TABLE}"',
            "[databases]", f"dict = {json.dumps(address[f'{self.name}_dict'])}",
            "[databases.shards]", *(f"{number} = {json.dumps(url)}" for number, url in shards.items()),
            "[limits]", 'plan_max_age = "1d"',
        ]  # fmt: skip
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        file.chmod(0o600)

    @property
    def databases(self) -> list[str]:
        """The names of all databases."""
        return [f"{self.name}_dict", *self.shards]

    def url(self, database: str) -> str:
        """Return the address of a database."""
        return self.server.url(database, USER, PASSWORD)

    def mysql(self, database: str) -> list[str]:
        """Begin a command of the `mysql` client that speaks to a database."""
        options = self.folder / "mysql.cnf"
        if not options.exists():
            who = f'user={USER}\npassword="{PASSWORD}"\nhost={ADDRESS}\nport={self.server.port}\n'
            # TLS as chatsync's driver has it; loose: MariaDB's client and Oracle's differ.
            verified = f"ssl-ca={self.server.ca}\nloose-ssl-verify-server-cert\nloose-ssl-mode=VERIFY_IDENTITY\n"
            options.write_text(f"[client]\n{who}{verified}", encoding="utf-8")
        return ["mysql", f"--defaults-extra-file={options}", "-N", "-B", database]


def _write_ids(file: Path, ids: Ids) -> None:
    """Write one id a line, a million at a time."""
    with file.open("w", encoding="ascii") as out:
        for start in range(0, len(ids), 1_000_000):
            out.write("\n".join(map(str, ids[start : start + 1_000_000].tolist())) + "\n")
