"""The comparison of the list with the feature state, range by range, while the homes of clients are read. Pure.

Ids are ascending arrays of 32-bit numbers, four bytes each, dense or sparse. Bitmaps of the off rows of many shards
would take up to a hundred bytes for each id if ids are sparse.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from pyroaring import BitMap64

from chatsync.core.arrays import Ids, np
from chatsync.core.client_sets import (
    MAX_CLIENT_ID,
    Homes,
    counted,
    distinct,
    numbers_of,
    place_of,
    positions,
    some,
    union,
    union_of,
)
from chatsync.core.diff import Diff
from chatsync.core.in_step import SHARDS, Rows, separate
from chatsync.core.off_rows import OffRows
from chatsync.core.sorted_ids import SortedIds
from chatsync.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy.typing as npt

    from chatsync.core.client_sets import IdsByShard

# When a client moves, its row stays on the old shard, so a few clients of other shards are normal on any shard. These
# are the smallest numbers that show a wrong shard: if no client found there lives there, and if less than half do.
_ALL, _MOST = 5, 20

# So many entries become a piece at once where all homes are known: 200,000 take 5 MB on the way, 14 MB as one piece.
_AT_ONCE = 50_000
_NOWHERE = -1
_LISTED, _OFF_AT_HOME, _OFF, _FOUND = 1, 2, 4, 8


class Piece(NamedTuple):
    """The result for a range of clients. `strays` are rows of clients that live on another shard, or on none."""

    turn_off: Homes
    turn_on: Homes
    unknown: Ids
    forgotten: Homes
    inhabited: npt.NDArray[np.bool_]
    at_home: npt.NDArray[np.int64]
    strays: Rows
    stray_homes: npt.NDArray[np.int16]


class Sides:
    """The list and the rows of every shard, to be compared range by range when the homes of a range are known.

    A side is the list or one shard. `off` are the clients whose rows say off, with an entry for each configured
    shard. `found` are some clients with other rows there: they only help to detect a URL that leads to the wrong
    shard. A client that is on two sides counts as two entries.
    """

    def __init__(
        self,
        listed: BitMap64 | SortedIds,
        off: Mapping[int, Ids],
        found: Mapping[int, BitMap64] | None = None,
        *,
        with_list: bool = True,
    ) -> None:
        """Take all sides as they were read.

        `with_list` is false where the list does not matter, only where clients live: `listed` are then further clients
        to look for, those that are off at home need no more than to be counted, and there is no `diff`.
        """
        self._with_list = with_list
        ids = SortedIds.of(listed)
        self._listed, self._too_large = ids.numbers, ids.larger  # no database can hold the latter
        self._shards = sorted(off)
        self._off = [off[shard] for shard in self._shards]
        found = found or {}
        self._found = [_without(numbers_of(found.get(shard, BitMap64())), off[shard]) for shard in self._shards]

    def __len__(self) -> int:
        """Count the entries with ids that a database can hold."""
        return self.below(MAX_CLIENT_ID + 1)

    def below(self, client: int) -> int:
        """Count the entries with a smaller id."""
        return sum(place_of(client, ids) for ids in (self._listed, *self._off, *self._found))

    def cut(self, count: int, *, start: int = 0) -> int:
        """Return the id with `count` entries between `start` and itself."""
        wanted = self.below(start) + count
        return bisect_left(range(MAX_CLIENT_ID + 1), wanted, lo=start, key=self.below)

    def parts(self, count: int) -> list[range]:
        """Divide all ids that a database can hold into so many ranges with about as many entries each."""
        bounds = [0, *(self.cut(len(self) * part // count) for part in range(1, count)), MAX_CLIENT_ID + 1]
        return [range(*both) for both in pairwise(bounds)]

    def ids(self, clients: range) -> Ids:
        """Return the clients of a range that are on any side."""
        ids = np.concatenate([_within(ids, clients) for ids in (self._listed, *self._off, *self._found)])
        ids.sort()
        return distinct(ids)

    def compare(self, clients: range, homes: Homes) -> Piece:
        """Compare one range of clients; `homes` has all of them that live on a shard, and may have others.

        The clients in step, which most are, are only counted.
        """
        listed = _within(self._listed, clients)
        off, found = ([_within(ids, clients) for ids in side] for side in (self._off, self._found))
        parts = separate(homes, listed, off, found, shards=self._shards, with_list=self._with_list)
        piece = self._compare(parts.homes, parts.listed, parts.rows)
        piece.at_home[:] += parts.in_step
        for shard, count in zip(self._shards, parts.in_step, strict=True):
            if count:
                piece.inhabited[shard] = True
        return piece

    def away(self, clients: range, homes: Homes) -> dict[int, Ids]:
        """Return those of a range that are off where they do not live, by shard; nothing else is compared."""
        sides = zip(self._shards, self._off, strict=True)
        return {shard: homes.away_from(shard, _within(off, clients)) for shard, off in sides}

    def _compare(self, homes: Homes, listed: Ids, rows: Rows) -> Piece:
        marks = np.zeros(len(homes.ids), np.uint8)
        at, is_known = positions(listed, homes.ids)
        marks[at[is_known]] = _LISTED
        row_at, row_known = positions(rows.ids, homes.ids)
        row_homes = np.full(len(rows.ids), _NOWHERE, np.int16)
        row_homes[row_known] = homes.shards[row_at[row_known]]
        is_home = row_homes == np.array(self._shards, np.int64)[rows.places]
        for mark, chosen in ((_OFF_AT_HOME, rows.off & is_home), (_OFF, rows.off & row_known), (_FOUND, row_known)):
            marks[row_at[chosen]] |= mark  # a client counts once, however many rows it has
        listed_only, off_only = (marks & (_LISTED | _OFF_AT_HOME)) == _LISTED, (marks & _LISTED) == 0
        forgotten = ((marks & (_LISTED | _OFF)) > 0) & ~np.isin(homes.shards, self._shards)
        return Piece(
            turn_off=homes.where(listed_only),
            turn_on=homes.where(off_only & ((marks & _OFF_AT_HOME) > 0)),
            unknown=listed[~is_known],
            forgotten=homes.where(forgotten),
            inhabited=np.bincount(homes.shards[marks > 0], minlength=SHARDS) > 0,
            at_home=np.bincount(rows.places[is_home], minlength=len(self._shards)),
            strays=rows.where(~is_home),
            stray_homes=row_homes[~is_home],
        )

    def diff(self, pieces: Sequence[Piece]) -> Diff:
        """Join the pieces into a diff.

        A listed client on no shard is unknown, which is not an error. Raises ConfigError for a client that lives on
        a shard that is missing from the configuration.
        """
        self._check_shards(pieces)
        return Diff(
            turn_off=self._by_shard([piece.turn_off for piece in pieces]),
            turn_on=self._by_shard([piece.turn_on for piece in pieces]),
            unknown=self.unknown(pieces),
            strays={shard: OffRows.of(ids) for shard, ids in self.strays(pieces).items() if ids},
            off_before={shard: OffRows.of(ids) for shard, ids in zip(self._shards, self._off, strict=True)},
        )

    def strays(self, pieces: Sequence[Piece]) -> dict[int, BitMap64]:
        """Return the clients that are off on a shard where they do not live, by shard."""
        return self._by_place([piece.strays.where(piece.strays.off) for piece in pieces])

    def elsewhere(self, pieces: Sequence[Piece]) -> dict[int, BitMap64]:
        """Return the clients that have any row on a shard where they do not live, by shard."""
        return self._by_place([piece.strays for piece in pieces])

    def unknown(self, pieces: Sequence[Piece]) -> BitMap64:
        """Return the listed clients that live on no shard."""
        return self._too_large | union_of(piece.unknown for piece in pieces)

    def _by_place(self, rows: Sequence[Rows]) -> dict[int, BitMap64]:
        return {
            shard: union_of(part.ids[part.places == place] for part in rows) for place, shard in enumerate(self._shards)
        }

    def _by_shard(self, parts: Sequence[Homes]) -> dict[int, BitMap64]:
        return {shard: union_of(part.ids[part.shards == shard] for part in parts) for shard in self._shards}

    def _check_shards(self, pieces: Sequence[Piece]) -> None:
        lost = [piece.forgotten for piece in pieces if len(piece.forgotten.ids)]
        if lost:
            shard = min(int(part.shards.min()) for part in lost)
            ids = union_of(part.ids[part.shards == shard] for part in lost)
            which = f"{counted(len(ids), 'client')}, listed or off ({some(ids)})"
            raise ConfigError(
                f"shard {shard} is missing from databases.shards, and {which} live on it; add it to the configuration"
            )

    def misplaced(self, pieces: Sequence[Piece]) -> Iterator[tuple[int, str]]:
        """Yield the shards whose URL leads to another shard, and where the clients found there live.

        This is so if most clients found there live on another shard. A shard on which no client lives at all was
        emptied; this is not an error, because nothing is written there.
        """
        for place, shard in enumerate(self._shards):
            at_home = sum(int(piece.at_home[place]) for piece in pieces)
            is_inhabited = shard < SHARDS and any(piece.inhabited[shard] for piece in pieces)
            away = [
                Homes(piece.strays.ids[chosen], piece.stray_homes[chosen])
                for piece in pieces
                if len(piece.strays.ids)
                for chosen in [(piece.strays.places == place) & (piece.stray_homes != _NOWHERE)]
            ]
            elsewhere = sum(len(part.ids) for part in away)
            if is_inhabited and elsewhere > at_home and elsewhere >= (_MOST if at_home else _ALL):
                counts = np.sum([np.bincount(part.shards, minlength=SHARDS) for part in away], axis=0)
                nearest = int(counts.argmax())
                ids = union_of(part.ids[part.shards == nearest] for part in away)
                found = f"{len(ids)} of {at_home + elsewhere} clients found there live on shard {nearest}"
                yield shard, f"{found} ({some(ids)})"


def compute_diff(listed: BitMap64, off: IdsByShard, homes: IdsByShard) -> Diff:
    """Compare the list with the feature state when everything is known, homes included. See `Sides.diff`."""
    sides, everywhere = Sides(listed, {shard: numbers_of(ids) for shard, ids in off.items()}), Homes.of(homes)
    parts = sides.parts(-(-len(sides) // _AT_ONCE))
    return sides.diff([sides.compare(part, everywhere.within(part)) for part in parts])


def live_elsewhere(shard: int, found: BitMap64, homes: IdsByShard) -> str:
    """Return where most of the clients found on a shard live; empty if on this shard. See `Sides.misplaced`."""
    there = {home: ids if home == shard else ids & found for home, ids in homes.items()}
    sides = Sides(union(there), {shard: numbers_of(BitMap64())}, {shard: found})
    return next((where for _, where in sides.misplaced([sides.compare(range(MAX_CLIENT_ID + 1), Homes.of(there))])), "")


def _within(ids: Ids, clients: range) -> Ids:
    return ids[place_of(clients.start, ids) : place_of(clients.stop, ids)]


def _without(ids: Ids, others: Ids) -> Ids:
    """Return a few ids without others that ascend and may be very many: `without` would sort these."""
    return ids[~positions(ids, others)[1]]
