"""The values of a diff: the list as it was read, and what differs. Pure; see `comparison` for how it is found."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from pyroaring import BitMap64

from chatsync.core.client_sets import IdsByShard
from chatsync.core.off_rows import OffRows
from chatsync.core.sorted_ids import SortedIds


@dataclass(frozen=True, kw_only=True)
class Rejected:
    """A row of the list that holds no client id: its number, what it holds, and why that is no id.

    There is no number where a clique has compared: it knows none.
    """

    row: int | None
    value: str
    reason: str


Keep = Callable[[Rejected], None]
"""Is told of every rejected row of a list, with the whole value."""


@dataclass(frozen=True, kw_only=True)
class ListVersion:
    """One version of the exclusion list: what is known before its rows are read.

    `rows` is None for a file, because its rows are not counted yet.
    """

    source: str
    modified: datetime
    revision: int | None
    rows: int | None


@dataclass(frozen=True, kw_only=True)
class ExclusionList:
    """One version of the exclusion list, read completely.

    `rows` = `len(ids)` + `duplicates` + `rejected_count`; `rejected` holds the first rejected rows. The ids of
    a list that came by the megabyte are sorted ones.
    """

    version: ListVersion
    rows: int
    ids: BitMap64 | SortedIds
    duplicates: int = 0
    rejected: tuple[Rejected, ...] = ()
    rejected_count: int = 0

    @property
    def id_set(self) -> BitMap64:
        """The ids as a bitmap, for those who compute with it."""
        return self.ids.bitmap if isinstance(self.ids, SortedIds) else self.ids


@dataclass(frozen=True, kw_only=True)
class Diff:
    """The clients to turn off and on, each on the shard where it lives, and the clients and rows that are ignored.

    `unknown` are listed clients that live on no shard. `strays` are, for each shard, the off rows of
    clients that do not live there. `off_before` are all off rows of each shard.
    """

    turn_off: IdsByShard
    turn_on: IdsByShard
    unknown: BitMap64
    strays: Mapping[int, OffRows]
    off_before: Mapping[int, OffRows]

    @property
    def off_now(self) -> int:
        """How many clients are off: only the row on the shard where a client lives counts."""
        return sum(rows.count for rows in self.off_before.values()) - sum(rows.count for rows in self.strays.values())


def strays_of(off: IdsByShard, homes: IdsByShard) -> dict[int, OffRows]:
    """Return, for each shard that has any, the off rows of clients that do not live there."""
    strays = {shard: ids - homes.get(shard, BitMap64()) for shard, ids in off.items()}
    return {shard: OffRows.of(ids) for shard, ids in sorted(strays.items()) if ids}
