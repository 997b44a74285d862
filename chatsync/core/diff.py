"""The diff: the list's values, and the comparison of the list with the feature state. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from pyroaring import BitMap64

from chatsync.core.client_sets import IdsByShard, counted, some, union
from chatsync.core.off_rows import OffRows
from chatsync.errors import ConfigError

# A client that moves leaves its row behind: a few clients of other shards are normal on any shard. It takes so many
# to speak of a wrong shard, where none of the clients found there live there, and where only the smaller part does.
_ALL = 5
_MOST = 20


@dataclass(frozen=True, kw_only=True)
class Rejected:
    """A row of the list that holds no client id: its number, what it holds, and why that is no id."""

    row: int
    value: str
    reason: str


Keep = Callable[[Rejected], None]
"""Is told of every rejected row of a list, with the whole value."""


@dataclass(frozen=True, kw_only=True)
class ListVersion:
    """One version of the exclusion list, as known before a row of it is read.

    `rows` is None for a file, whose rows are not counted by then.
    """

    source: str
    modified: datetime
    revision: int | None
    rows: int | None


@dataclass(frozen=True, kw_only=True)
class ExclusionList:
    """One version of the exclusion list, read whole.

    `rows` = `len(ids)` + `duplicates` + `rejected_count`; `rejected` holds the first of them.
    """

    version: ListVersion
    rows: int
    ids: BitMap64
    duplicates: int = 0
    rejected: tuple[Rejected, ...] = ()
    rejected_count: int = 0


@dataclass(frozen=True, kw_only=True)
class Diff:
    """Which clients are to be turned off and on, each on the shard where it lives, and what counts for nothing.

    `unknown` are listed clients that live on no shard. `strays` are, by shard, the rows that say off of
    clients that do not live there. `off_before` are all off rows of each shard.
    """

    turn_off: IdsByShard
    turn_on: IdsByShard
    unknown: BitMap64
    strays: Mapping[int, OffRows]
    off_before: Mapping[int, OffRows]

    @property
    def off_now(self) -> int:
        """How many clients are off: their row on the shard where they live says so."""
        return sum(rows.count for rows in self.off_before.values()) - sum(rows.count for rows in self.strays.values())


def compute_diff(listed: BitMap64, off: IdsByShard, homes: IdsByShard) -> Diff:
    """Compare the list with the feature state.

    `off` are the rows that say off, with an entry for each configured shard. `homes` are all clients
    that are listed or have such a row, by the shard where they live; only the row there counts. A
    listed client on no shard is unknown, which is no error. Raises ConfigError for a client that lives
    on a shard that `off` lacks: that shard is missing from the configuration.
    """
    _check_shards(off, homes)
    none = BitMap64()
    at_home = {shard: off[shard] & homes.get(shard, none) for shard in sorted(off)}
    return Diff(
        turn_off={shard: (listed & homes.get(shard, none)) - off[shard] for shard in at_home},
        turn_on={shard: at_home[shard] - listed for shard in at_home},
        unknown=listed - union(homes),
        strays=strays_of(off, at_home),
        off_before={shard: OffRows.of(off[shard]) for shard in at_home},
    )


def strays_of(off: IdsByShard, homes: IdsByShard) -> dict[int, OffRows]:
    """Return the off rows on each shard of clients that do not live there, where there are any."""
    strays = {shard: ids - homes.get(shard, BitMap64()) for shard, ids in off.items()}
    return {shard: OffRows.of(ids) for shard, ids in sorted(strays.items()) if ids}


def _check_shards(off: IdsByShard, homes: IdsByShard) -> None:
    for shard in sorted(set(homes) - set(off)):
        if homes[shard]:
            which = f"{counted(len(homes[shard]), 'client')}, listed or off ({some(homes[shard])})"
            raise ConfigError(
                f"shard {shard} is missing from databases.shards, and {which} live on it; add it to the configuration"
            )


def live_elsewhere(shard: int, found: BitMap64, homes: IdsByShard) -> str:
    """Return where most of the clients found on a shard live; empty if that is there, as it should be.

    `homes` holds the shards of these clients, as shard_client_id has them. A shard where most clients
    live elsewhere is another one than its number says. One that no client lives on was emptied, and
    nothing is written there.
    """
    inhabitants = homes.get(shard, BitMap64())
    at_home = len(found & inhabitants)
    others = {other: found & ids for other, ids in homes.items() if other != shard}
    elsewhere = sum(map(len, others.values()))
    if not inhabitants or elsewhere < (_MOST if at_home else _ALL) or elsewhere <= at_home:
        return ""
    nearest = max(others, key=lambda other: len(others[other]))
    ids = others[nearest]
    return f"{len(ids)} of {at_home + elsewhere} clients found there live on shard {nearest} ({some(ids)})"
