"""Sets of client ids: making them from millions of numbers, joining, splitting, counting, and naming in messages."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import msgspec
from pyroaring import BitMap, BitMap64

from chatsync.core.arrays import Ids, np

if TYPE_CHECKING:
    import numpy.typing as npt

    Number = TypeVar("Number", bound=np.integer[Any])

MAX_CLIENT_ID = 2**32 - 1  # clients_features.ClientID is INT UNSIGNED

MAX_LIST_ID = 2**63 - 1

DEFAULT_LIMIT = 20  # how many clients a table for people lists

# A 64-bit bitmap in the portable format is a list of 32-bit bitmaps. This is the start of a list with one
# entry, for key 0 (RoaringFormatSpec, "Extension for 64-bit implementations").
_ONE_BITMAP = struct.pack("<QI", 1, 0)
# How a 32-bit bitmap begins that has an array for each range of 65,536 ids, and how many ids an array may hold.
_ARRAYS_ONLY, _MOST_IN_AN_ARRAY = 12346, 4096

# So many ids of a set become numbers at once.
_MOST_AT_ONCE = 2_000_000

IdsByShard = Mapping[int, BitMap64]


def counted(count: int, noun: str) -> str:
    """Return a count with its noun: `1 client`, `2 clients`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def harmless(cell: str) -> str:
    """Return a cell that no spreadsheet takes for a formula (OWASP, "CSV Injection")."""
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell


def union(sets: Mapping[int, BitMap64]) -> BitMap64:
    """Join the sets of all shards."""
    return BitMap64().union(*sets.values())


def total(sets: Mapping[int, BitMap64]) -> int:
    """Count the ids of all shards."""
    return sum(map(len, sets.values()))


def storable(ids: BitMap64) -> BitMap64:
    """Return the ids that fit the databases' columns; no other id is used in a statement."""
    if not ids or ids.max() <= MAX_CLIENT_ID:
        return ids
    kept = BitMap64(ids)
    kept.remove_range(MAX_CLIENT_ID + 1, MAX_LIST_ID + 1)
    return kept


def count_of(sets: IdsByShard) -> int:
    """Count the ids that are in any of the sets, each once."""
    filled = [ids for ids in sets.values() if ids]
    if not filled:
        return 0
    numbers = numbers_of(*filled)
    return 1 + int(np.count_nonzero(numbers[1:] != numbers[:-1]))


def chunks(ids: BitMap64, size: int) -> Iterator[BitMap64]:
    """Split a set into pieces of at most `size` ids, in ascending order."""
    for start in range(0, len(ids), size):
        yield ids[start : start + size]


def number_blocks(ids: BitMap64, size: int) -> Iterator[npt.NDArray[np.uint64]]:
    """Yield the ids of a set as ascending numbers, at most `size` of them at once.

    A set is turned into numbers as a whole, unless it is very large: to cut a part out of it takes several times
    as long where ids are sparse.
    """
    for part in chunks(ids, _MOST_AT_ONCE) if len(ids) > _MOST_AT_ONCE else (ids,):
        numbers = np.frombuffer(part.to_array(), dtype=np.uint64)
        for start in range(0, len(numbers), size):
            yield numbers[start : start + size]


def some(ids: BitMap64, count: int = 3) -> str:
    """Format the first few ids of a set for a message."""
    first = ", ".join(str(number) for number in ids[:count])
    return f"{first}, …" if len(ids) > count else first


def are_among(ids: Ids, others: Ids) -> npt.NDArray[np.bool_]:
    """Tell of each id whether it is among the others. By sorting: to find out if a table would do takes longer."""
    return np.isin(ids, others, assume_unique=True, kind="sort")


def some_of(sets: IdsByShard, count: int = 3) -> str:
    """Format the first few ids of all shards. To join sparse sets as a whole takes as long as to read them."""
    return some(union({shard: ids[: count + 1] for shard, ids in sets.items()}), count)


def distinct(numbers: npt.NDArray[Number]) -> npt.NDArray[Number]:
    """Return each of some ascending numbers once. np.unique would load numpy.ma: 4 MB, and 20 ms of each run."""
    is_first = np.ones(len(numbers), bool)
    is_first[1:] = numbers[1:] != numbers[:-1]
    return numbers if is_first.all() else numbers[is_first]


def bitmap_of(numbers: npt.NDArray[np.integer[Any]]) -> BitMap64:
    """Make a set from numbers; 32-bit numbers become one several times faster."""
    is_small = not len(numbers) or bool(numbers.max() <= MAX_CLIENT_ID)
    numbers = numbers.astype(np.uint32 if is_small else np.uint64, copy=False)
    if not (numbers[1:] > numbers[:-1]).all():
        numbers = distinct(np.sort(numbers))
    if not is_small:
        return BitMap64(array("Q", numbers.tobytes()))
    return BitMap64.deserialize(_serialized(numbers.astype(np.uint32, copy=False)))


