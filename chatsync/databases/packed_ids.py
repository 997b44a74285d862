"""Very many ids: packed by the server into one value, and read without a Python object for each.

An id takes five bytes. MySQL's function CHAR turns a number into bytes and leaves out leading zero bytes. So bit 31 is
sent as a separate byte, and is always set in the other four. With its shard, an id takes six bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from chatsync.core import MAX_CLIENT_ID, Homes, np
from chatsync.errors import DatabaseError

if TYPE_CHECKING:
    import numpy.typing as npt

    from chatsync.core import Ids

# SQLite has no CHAR of this kind: it spells the bytes in hex.
_PACKED = {
    "mysql": "GROUP_CONCAT(CHAR(ClientID >> 31, ClientID | 2147483648{shard}) SEPARATOR '')",
    "sqlite": "GROUP_CONCAT(printf('%02x%08x{width}', ClientID >> 31, ClientID | 2147483648{shard}), '')",
}
_ID = [("bit_31", "u1"), ("others", ">u4")]
_ID_AND_SHARD = [*_ID, ("shard", "u1")]
_OTHERS = 2**31 - 1

# Bytes of one packed value: below 4 MiB, the smallest default of max_allowed_packet (MySQL 5.7's).
GROUP_CONCAT_MAX_LEN = 4_000_000

ID_SIZE = 5
ID_AND_SHARD_SIZE = 6


class Packed(NamedTuple):
    """One row of an answer: the ids, and the server's own count and bounds to check them against."""

    rows: int
    lowest: Any
    highest: Any
    ids: bytes | str | None


def packed_columns(*, is_sqlite: bool, with_shard: bool = False) -> str:
    """Return the columns of a `Packed`, for a SELECT on a table with ClientID (and shard)."""
    shard = {"shard": ", shard", "width": "%02x"} if with_shard else {"shard": "", "width": ""}
    packed = _PACKED["sqlite" if is_sqlite else "mysql"].format(**shard)
    return f"COUNT(*), MIN(ClientID), MAX(ClientID), {packed}"


def unpack(packed: Packed, *, where: object) -> Ids:
    """Return the ids of an answer, ascending.

    Raises DatabaseError if the answer is incomplete (a server cuts a value that is longer than group_concat_max_len
    or max_allowed_packet without an error), or if a ClientID is not a whole number that fits into 32 bits.
    """
    numbers = _numbers(_records(packed, _ID, where=where))
    if not _ascend(numbers):
        numbers.sort()
    return numbers


def unpack_homes(packed: Packed, *, where: object) -> Homes:
    """Return the ids of an answer with their shards, ascending. Raises DatabaseError as `unpack` does."""
    records = _records(packed, _ID_AND_SHARD, where=where)
    numbers, shards = _numbers(records), records["shard"].copy()
    if not _ascend(numbers):
        order = numbers.argsort()
        numbers, shards = numbers[order], shards[order]
    return Homes(numbers, shards)


def _ascend(numbers: Ids) -> bool:
    """Tell whether numbers ascend, as they mostly do: servers read along an index."""
    return bool((numbers[1:] > numbers[:-1]).all())


def _records(packed: Packed, layout: list[tuple[str, str]], *, where: object) -> npt.NDArray[Any]:
    _check_bounds(packed, where=where)
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


def _check_bounds(packed: Packed, *, where: object) -> None:
    """Refuse ids that don't fit into five bytes: they would be read as other clients."""
    if packed.rows:
        checked_id(packed.lowest, where=where)
        checked_id(packed.highest, where=where)


def checked_id(client: Any, *, where: object) -> int:
    """Return a ClientID from an answer. Raises DatabaseError for a value that the column must not have."""
    if type(client) is int and 0 <= client <= MAX_CLIENT_ID:
        return client
    raise DatabaseError(
        f"ClientID {client!r} is not a whole number from 0 to {MAX_CLIENT_ID}",
        where=str(where),
        way_out="the column must be INT UNSIGNED, as the README says",
    )


def _numbers(records: npt.NDArray[Any]) -> Ids:
    numbers = records["others"].astype(np.uint32)
    numbers &= np.uint32(_OTHERS)
    numbers[records["bit_31"] != 0] |= np.uint32(_OTHERS + 1)
    return numbers
