"""The ids of a large list: read from text by the megabyte, and kept as ascending numbers."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from pyroaring import BitMap64

from chatsync.core.arrays import Ids, np
from chatsync.core.client_sets import MAX_CLIENT_ID, MAX_LIST_ID, bitmap_of, distinct, numbers_of, place_of

if TYPE_CHECKING:
    import numpy.typing as npt

# So many numbers are gathered, 64 MB, before doubles are dropped; and so many become a bitmap at once.
_MOST_GATHERED = 16_000_000
_BLOCK = 1_000_000


class SortedIds:
    """The ids of a large list: ascending numbers of four bytes each, however they are spread, and those above them.

    Where ids are sparse, a bitmap takes as long to make as the numbers take to sort, and counting those below a
    number takes a thousand times as long.
    """

    def __init__(self, numbers: Ids, larger: BitMap64) -> None:
        """Take the ids that the databases' columns can hold, and the `larger` ones."""
        self.numbers = numbers
        self.larger = larger

    @classmethod
    def of(cls, ids: BitMap64 | SortedIds) -> SortedIds:
        """Take ids in either form."""
        if isinstance(ids, SortedIds):
            return ids
        larger = BitMap64(ids)
        larger.remove_range(0, MAX_CLIENT_ID + 1)
        return cls(numbers_of(ids), larger)

    def __len__(self) -> int:
        """Count them."""
        return len(self.numbers) + len(self.larger)

    def __contains__(self, client: int) -> bool:
        """Tell whether an id is one of them."""
        if client > MAX_CLIENT_ID:
            return client in self.larger
        at = place_of(client, self.numbers)
        return at < len(self.numbers) and int(self.numbers[at]) == client

    @cached_property
    def bitmap(self) -> BitMap64:
        """The same ids as a bitmap, made when it is first asked for."""
        ids = BitMap64(self.larger)
        for start in range(0, len(self.numbers), _BLOCK):
            ids |= bitmap_of(self.numbers[start : start + _BLOCK])
        return ids


class IdGatherer:
    """Makes a set of numbers that come by the megabyte, in any order: they are kept, and sorted together at the end."""

    def __init__(self) -> None:
        """Start with no number."""
        self._larger = BitMap64()
        self._numbers = np.empty(0, np.uint32)
        self._count = 0
        self._most = _MOST_GATHERED

    def add(self, numbers: npt.NDArray[np.int64]) -> None:
        """Take numbers from 0 to 2^63 - 1, doubles included."""
        if len(numbers) and numbers.max() > MAX_CLIENT_ID:
            is_large = numbers > MAX_CLIENT_ID
            self._larger |= bitmap_of(numbers[is_large])
            numbers = numbers[~is_large]
        if self._count + len(numbers) > self._most:
            self._fold()
            self._most = max(self._most, 2 * self._count, self._count + len(numbers))
        end = self._count + len(numbers)
        if end > len(self._numbers):
            self._numbers.resize(max(end, min(2 * len(self._numbers), self._most)), refcheck=False)
        self._numbers[self._count : end] = numbers
        self._count = end

    def ids(self) -> SortedIds:
        """Return all numbers taken so far, each once."""
        self._fold()
        return SortedIds(self._numbers[: self._count], self._larger)

    def _fold(self) -> None:
        """Sort the numbers and drop the doubles, in place."""
        numbers = self._numbers[: self._count]
        numbers.sort()
        kept = distinct(numbers)
        if len(kept) < self._count:
            self._numbers[: len(kept)] = kept
            self._count = len(kept)


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
