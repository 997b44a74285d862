"""The rules: what the diff is, what the mod-time allows, and when a plan is no longer true.

Pure: no files, no network, no clock. Whoever calls brings what was read and what time it is.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from pyroaring import BitMap64

from chatsync.core.modtime import format_time, until
from chatsync.errors import ConfigError, DisabledError, OutOfDateError

MAX_CLIENT_ID = 2**32 - 1  # clients_features.ClientID is INT UNSIGNED
MAX_LIST_ID = 2**63 - 1

IdsByShard = Mapping[int, BitMap64]


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
class DictState:
    """What the dict database knows, read in one statement: feature, mod-time and its own clock."""

    feature_id: int
    modtime: datetime | None
    now: datetime


@dataclass(frozen=True, kw_only=True)
class Diff:
    """Who is to be turned off and on, by shard, and who lives nowhere."""

    off_now: int
    turn_off: IdsByShard = field(default_factory=dict)
    turn_on: IdsByShard = field(default_factory=dict)
    unknown: BitMap64 = field(default_factory=BitMap64)


def union(sets: Mapping[int, BitMap64]) -> BitMap64:
    """Join the sets of all shards."""
    return BitMap64().union(*sets.values())


def total(sets: Mapping[int, BitMap64]) -> int:
    """Count the ids of all shards."""
    return sum(map(len, sets.values()))


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


def storable(ids: BitMap64) -> BitMap64:
    """Keep the ids that the databases' columns can hold; only these ever reach a statement."""
    kept = BitMap64(ids)
    kept.remove_range(MAX_CLIENT_ID + 1, MAX_LIST_ID + 1)
    return kept


def chunks(ids: BitMap64, size: int) -> Iterator[BitMap64]:
    """Cut a set into ascending pieces of at most `size` ids."""
    for start in range(0, len(ids), size):
        yield ids[start : start + size]


def some(ids: BitMap64, count: int = 3) -> str:
    """Name a few clients of a set, for messages."""
    first = ", ".join(str(number) for number in ids[:count])
    return f"{first}, …" if len(ids) > count else first


def disabled_message(modtime: datetime) -> str:
    """Say that the job is switched off, until when, and how to switch it on."""
    return (
        f"the job is disabled {until(modtime)} by its mod-time, {format_time(modtime)}; "
        "`chatsync set-modtime --reset` switches it on again"
    )


def check_modtime(*, seen: datetime | None, state: DictState, list_time: datetime) -> None:
    """Let a run go on only while the mod-time is what its `diff` saw.

    Raises DisabledError for a time in the future of the dict database's clock, and
    OutOfDateError when somebody moved the mod-time since, or when a later list than the
    plan's was synced already.
    """
    modtime = state.modtime
    if modtime is not None and modtime > state.now:
        raise DisabledError(disabled_message(modtime))
    if modtime != seen:
        was, now = (format_time(value) if value else "not set" for value in (seen, modtime))
        raise OutOfDateError(f"the mod-time was {was} and is now {now}")
    if modtime is not None and modtime > list_time:
        listed, synced = format_time(list_time), format_time(modtime)
        raise OutOfDateError(
            f"its list is of {listed}, and by the mod-time one of {synced} is synced",
            way_out="if that is wrong, `chatsync set-modtime --reset`",
        )
