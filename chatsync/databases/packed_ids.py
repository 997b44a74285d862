"""Ids that come by the megabyte, packed by a server or one a line: no Python object for each."""

from __future__ import annotations

import struct
from array import array
from typing import TYPE_CHECKING, NamedTuple

from pyroaring import BitMap, BitMap64

from chatsync.errors import DatabaseError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

# What `tables.packed_ids` makes of an id: one byte for its bit 31, and four for the others, of which
# the first always has its highest bit set. MySQL's CHAR leaves out leading zero bytes.
_PACKED = [("bit_31", "u1"), ("others", ">u4")]
PACKED_SIZE = 5
_OTHERS = 2**31 - 1
_INT32_MAX = 2**32 - 1
_INT64_MAX = 2**63 - 1
# A 64-bit bitmap in the portable format is a list of 32-bit ones; this begins one with the single
# entry of key 0 (RoaringFormatSpec, "Extension for 64-bit implementations").
_ONE_BITMAP = struct.pack("<QI", 1, 0)


class Lines(NamedTuple):
    """The ids of a text, and how many there were, doubles included."""

    ids: BitMap64
    total: int


def unpack(count: int, packed: bytes | str | None, *, where: object) -> BitMap64:
    """Read the `count` ids that a server packed (see `tables.packed_ids`); SQLite spells the bytes in hex.

    Raises DatabaseError when there are fewer: a server cuts what is longer than
    group_concat_max_len and max_allowed_packet without an error.
    """
    import numpy as np  # late: a run that has nothing to read parses nothing

    packed = packed or b""
    size = 2 * PACKED_SIZE if isinstance(packed, str) else PACKED_SIZE
    if len(packed) != count * size:
        msg = (
            f"{where}: packed ids came cut or broken: {count} announced, {len(packed) // size} readable; "
            "the server's max_allowed_packet must be 4 MB or more"
        )
        raise DatabaseError(msg)
    ids = np.frombuffer(bytes.fromhex(packed) if isinstance(packed, str) else packed, dtype=_PACKED)
    return _bitmap((ids["others"] & np.uint32(_OTHERS)) | (ids["bit_31"].astype("u4") << 31))


def parse_lines(lines: bytes) -> Lines | None:
    r"""Read whole lines of one id each, all ended by `\n`.

    Returns None when any line is something else than an id below 2^63 - 1: numpy alone would take
    signs, spaces and empty lines, and make 2^63 - 1 of what is larger.
    """
    import numpy as np  # late, as above

    if lines.translate(None, b"0123456789\n"):
        return None
    numbers = np.fromstring(lines, dtype=np.int64, sep="\n")
    count = np.count_nonzero(np.frombuffer(lines, dtype="u1") == ord("\n"))
    if len(numbers) != count or not numbers.all() or (count and numbers.max() == _INT64_MAX):
        return None
    return Lines(_bitmap(numbers), len(numbers))


def _bitmap(numbers: npt.NDArray[np.integer]) -> BitMap64:
    """Make a set of numbers: ascending ones go in several times faster, and so do those of 32 bits."""
    is_small = not len(numbers) or bool(numbers.max() <= _INT32_MAX)
    numbers = numbers.astype("u4" if is_small else "u8", copy=False)
    if not (numbers[1:] > numbers[:-1]).all():
        numbers.sort()
    if not is_small:
        return BitMap64(array("Q", numbers.tobytes()))
    return BitMap64.deserialize(_ONE_BITMAP + BitMap(array("I", numbers.tobytes())).serialize())