def _serialized(ids: Ids) -> bytes:
    """Write ascending ids in the portable format.

    Where they are sparse, which costs pyroaring most, it is their lower halves that are written, behind a list of the
    upper ones with how many ids each has.
    """
    upper = ids >> np.uint32(16)
    starts = np.flatnonzero(np.concatenate([upper[:1] >= 0, upper[1:] != upper[:-1]]))
    counts = np.diff(starts, append=len(ids))
    if not len(ids) or counts.max() > _MOST_IN_AN_ARRAY:
        return _ONE_BITMAP + bytes(BitMap(array("I", ids.tobytes())).serialize())
    described = np.stack([upper[starts], counts - 1], axis=1).astype("<u2")
    places = (8 + 8 * len(starts) + 2 * starts).astype("<u4")
    head = _ONE_BITMAP + struct.pack("<II", _ARRAYS_ONLY, len(starts))
    return b"".join([head, described.tobytes(), places.tobytes(), ids.astype("<u2").tobytes()])


def are_disjoint(sets: Iterable[BitMap64]) -> bool:
    """Tell whether no id is in two of the sets. To join bitmaps takes three times as long where ids are sparse."""
    numbers = np.concatenate([np.zeros(0, np.uint32), *map(numbers_of, sets)])
    numbers.sort()
    return len(distinct(numbers)) == len(numbers)


def union_of(parts: Iterable[npt.NDArray[np.integer[Any]]]) -> BitMap64:
    """Join the numbers of several parts in one set: all at once, as to add a part takes as long as it has ranges."""
    return bitmap_of(np.concatenate([np.zeros(0, np.uint32), *parts]))


def spelled(ids: Iterable[int]) -> str:
    """Write ids for a statement, `1, 2, 3`: numbers are nothing but digits, and to bind one takes ten times as long."""
    return msgspec.json.encode([*ids])[1:-1].decode().replace(",", ", ")


def without(ids: Ids, others: Ids) -> Ids:
    """Return the ids that are not among the others."""
    return ids[~are_among(ids, others)] if len(others) else ids


def numbers_of(*sets: BitMap64) -> Ids:
    """Return the ids of sets, ascending, as often as they are in one, and only those that the databases can hold."""
    parts = [np.frombuffer(storable(ids).to_array(), dtype=np.uint64).astype(np.uint32) for ids in sets]
    if len(parts) == 1:
        return parts[0]
    numbers = np.concatenate(parts)
    numbers.sort()
    return numbers


def place_of(client: int, ids: Ids) -> int:
    """Return how many ids are smaller. As a number of the same size: else numpy converts all of them first."""
    return int(ids.searchsorted(np.uint32(client))) if client <= MAX_CLIENT_ID else len(ids)


def positions(ids: Ids, among: Ids) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.bool_]]:
    """Return where each id is among others, and whether it is one of them."""
    at = among.searchsorted(ids)
    if not len(among):
        return at, np.zeros(len(ids), bool)
    return at, among.take(at, mode="clip") == ids


class Homes(NamedTuple):
    """Where clients live: their ids, ascending, and the shard of each."""

    ids: Ids
    shards: npt.NDArray[np.uint8]

    def where(self, chosen: npt.NDArray[np.bool_]) -> Homes:
        """Keep the chosen ones."""
        return Homes(self.ids[chosen], self.shards[chosen])

    def within(self, clients: range) -> Homes:
        """Keep those of a range of clients."""
        between = slice(place_of(clients.start, self.ids), place_of(clients.stop, self.ids))
        return Homes(self.ids[between], self.shards[between])

    def among(self, ids: Ids) -> Homes:
        """Keep those of these clients, which ascend."""
        at, is_there = positions(ids, self.ids)
        return Homes(self.ids[at[is_there]], self.shards[at[is_there]])

    def away_from(self, shard: int, ids: Ids) -> Ids:
        """Return those of some ascending clients that do not live on a shard."""
        at, is_home = positions(ids, self.ids)
        is_home[is_home] = self.shards[at[is_home]] == shard
        return ids[~is_home]

    def by_shard(self) -> dict[int, BitMap64]:
        """Return the clients of each shard that has any."""
        there = np.flatnonzero(np.bincount(self.shards))
        return {int(shard): bitmap_of(self.ids[self.shards == shard]) for shard in there}

    @classmethod
    def of(cls, homes: IdsByShard) -> Homes:
        """Take sets of clients by shard."""
        ids = np.concatenate([np.zeros(0, np.uint32), *map(numbers_of, homes.values())])
        order = ids.argsort()
        return cls(ids[order], np.repeat(np.array([*homes], np.uint8), [*map(len, homes.values())])[order])

    @classmethod
    def joined(cls, parts: Sequence[Homes]) -> Homes:
        """Join parts, of which each has larger ids than the one before."""
        if not parts:
            return cls(np.zeros(0, np.uint32), np.zeros(0, np.uint8))
        return cls(*map(np.concatenate, zip(*parts, strict=True)))
