"""The off rows of a shard as a count and an additive hash: what a plan expects to find on a shard. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Self

import msgspec
from pyroaring import BitMap64

from chatsync.core.arrays import np
from chatsync.core.client_sets import counted, number_blocks

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from chatsync.core.arrays import Ids

# The hash is two XORs over all ids, of `id * SPREAD` and of `((id * SPREAD >> 32) + id) * MIX`. The first is different
# for every id; the carries of the addition make the second one non-linear. With these factors no product of a 32-bit id
# reaches 2^63, so MySQL, MariaDB, SQLite and numpy all compute the same values.
SPREAD = 1_821_285_621
MIX = 625_341_585

# Bounds the memory for ids as numbers of 64 bits: some 25 bytes each.
_CHUNK = 100_000


class OffRows(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The number of off rows, and the hash of their client ids in 32 hexadecimal digits."""

    count: Annotated[int, msgspec.Meta(ge=0)]
    hash: Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{32}\Z")]

    @classmethod
    def from_xors(cls, count: int, spread: int, mix: int) -> Self:
        """Make the value from what a server computed over its rows."""
        return cls(count=count, hash=f"{spread:016x}{mix:016x}")

    @classmethod
    def of(cls, ids: BitMap64 | Ids) -> Self:
        """Compute the value for a set of ids."""
        return cls.from_xors(len(ids), *_xors(ids))

    def plus(self, ids: BitMap64) -> OffRows:
        """Return these rows with the rows of other clients added."""
        return self._changed(ids, len(ids))

    def minus(self, ids: BitMap64) -> OffRows:
        """Return these rows without those of `ids`, all of which must be among them."""
        return self._changed(ids, -len(ids))

    def _changed(self, ids: BitMap64, count: int) -> OffRows:
        change = OffRows.of(ids)
        return OffRows(count=self.count + count, hash=f"{int(self.hash, 16) ^ int(change.hash, 16):032x}")


def _xors(ids: BitMap64 | Ids) -> tuple[int, int]:
    spread = mix = 0
    for numbers in _blocks(ids):
        products = numbers * np.uint64(SPREAD)
        spread ^= int(np.bitwise_xor.reduce(products))
        mix ^= int(np.bitwise_xor.reduce(((products >> np.uint64(32)) + numbers) * np.uint64(MIX)))
    return spread, mix


def _blocks(ids: BitMap64 | Ids) -> Iterator[npt.NDArray[np.uint64]]:
    if isinstance(ids, BitMap64):
        yield from number_blocks(ids, _CHUNK)
    else:
        for start in range(0, len(ids), _CHUNK):
            yield ids[start : start + _CHUNK].astype(np.uint64)


@dataclass(frozen=True, kw_only=True)
class Deviation:
    """The difference between the off rows of a shard and those that a plan expects.

    `undone` are the plan's own changes that have not been made. `surplus` is how many more of the other
    clients are off than `diff` saw (negative: fewer). `are_others` is true if the set of these clients
    changed at all, which is possible with a surplus of 0.
    """

    undone: int
    surplus: int
    are_others: bool

    def __str__(self) -> str:
        """Return how many of the other clients are too many or missing."""
        if self.surplus > 0:
            return f"{counted(self.surplus, 'other client')} too many"
        if self.surplus < 0:
            return f"{counted(-self.surplus, 'other client')} missing"
        return "as many other clients, but not the same ones"


def deviation(*, before: OffRows, now: OffRows, turn_off: BitMap64, turn_on: BitMap64, off_now: BitMap64) -> Deviation:
    """Compare a shard with what `diff` saw, leaving out the plan's own clients; `off_now` are those of them now off."""
    others_before, others_now = before.minus(turn_on), now.minus(off_now)
    return Deviation(
        undone=len(turn_off - off_now) + len(turn_on & off_now),
        surplus=others_now.count - others_before.count,
        are_others=others_now != others_before,
    )
