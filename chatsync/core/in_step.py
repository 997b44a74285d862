"""The clients in step: listed, and off where they live and nowhere else. They are found by sorting. Pure.

Homes, listed ids and rows of a range become numbers of 64 bits, the id in the upper half and what is known of it in the
lower one, and are sorted together. A client in step is then a home, a listed id and an off row, one after the other; a
home and an off row where there is no list to compare with. To look each id up among the others would take several times
as long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from chatsync.core.arrays import Ids, np
from chatsync.core.client_sets import Homes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    _Keys = npt.NDArray[np.uint64]

SHARDS = 256  # shard_client_id.shard is TINYINT UNSIGNED

# The lower half. A home has the place of its shard in bits 1 to 15, a row also this and whether it says off.
_OFF, _LISTED, _ROW = 1, 1 << 30, 1 << 31
_NO_PLACE = 1 << 15  # the number of a shard that is not configured, in the place of its place
# So many homes at once: what is made of them on the way fits into the cache of a core.
_AT_ONCE = 30_000


class Rows(NamedTuple):
    """Rows found on shards: the id, the shard's place among the shards, and whether the row says off."""

    ids: Ids
    places: npt.NDArray[np.uint16]
    off: npt.NDArray[np.bool_]

    def where(self, chosen: npt.NDArray[np.bool_]) -> Rows:
        """Keep the chosen ones."""
        return Rows(self.ids[chosen], self.places[chosen], self.off[chosen])


class _Side(NamedTuple):
    """Ids that ascend, and what is known of each: the upper and the lower halves of keys."""

    ids: Ids
    known: npt.NDArray[np.uint32]

    @classmethod
    def of(cls, ids: Ids, known: int) -> _Side:
        """Know the same of all of them."""
        return cls(ids, np.broadcast_to(np.uint32(known), len(ids)))


class Separated(NamedTuple):
    """How many clients are in step on each shard, by its place, and the others, all ordered by their ids."""

    in_step: npt.NDArray[np.int64]
    homes: Homes
    listed: Ids
    rows: Rows


def separate(
    homes: Homes, listed: Ids, off: Sequence[Ids], others: Sequence[Ids], *, shards: Sequence[int], with_list: bool
) -> Separated:
    """Separate the clients in step from those that are not; `off` and `others` are rows, by the place of the shard.

    Without a list, a client in step is one that is not among `listed`, and is off where it lives and nowhere else.
    """
    in_step = np.zeros(len(shards), np.int64)
    bounds = homes.ids[_AT_ONCE::_AT_ONCE]
    parts = [_cut(side, bounds) for side in _sides(homes, listed, off, others, shards)]
    left = [_left(_sorted(part), in_step, with_list=with_list) for part in zip(*parts, strict=True)]
    return _apart(in_step, *_halves(np.concatenate(left)), shards)


def _cut(side: _Side, bounds: Ids) -> list[_Side]:
    at = side.ids.searchsorted(bounds)
    return [_Side(*both) for both in zip(np.split(side.ids, at), np.split(side.known, at), strict=True)]


def _left(keys: _Keys, in_step: npt.NDArray[np.int64], *, with_list: bool) -> _Keys:
    """Count the clients in step, and return the keys of the others."""
    lower, ids = _halves(keys)
    size = 3 if with_list else 2
    is_off_at_home = keys[size - 1 :] - keys[: 1 - size] == _ROW | _OFF
    at = np.flatnonzero(is_off_at_home & (lower[1:-1] == _LISTED if with_list else lower[:-1] < _LISTED))
    is_last = at + size == len(keys)
    at = at[is_last | (ids[at] != ids[at + size - is_last])]  # the client has no other row
    in_step += np.bincount(lower[at] >> 1, minlength=len(in_step))
    is_left = np.ones(len(keys), bool)
    for step in range(size):
        is_left[at + step] = False
    return keys[is_left]


def _sides(
    homes: Homes, listed: Ids, off: Sequence[Ids], others: Sequence[Ids], shards: Sequence[int]
) -> Iterator[_Side]:
    places = np.arange(_NO_PLACE, _NO_PLACE + SHARDS, dtype=np.uint32)
    for place, shard in enumerate(shards):
        if shard < SHARDS:  # no client lives on the others
            places[shard] = place
    yield _Side(homes.ids, places[homes.shards] << np.uint32(1))
    yield _Side.of(listed, _LISTED)
    for place, (is_off, is_not) in enumerate(zip(off, others, strict=True)):
        yield _Side.of(is_off, _ROW | place << 1 | _OFF)
        yield _Side.of(is_not, _ROW | place << 1)


def _sorted(sides: Sequence[_Side]) -> _Keys:
    keys = np.empty(sum(len(side.ids) for side in sides), "<u8")
    lower, upper = _halves(keys)
    start = 0
    for ids, known in sides:
        stop = start + len(ids)
        lower[start:stop], upper[start:stop] = known, ids
        start = stop
    keys.sort()
    return keys


def _halves(keys: _Keys) -> tuple[npt.NDArray[np.uint32], Ids]:
    halves = keys.view("<u4")
    return halves[::2], halves[1::2]


def _apart(in_step: npt.NDArray[np.int64], lower: npt.NDArray[np.uint32], ids: Ids, shards: Sequence[int]) -> Separated:
    is_row, is_listed = lower >= _ROW, lower == _LISTED
    is_home = ~(is_row | is_listed)
    rows, places = lower[is_row], lower[is_home] >> 1
    is_ours = places < _NO_PLACE
    homes = (places & (SHARDS - 1)).astype(np.uint8)
    homes[is_ours] = np.array(shards, np.uint32)[places[is_ours]]
    return Separated(
        in_step=in_step,
        homes=Homes(ids[is_home], homes),
        listed=ids[is_listed],
        rows=Rows(ids[is_row], (rows << 1 >> 2).astype(np.uint16), (rows & _OFF).astype(bool)),
    )
