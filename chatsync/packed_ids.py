"""Ids that come packed in text, read by the megabyte: no Python object for each."""

from array import array
from typing import NamedTuple

import numpy as np
from pyroaring import BitMap64

from chatsync.errors import DatabaseError

# A number of so many digits fits into 63 bits whatever they are; longer ones are read one by one.
_SAFE_DIGITS = 18


class Packed(NamedTuple):
    """The ids of a text, and how many there were, doubles included."""

    ids: BitMap64
    total: int


def parse_packed(text: str | bytes | None, *, count: int) -> BitMap64:
    """Read the ids that a server packed with GROUP_CONCAT, comma-separated.

    `count` is the server's own count of them. Raises DatabaseError when the two differ: servers
    cut such a text at group_concat_max_len and max_allowed_packet without an error.
    """
    raw = text.encode() if isinstance(text, str) else text or b""
    packed = _parse(raw, separator=b",")
    if packed is None or packed.total != count or len(packed.ids) != count:
        msg = f"a page of ids came cut or broken: {count} ids announced, {packed.total if packed else 'none'} readable"
        raise DatabaseError(msg)
    return packed.ids


def parse_lines(lines: bytes) -> Packed | None:
    r"""Read whole lines of one id each, all ended by `\n`.

    Returns None when any line is something else than an id of at most 18 digits.
    """
    return _parse(lines[:-1], separator=b"\n") if lines else Packed(BitMap64(), 0)


def _parse(text: bytes, *, separator: bytes) -> Packed | None:
    if text.translate(None, b"0123456789" + separator):
        return None
    ends = np.flatnonzero(np.frombuffer(text + separator, dtype=np.uint8) == ord(separator))
    lengths = np.diff(ends, prepend=-1) - 1
    if lengths.min() < 1 or lengths.max() > _SAFE_DIGITS:
        return None
    numbers = np.fromstring(text, dtype=np.uint64, sep=separator.decode())
    if len(numbers) != len(ends) or not numbers.all():
        return None
    return Packed(BitMap64(array("Q", numbers.tobytes())), len(numbers))
