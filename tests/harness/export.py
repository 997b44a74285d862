"""An export of a job's databases in the YT stand-in, as others would write it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tests.harness.job import PROPERTY, TABLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tests.harness.job import Job
    from tests.harness.yt_proxy import YtProxy

FOLDER = "//home/db/latest"
PATH = FOLDER + "/ppc{shard}/clients_features"
ONE_TABLE = FOLDER + "/clients_features"
LAST_APPLY = PROPERTY.replace("_LAST_SYNCED_MOD_TIME", "_LAST_APPLY_TIME")
COLUMNS = ("ClientID", "feature_id", "is_enabled")
TYPES = ("uint32", "uint32", "int8")
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)

Rows = list[tuple[Any, ...]]


def table(shard: int) -> str:
    """Return the path of a shard's table."""
    return PATH.replace("{shard}", str(shard))


class Exporter:
    """Writes exports of a job whose list is in YT, and its section [export]."""

    def __init__(self, job: Job, yt: YtProxy) -> None:
        """Put the list into YT; nothing is exported yet."""
        self.job = job
        self.yt = yt
        self.columns: tuple[str, ...] = COLUMNS
        self.types: tuple[str | None, ...] = TYPES
        self.attributes: dict[str, Any] = {}
        self.keys: dict[str, Any] = {}
        yt.write(TABLE, ids=[])
        job.keep_list_in(yt)

    def configure(self, sections: Mapping[str, Mapping[str, Any]] | None = None, **keys: Any) -> None:
        """Configure the export; other sections are given by name."""
        export = {"path": PATH, "takes": "0s", **self.keys, **keys}
        self.job.configure(export=export, records={"dir": "records"}, **(sections or {}))

    def rows(self, shard: int) -> Rows:
        """Read what a shard holds now."""
        return sorted(self.job.shard_sql(shard, "SELECT ClientID, feature_id, is_enabled FROM clients_features"))

    def write(self, *, modified: datetime | None = None) -> None:
        """Export every shard as it is now."""
        for shard in self.job.shards:
            self.write_shard(shard, self.rows(shard), modified=modified)

    def write_shard(self, shard: int, rows: Iterable[tuple[Any, ...]], *, modified: datetime | None = None) -> None:
        """Write the table of one shard."""
        self.write_table(table(shard), rows, modified=modified)

    def write_together(self, *, column: str = "shard", modified: datetime | None = None) -> None:
        """Export all shards into one table, with the number of the shard in a column."""
        self.columns, self.types = (*COLUMNS, column), (*self.types[:3], "uint8" if self.types[0] else None)
        rows = [(*row, shard) for shard in self.job.shards for row in self.rows(shard)]
        self.write_table(ONE_TABLE, rows, modified=modified)

    def write_table(self, path: str, rows: Iterable[tuple[Any, ...]], *, modified: datetime | None = None) -> None:
        """Write any table with these columns; one without types is a table with a weak schema."""
        schema = [
            {"name": name, "type": kind}
            for name, kind in zip(self.columns, self.types, strict=True)
            if kind is not None
        ]
        content = [dict(zip(self.columns, row, strict=True)) for row in rows]
        version: dict[str, Any] = {"schema": schema, "strict": bool(schema), "extra": self.attributes}
        self.yt.write(path, rows=content, modified=modified or datetime.now(UTC), **version)

    def noted(self) -> str | None:
        """Read what the last apply noted."""
        rows = self.job.dict_sql("SELECT value FROM ppc_properties WHERE name = %s", LAST_APPLY)
        return rows[0][0] if rows else None

    def note(self, value: str | None) -> None:
        """Write the time of the last apply by hand; None removes it."""
        self.job.dict_sql("DELETE FROM ppc_properties WHERE name = %s", LAST_APPLY)
        if value is not None:
            self.job.dict_sql("INSERT INTO ppc_properties (name, value) VALUES (%s, %s)", LAST_APPLY, value)
