"""Ids that come packed in text, read by the megabyte: no Python object for each."""

from array import array
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from pyroaring import BitMap64

from chatsync.errors import DatabaseError

_INT64_MAX = 2**63 - 1


class Packed(NamedTuple):
    """The ids of a text, and how many there were, doubles included."""

    ids: BitMap64
    total: int


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
    if text.translate(None, b"0123456789" + separator):
        return None
    if text.startswith(separator) or text.endswith(separator) or separator * 2 in text:
        return None
    numbers = np.fromstring(text, dtype=np.int64, sep=separator.decode())
    if len(numbers) != text.count(separator) + 1 or not numbers.all() or numbers.max() == _INT64_MAX:
        return None
    return numbers


def _bitmap(numbers: npt.NDArray[np.int64]) -> BitMap64:
    """Make a set of numbers; ascending ones go in several times faster."""
    if not (numbers[1:] > numbers[:-1]).all():
        numbers.sort()
    return BitMap64(array("Q", numbers.tobytes()))
