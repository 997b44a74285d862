"""Very many ids: packed by the server into one value, and read without a Python object for each.

An id takes four bytes, five with its shard. MySQL's function CHAR turns a number into bytes and leaves out leading zero
bytes. So an id is sent as its distance from the `first` id of the statement, plus the smallest number that has
four bytes. All that may come must therefore be less than SPAN from the first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from pyroaring import BitMap64

from chatsync.core import MAX_CLIENT_ID, Homes, np
from chatsync.errors import DatabaseError

if TYPE_CHECKING:
    import numpy.typing as npt

    from chatsync.core import Ids

# SQLite has no CHAR of this kind: it spells the bytes in hex.
_PACKED = {
    "mysql": "GROUP_CONCAT(CHAR(ClientID {offset:+}{shard}) SEPARATOR '')",
    "sqlite": "GROUP_CONCAT(printf('%08x{width}', ClientID {offset:+}{shard}), '')",
}
# What a row says and its id: a byte of 2 if it is off, else of 1, and the four bytes of the id. The first argument of
# CHAR is never below the smallest number of four bytes, and the second one is always one byte.
_ROWS = {
    "mysql": "GROUP_CONCAT(CHAR({says} << 24 | ClientID >> 8, ClientID & 255) SEPARATOR '')",
    "sqlite": "GROUP_CONCAT(printf('%02x%08x', {says}, ClientID), '')",
}
_SAYS = "(1 + COALESCE(is_enabled = 0, 0))"
# Of the whole table: the server finds both in the index, where those of the answer's rows would cost it a fifth.
_BOUNDS = "(SELECT MIN(ClientID) FROM {table}), (SELECT MAX(ClientID) FROM {table})"
_ID = [("id", ">u4")]
_ID_AND_SHARD = [*_ID, ("shard", "u1")]
_ROW = [("says", "u1"), *_ID]
_SAYS_OFF = 2
_SMALLEST = 2**24

SPAN = 2**32 - _SMALLEST
"""How many ids one statement may ask for, from its first one on: 2^24 fewer than the column can hold."""

# Bytes of one packed value: below 4 MiB, the smallest default of max_allowed_packet (MySQL 5.7's).
GROUP_CONCAT_MAX_LEN = 4_000_000

ID_SIZE = 4
ID_AND_SHARD_SIZE = 5


class Packed(NamedTuple):
    """One row of an answer: the ids, their number as the server counted them, and the bounds of the whole table."""

    rows: int
    lowest: Any
    highest: Any
    ids: bytes | str | None

    def bounds(self, *, where: object) -> tuple[int, int]:
        """Return the lowest id of the table, and the one above its highest.

        Raises DatabaseError for an id that does not fit into four bytes: it would be read as another client.
        """
        return checked_id(self.lowest, where=where), checked_id(self.highest, where=where) + 1


def packed_columns(table: str, *, is_sqlite: bool, first: int = 0, with_shard: bool = False) -> str:
    """Return the columns of a `Packed`, for a SELECT of ids from `first` on, of a table with ClientID (and shard)."""
    shard = {"shard": ", shard", "width": "%02x"} if with_shard else {"shard": "", "width": ""}
    packed = _PACKED["sqlite" if is_sqlite else "mysql"].format(offset=_SMALLEST - first, **shard)
    return f"COUNT(*), {_BOUNDS.format(table=table)}, {packed}"


def row_columns(*, is_sqlite: bool) -> str:
    """Return the columns of a `Packed`, for a SELECT of some rows of clients_features with what they say."""
    packed = _ROWS["sqlite" if is_sqlite else "mysql"].format(says=_SAYS)
    return f"COUNT(*), MIN(ClientID), MAX(ClientID), {packed}"


def unpack_rows(packed: Packed, *, where: object) -> tuple[Ids, Ids]:
    """Return the ids of rows that say off, and of all others. Raises DatabaseError as `unpack` does."""
    records = _records(packed, _ROW, where=where)
    ids, are_off = records["id"].astype(np.uint32), records["says"] == _SAYS_OFF
    return ids[are_off], ids[~are_off]


def unpack(packed: Packed, *, where: object, first: int = 0) -> Ids:
    """Return the ids of an answer, ascending; `first` is that of the statement.

    Raises DatabaseError if the answer is incomplete (a server cuts a value that is longer than group_concat_max_len
    or max_allowed_packet without an error), or if a ClientID is not a whole number that fits into 32 bits.
    """
    numbers = _numbers(_records(packed, _ID, where=where), first)
    if not _ascend(numbers):
        numbers.sort()
    return numbers


def unpack_homes(packed: Packed, *, where: object, first: int = 0) -> Homes:
    """Return the ids of an answer with their shards, ascending. Raises DatabaseError as `unpack` does."""
    records = _records(packed, _ID_AND_SHARD, where=where)
    numbers, shards = _numbers(records, first), records["shard"].copy()
    if not _ascend(numbers):
        order = numbers.argsort()
        numbers, shards = numbers[order], shards[order]
    return Homes(numbers, shards)


def parse_ids(text: str, count: int, *, among: BitMap64, where: object) -> BitMap64:
    """Return the ids that a server joined with commas, without numpy: for some of a few thousand that were asked for.

    Raises DatabaseError if these are not `count` of them.
    """
    numbers = text.split(",")
    ids = BitMap64(map(int, numbers)) if all(map(str.isdecimal, numbers)) else BitMap64()
    if len(ids) != count or not ids <= among:
        what = f"ids came cut or broken: {count} announced, {len(ids & among)} readable"
        raise DatabaseError(what, where=str(where), way_out="ClientID must be INT UNSIGNED, as the README says")
    return ids


def _ascend(numbers: Ids) -> bool:
    """Tell whether numbers ascend, as they mostly do: servers read along an index."""
    return bool((numbers[1:] > numbers[:-1]).all())


def _records(packed: Packed, layout: list[tuple[str, str]], *, where: object) -> npt.NDArray[Any]:
    if packed.rows:
        packed.bounds(where=where)
    record = np.dtype(layout)
    ids = packed.ids or b""
    size = 2 * record.itemsize if isinstance(ids, str) else record.itemsize
    if len(ids) != packed.rows * size:
        raise DatabaseError(
            f"packed ids came cut or broken: {packed.rows} announced, {len(ids) // size} readable",
            where=str(where),
            way_out="the server's max_allowed_packet must be 4 MB or more, and ClientID and shard unsigned integers",
        )
    return np.frombuffer(bytes.fromhex(ids) if isinstance(ids, str) else ids, dtype=record)


def checked_id(client: Any, *, where: object) -> int:
    """Return a ClientID from an answer. Raises DatabaseError for a value that the column must not have."""
    if type(client) is int and 0 <= client <= MAX_CLIENT_ID:
        return client
    raise DatabaseError(
        f"ClientID {client!r} is not a whole number from 0 to {MAX_CLIENT_ID}",
        where=str(where),
        way_out="the column must be INT UNSIGNED, as the README says",
    )


def _numbers(records: npt.NDArray[Any], first: int) -> Ids:
    numbers = records["id"].astype(np.uint32)
    numbers += np.uint32((first - _SMALLEST) % 2**32)
    return numbers
