"""Sets of client ids: making them from millions of numbers, joining, splitting, counting, and naming in messages."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from pyroaring import BitMap, BitMap64

from chatsync.core.arrays import Ids, np

if TYPE_CHECKING:
    import numpy.typing as npt

MAX_CLIENT_ID = 2**32 - 1  # clients_features.ClientID is INT UNSIGNED

MAX_LIST_ID = 2**63 - 1

DEFAULT_LIMIT = 20  # how many clients a table for people lists

# A 64-bit bitmap in the portable format is a list of 32-bit bitmaps. This is the start of a list with one
# entry, for key 0 (RoaringFormatSpec, "Extension for 64-bit implementations").
_ONE_BITMAP = struct.pack("<QI", 1, 0)

# How many numbers are gathered at most, 64 MB, and how many of them become a set at once.
_MOST_GATHERED = 16_000_000
_BLOCK = 1_000_000
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
    kept = BitMap64(ids)
    kept.remove_range(MAX_CLIENT_ID + 1, MAX_LIST_ID + 1)
    return kept


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


class IdGatherer:
    """Makes a set of numbers that come by the megabyte, in any order.

    They are kept as plain numbers at first, and sorted together: where ids are sparse, adding a few hundred thousand
    to a set of ten million takes as long as making that set.
    """

    def __init__(self) -> None:
        """Start with no number."""
        self._set = BitMap64()
        self._numbers = np.empty(0, np.uint32)
        self._count = 0

    def add(self, numbers: npt.NDArray[np.int64]) -> None:
        """Take numbers from 0 to 2^63 - 1, doubles included."""
        if len(numbers) and numbers.max() > MAX_CLIENT_ID:
            self._set |= bitmap_of(numbers)
            return
        if self._count + len(numbers) > _MOST_GATHERED:
            self._fold()
        end = self._count + len(numbers)
        if end > len(self._numbers):
            self._numbers.resize(max(end, min(2 * len(self._numbers), _MOST_GATHERED)), refcheck=False)
        self._numbers[self._count : end] = numbers
        self._count = end

    def set(self) -> BitMap64:
        """Return the set of all numbers taken so far."""
        self._fold()
        return self._set

    def _fold(self) -> None:
        numbers = self._numbers[: self._count]
        numbers.sort()
        self._set |= union_of(numbers[start : start + _BLOCK] for start in range(0, len(numbers), _BLOCK))
        del numbers
        self._numbers, self._count = np.empty(0, np.uint32), 0


def parse_lines(lines: bytes) -> npt.NDArray[np.int64] | None:
    r"""Read whole lines of one id each, all ended by `\n`, in their order and with doubles.

    Returns None when any line is not an id below 2^63 - 1. Numpy alone would accept signs, spaces and
    empty lines, and would turn larger numbers into 2^63 - 1.
    """
    if lines.translate(None, b"0123456789\n"):
        return None
    numbers = np.fromstring(lines, dtype=np.int64, sep="\n")
    count = np.count_nonzero(np.frombuffer(lines, dtype="u1") == ord("\n"))
    if len(numbers) != count or not numbers.all() or (count and numbers.max() == MAX_LIST_ID):
        return None
    return numbers


def bitmap_of(numbers: npt.NDArray[np.integer[Any]]) -> BitMap64:
    """Make a set from numbers; sorted numbers and 32-bit numbers are added several times faster."""
    is_small = not len(numbers) or bool(numbers.max() <= MAX_CLIENT_ID)
    numbers = numbers.astype("u4" if is_small else "u8", copy=False)
    if not (numbers[1:] >= numbers[:-1]).all():
        numbers = np.sort(numbers)
    if not is_small:
        return BitMap64(array("Q", numbers.tobytes()))
    return BitMap64.deserialize(_ONE_BITMAP + BitMap(array("I", numbers.tobytes())).serialize())


def union_of(parts: Iterable[npt.NDArray[np.integer[Any]]]) -> BitMap64:
    """Join the numbers of several parts in one set."""
    joined = BitMap64()
    for part in parts:
        joined |= bitmap_of(part)
    return joined


def numbers_of(ids: BitMap64) -> Ids:
    """Return the ids of a set that the databases' columns can hold, ascending."""
    return np.frombuffer(storable(ids).to_array(), dtype=np.uint64).astype(np.uint32)


class Homes(NamedTuple):
    """Where clients live: their ids, ascending, and the shard of each."""

    ids: Ids
    shards: npt.NDArray[np.uint8]

    def where(self, chosen: npt.NDArray[np.bool_]) -> Homes:
        """Keep the chosen ones."""
        return Homes(self.ids[chosen], self.shards[chosen])

    def among(self, ids: Ids) -> Homes:
        """Keep those of these clients."""
        return self.where(np.isin(self.ids, ids, assume_unique=True))

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
