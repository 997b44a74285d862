"""Ids that come packed in text, read by the megabyte: no Python object for each."""

from __future__ import annotations

import struct
from array import array
from typing import TYPE_CHECKING, Any, NamedTuple

from pyroaring import BitMap, BitMap64

from chatsync.errors import DatabaseError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy as np
    import numpy.typing as npt

# Packs are parsed this many ids at once: each parsing costs a little by itself, and memory for its ids.
_IDS_AT_ONCE = 2**17
_INT32_MAX = 2**32 - 1
_INT64_MAX = 2**63 - 1
# A 64-bit bitmap in the portable format is a list of 32-bit ones; this begins one with the single
# entry of key 0 (RoaringFormatSpec, "Extension for 64-bit implementations").
_ONE_BITMAP = struct.pack("<QI", 1, 0)


class Packed(NamedTuple):
    """The ids of a text, and how many there were, doubles included."""

    ids: BitMap64
    total: int


def portions(packs: Iterable[Any]) -> Iterator[list[Any]]:
    """Gather packs, as `parse_packed` takes them, into portions worth parsing."""
    portion, count = [], 0
    for pack in packs:
        portion.append(pack)
        count += pack[0]
        if count >= _IDS_AT_ONCE:
            yield portion
            portion, count = [], 0
    if portion:
        yield portion


def parse_packed(packs: Iterable[Any], *, where: object) -> BitMap64:
    """Read ids that a server packed with GROUP_CONCAT: rows of their count, their sum and their text.

    Raises DatabaseError when count or sum differ from what is read: a server cuts such a text at
    group_concat_max_len and max_allowed_packet without an error, in the middle of a number too.
    """
    counts, sums, texts = zip(*packs, strict=True)
    numbers = _parse(",".join(texts).encode(), separator=b",")
    if numbers is None or len(numbers) != sum(counts) or int(numbers.sum()) != sum(map(int, sums)):
        msg = (
            f"{where}: packed ids came cut or broken: {sum(counts)} announced, "
            f"{0 if numbers is None else len(numbers)} readable; the server's max_allowed_packet must be 4 MB or more"
        )
        raise DatabaseError(msg)
    return _bitmap(numbers)


def parse_lines(lines: bytes) -> Packed | None:
    r"""Read whole lines of one id each, all ended by `\n`.

    Returns None when any line is something else than an id below 2^63 - 1.
    """
    if not lines:
        return Packed(BitMap64(), 0)
    numbers = _parse(lines[:-1], separator=b"\n")
    return None if numbers is None else Packed(_bitmap(numbers), len(numbers))


def _parse(text: bytes, *, separator: bytes) -> npt.NDArray[np.int64] | None:
    """Read numbers; None unless the text is digits and single separators between them, and none is zero.

    numpy alone would take signs, spaces and empty items, and make 2^63 - 1 of what is larger.
    """
    import numpy as np  # late: a run that has nothing to read parses nothing

    if text.translate(None, b"0123456789" + separator):
        return None
    if text.startswith(separator) or text.endswith(separator) or separator * 2 in text:
        return None
    numbers = np.fromstring(text, dtype=np.int64, sep=separator.decode())
    if len(numbers) != text.count(separator) + 1 or not numbers.all() or numbers.max() == _INT64_MAX:
        return None
    return numbers


def _bitmap(numbers: npt.NDArray[np.integer]) -> BitMap64:
    """Make a set of numbers: ascending ones go in several times faster, and so do those of 32 bits."""
    is_small = bool(numbers.max() <= _INT32_MAX)
    numbers = numbers.astype("u4" if is_small else "u8")
    if not (numbers[1:] > numbers[:-1]).all():
        numbers.sort()
    if not is_small:
        return BitMap64(array("Q", numbers.tobytes()))
    return BitMap64.deserialize(_ONE_BITMAP + BitMap(array("I", numbers.tobytes())).serialize())
