"""The export as one version: the tables of all shards, locked together with the list, and their rows."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pyroaring import BitMap64

from chatsync.cancel_scope import CancelScope
from chatsync.config.settings import Settings
from chatsync.core import (
    ExclusionList,
    IdsByShard,
    LastApply,
    PlanExclusions,
    PlanExport,
    counted,
    format_time,
    list_part,
    live_elsewhere,
    union,
)
from chatsync.errors import SourceError
from chatsync.export.rows import ExportRows
from chatsync.progress import progress_bar
from chatsync.ytsaurus.export_table import ExportTable, lock_together

HERE = "this machine"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The differences between list and export, before they are confirmed in the databases.

    `turn_off` are listed clients that are off on no shard; `turn_on` are clients that are off but not listed,
    by the shard of the row. `off_count` is the number of clients that are off; `rows` are those of the export.
    """

    exclusions: PlanExclusions
    turn_off: BitMap64
    turn_on: IdsByShard
    off_count: int
    rows: Mapping[int, int]


class ExportSource:
    """The locked tables of an export: one for all shards, or one for each shard."""

    def __init__(self, settings: Settings, scope: CancelScope, cluster: Any) -> None:
        """Lock the tables in the transaction of the list; `cluster` is the cluster of the list.

        Raises SourceError with the shard and the table.
        """
        self.settings = settings
        self.cluster, self.scope = cluster, scope
        section = settings.export
        self._columns = [section.client, section.feature, section.enabled]
        if section.shard_column:
            self._columns.append(section.shard_column)
        self.shards = list(settings.databases.shards)
        self.tables: dict[tuple[int, ...], ExportTable] = {}
        names = [tuple(self.shards)] if section.shard_column else [(shard,) for shard in self.shards]
        for shards in names:
            self.tables[shards] = ExportTable(
                cluster,
                section.table_of(shards[0]),
                scope,
                columns=self._columns,
                time_attribute=section.time,
                of="" if section.shard_column else f"the export of shard {shards[0]}, ",
            )
        lock_together(cluster.client, list(self.tables.values()), scope)
        self._check_tables()
        self.as_of: datetime = min(table.modified for table in self.tables.values()) - timedelta(seconds=section.takes)
        self.source = cluster.place(section.path)

    def _check_tables(self) -> None:
        """Raise SourceError for an empty table, and for a table that is used for two shards."""
        nodes: dict[str, Sequence[int]] = {}
        for shards, table in self.tables.items():
            other = nodes.setdefault(table.node, shards)
            if other != shards:
                raise SourceError(f"it is the table of shard {other[0]} as well; check the links", where=str(table))
            if table.row_count == 0:
                raise SourceError("the table is empty, but a shard is never empty", where=str(table))

    def shape(self) -> str:
        """Return how many tables and rows there are, and the types of their columns."""
        tables = list(self.tables.values())
        columns = ", ".join(f"{name} {kind or 'of any type'}" for name, kind in tables[0].kinds.items())
        rows = sum(table.row_count or 0 for table in tables)
        return f"{self.source}: {counted(len(tables), 'table')}, {rows} rows, {columns}"

    def part(self, last_apply: LastApply | None) -> PlanExport:
        """Return the description of the export for a plan."""
        return PlanExport(
            source=self.source,
            as_of=format_time(self.as_of),
            revisions={shard: table.revision for shards, table in self.tables.items() for shard in shards},
            rows={},
            compared_by=self.compared_by,
            last_apply=str(last_apply) if last_apply else None,
        )

    @property
    def compared_by(self) -> str:
        """What compares the export with the list."""
        return HERE

    def check(self, feature_id: int) -> None:
        """Raise SourceError if what compares cannot do it; this machine always can."""

    def compare(self, unread: PlanExclusions, read_list: Callable[[], ExclusionList], *, feature_id: int) -> Comparison:
        """Read the list and the export, and compare them on this machine.

        `unread` is what is known of the list without reading it. Raises SourceError if one of the two is incomplete.
        """
        del unread
        listed = read_list()
        with progress_bar("reading the export", sum(table.row_count or 0 for table in self.tables.values())) as advance:
            found = [self._read(shards, table, feature_id, advance) for shards, table in self.tables.items()]
        off = {shard: ids for rows in found for shard, ids in rows.off.items()}
        count = {shard: rows for one in found for shard, rows in one.rows.items()}
        ours = {shard: rows for one in found for shard, rows in one.ours.items()}
        self.check_rows(count, ours, feature_id)
        everybody = union(off)
        return Comparison(
            exclusions=list_part(listed.version, listed, self.settings.limits.must_contain),
            turn_off=listed.id_set - everybody,
            turn_on={shard: ids - listed.id_set for shard, ids in off.items()},
            off_count=len(everybody),
            rows=count,
        )

    def sample(self, feature_id: int, *, most: int) -> tuple[int, int] | None:
        """Read the first rows of the first table; return how many these are, and how many are of the feature.

        None for a dynamic table, whose rows have no numbers.
        """
        shards, table = next(iter(self.tables.items()))
        if table.is_dynamic:
            return None
        found = self._read(shards, table, feature_id, lambda _: None, most=most)
        return sum(found.rows.values()), sum(found.ours.values())

    def check_rows(self, rows: Mapping[int, int], ours: Mapping[int, int], feature_id: int) -> None:
        """Raise SourceError for a shard without a row, and for an export without a row of the feature."""
        empty = [shard for shard in self.shards if not rows.get(shard)]
        if empty:
            raise SourceError(f"it has no row of shard {empty[0]}; is it complete?", where=self.source)
        if not sum(ours.values()):
            raise SourceError(
                f"none of its {sum(rows.values())} rows is of feature {feature_id}",
                where=self.source,
                way_out="check export.feature, or whether it is an export of clients_features",
            )

    def check_homes(self, found: IdsByShard, homes: IdsByShard) -> None:
        """Raise SourceError if most clients in a table live on another shard."""
        for shard, ids in sorted(found.items()):
            if elsewhere := live_elsewhere(shard, ids, homes):
                raise SourceError(f"the rows of shard {shard} are of another shard: {elsewhere}", where=self.source)

    def _read(
        self,
        shards: tuple[int, ...],
        table: ExportTable,
        feature_id: int,
        progress: Callable[[int], None],
        *,
        most: int | None = None,
    ) -> ExportRows:
        rows: list[ExportRows] = []
        where = str(table)

        def begin() -> Callable[[Sequence[Any]], None]:
            rows[:] = [ExportRows(feature_id, shards, columns=self._columns, where=where)]
            return rows[0].take

        table.read(begin, progress, most=most)
        rows[0].check_doubles()
        off, count = sum(map(len, rows[0].off.values())), sum(rows[0].rows.values())
        logger.info("%s: %d rows, %s off", where, count, counted(off, "client"), extra={"rows": count, "off": off})
        return rows[0]
