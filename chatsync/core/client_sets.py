"""Sets of client ids: made of numbers by the million, of all shards, cut into pieces, counted and named in messages."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from pyroaring import BitMap, BitMap64

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

MAX_CLIENT_ID = 2**32 - 1  # clients_features.ClientID is INT UNSIGNED

MAX_LIST_ID = 2**63 - 1

DEFAULT_LIMIT = 20  # clients that a table for people lists

# A 64-bit bitmap in the portable format is a list of 32-bit ones; this begins one with the single
# entry of key 0 (RoaringFormatSpec, "Extension for 64-bit implementations").
_ONE_BITMAP = struct.pack("<QI", 1, 0)

IdsByShard = Mapping[int, BitMap64]


def counted(count: int, noun: str) -> str:
    """Return a count with its noun: `1 client`, `2 clients`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def harmless(cell: str) -> str:
    """Return a cell that no spreadsheet takes for a formula (OWASP, "CSV Injection")."""
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell


def union(sets: Mapping[int, BitMap64]) -> BitMap64:
    """Join the sets of all shards."""
    return BitMap64().union(*sets.values())


def total(sets: Mapping[int, BitMap64]) -> int:
    """Count the ids of all shards."""
    return sum(map(len, sets.values()))


def storable(ids: BitMap64) -> BitMap64:
    """Keep the ids that the databases' columns can hold; only these ever reach a statement."""
    kept = BitMap64(ids)
    kept.remove_range(MAX_CLIENT_ID + 1, MAX_LIST_ID + 1)
    return kept


def chunks(ids: BitMap64, size: int) -> Iterator[BitMap64]:
    """Cut a set into ascending pieces of at most `size` ids."""
    for start in range(0, len(ids), size):
        yield ids[start : start + size]


def some(ids: BitMap64, count: int = 3) -> str:
    """Name a few clients of a set, for messages."""
    first = ", ".join(str(number) for number in ids[:count])
    return f"{first}, …" if len(ids) > count else first


class Lines(NamedTuple):
    """The ids of a text, and how many there were, duplicates included."""

    ids: BitMap64
    total: int


def parse_lines(lines: bytes) -> Lines | None:
    r"""Read whole lines of one id each, all ended by `\n`.

    Returns None when any line is something else than an id below 2^63 - 1: numpy alone would accept
    signs, spaces and empty lines, and make 2^63 - 1 of what is larger.
    """
    import numpy as np  # late: a run that has nothing to read parses nothing

    if lines.translate(None, b"0123456789\n"):
        return None
    numbers = np.fromstring(lines, dtype=np.int64, sep="\n")
    count = np.count_nonzero(np.frombuffer(lines, dtype="u1") == ord("\n"))
    if len(numbers) != count or not numbers.all() or (count and numbers.max() == MAX_LIST_ID):
        return None
    return Lines(bitmap_of(numbers), len(numbers))


def bitmap_of(numbers: npt.NDArray[np.integer[Any]]) -> BitMap64:
    """Make a set of numbers: ascending ones go in several times faster, and so do those of 32 bits."""
    is_small = not len(numbers) or bool(numbers.max() <= MAX_CLIENT_ID)
    numbers = numbers.astype("u4" if is_small else "u8", copy=False)
    if not (numbers[1:] > numbers[:-1]).all():
        numbers.sort()
    if not is_small:
        return BitMap64(array("Q", numbers.tobytes()))
    return BitMap64.deserialize(_ONE_BITMAP + BitMap(array("I", numbers.tobytes())).serialize())
