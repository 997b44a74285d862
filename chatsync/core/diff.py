"""The diff: the list's values, and the comparison of the list with the feature state. Pure."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from pyroaring import BitMap64

from chatsync.core.client_sets import IdsByShard, some, union
from chatsync.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Rejected:
    """A row of the list that holds no client id: where it stands, what it holds, why not."""

    row: int
    value: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class ListVersion:
    """One version of the exclusion list, as known before a row of it is read.

    `rows` is None for a file, whose rows nobody has counted by then.
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
    """Who is to be turned off and on, by shard, and who lives nowhere."""

    off_now: int
    turn_off: IdsByShard = field(default_factory=dict)
    turn_on: IdsByShard = field(default_factory=dict)
    unknown: BitMap64 = field(default_factory=BitMap64)


def compute_diff(listed: BitMap64, off: IdsByShard, homes_of: Callable[[BitMap64], IdsByShard]) -> Diff:
    """Compare the list with the feature state.

    `off` has one entry for each configured shard. `homes_of` looks up, in `shard_client_id`, where
    the listed clients live that are off on no shard. One without a home is unknown, which is no
    error; a home that `off` lacks raises ConfigError, for then a whole shard was forgotten.
    """
    wanted = listed.difference(*off.values())
    homes = homes_of(wanted)
    forgotten = sorted(set(homes) - set(off))
    if forgotten:
        shard = forgotten[0]
        msg = (
            f"shard {shard} is missing from databases.shards: {len(homes[shard])} listed clients "
            f"live there ({some(homes[shard])}); add it to the configuration"
        )
        raise ConfigError(msg)
    turn_on = {shard: off[shard] - listed for shard in sorted(off)}
    return Diff(
        # All that are off, counted without joining the sets of all shards: listed or to be turned on.
        off_now=len(listed) - len(wanted) + len(union(turn_on)),
        turn_off={shard: homes.get(shard, BitMap64()) & wanted for shard in sorted(off)},
        turn_on=turn_on,
        unknown=wanted - union(homes),
    )
