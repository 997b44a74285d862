"""What counts as a client id, and collecting ids from rows of any kind.

An id is a whole number from 1 to 2^63-1, or a text of ASCII digits for one. Rows with other values
are rejected and counted, and the first of them are kept to be shown.
"""

from typing import Any

from pyroaring import BitMap64

from chatsync.core import (
    MAX_LIST_ID,
    ExclusionList,
    IdGatherer,
    Keep,
    ListVersion,
    Rejected,
    SortedIds,
    np,
    parse_lines,
)

_REJECTED_KEPT = 100
_SHOWN_LENGTH = 60
_WHOLE_LENGTH = 1000
_MAX_DIGITS = 40  # including leading zeros; a longer text is not meant as a number


def client_id(value: Any) -> int | str:
    """Return the id in a cell, or the reason why it is not an id.

    Accepts int, str, bytes and None; a float is a "fraction", and anything else (a boolean, a list) "not an integer".
    """
    if value is None or value in ("", b""):
        return "null"
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, str):
        if not (value.isascii() and value.isdigit() and len(value) <= _MAX_DIGITS):
            return _why_not_digits(value)
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return "fraction" if isinstance(value, float) else "not an integer"
    if value <= 0:
        return "zero" if value == 0 else "negative"
    return int(value) if value <= MAX_LIST_ID else "too large"


def _why_not_digits(text: str) -> str:
    if text.isascii() and text.isdigit():
        return "too large"
    if text.isascii() and text.startswith("-") and text[1:].isdigit():
        return "negative"
    whole, dot, rest = text.partition(".")
    return "fraction" if dot and whole.isdigit() and rest.isdigit() and text.isascii() else "not an integer"


class IdCollector:
    """Takes the rows of a list one by one or in large blocks, and counts all of them."""

    def __init__(self, keep: Keep | None = None) -> None:
        """Start without rows. `keep` is called with every rejected row; only the first ones are kept here."""
        self._keep = keep
        self.rows = 0
        self._valid = 0
        self._ids = BitMap64()
        self._many: IdGatherer | None = None
        self._rejected: list[Rejected] = []
        self._rejected_count = 0

    def add(self, value: Any, *, row: int) -> None:
        """Add the cell of one row; `row` is the row number to show."""
        found = client_id(value)
        if isinstance(found, str):
            self.reject(value, found, row=row)
            return
        self._ids.add(found)
        self._valid += 1
        self.rows += 1

    def add_lines(self, lines: bytes) -> bool:
        r"""Add whole lines with one cell each, ended by `\n`, without a Python object for each of them.

        Returns False, and adds none of them, unless every line is just an id.
        """
        ids = parse_lines(lines)
        if ids is None:
            return False
        self._many = self._many or IdGatherer()
        self._many.add(ids)
        self._valid += len(ids)
        self.rows += len(ids)
        return True

    def reject(self, value: Any, reason: str, *, row: int) -> None:
        """Count a row as rejected, whatever is in its cells."""
        self._rejected_count += 1
        if len(self._rejected) < _REJECTED_KEPT:
            self._rejected.append(Rejected(row=row, value=_shown(value), reason=reason))
        if self._keep:
            self._keep(Rejected(row=row, value=whole(value), reason=reason))
        self.rows += 1

    def finish(self, version: ListVersion) -> ExclusionList:
        """Return the collected ids as this version of the list."""
        ids: BitMap64 | SortedIds = self._ids
        if self._many is not None:
            self._many.add(np.frombuffer(self._ids.to_array(), np.int64))
            ids = self._many.ids()
        return ExclusionList(
            version=version,
            rows=self.rows,
            ids=ids,
            duplicates=self._valid - len(ids),
            rejected=tuple(self._rejected),
            rejected_count=self._rejected_count,
        )


def whole(value: Any) -> str:
    """Format a cell so that people can find it: NULL, `""` for an empty text; a very long text is cut."""
    return "NULL" if value is None else _printable(_text(value, _WHOLE_LENGTH), and_also="\n\t") or '""'


def _shown(value: Any) -> str:
    """Format a cell for a table: short, on one line, without control characters."""
    return _printable(_text(value, _SHOWN_LENGTH))


def _printable(text: str, *, and_also: str = "") -> str:
    return "".join(letter if letter.isprintable() or letter in and_also else "?" for letter in text)


def _text(value: Any, length: int) -> str:
    if isinstance(value, bytes):
        value = value[: length * 4].decode("utf-8", "replace")
    text = value if isinstance(value, str) else str(value)
    return text if len(text) <= length else text[:length] + "…"
