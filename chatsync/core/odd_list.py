"""What is probably wrong with a list in which most rows are no client ids, judged by the first rejected rows. Pure."""

import re
from collections import Counter
from collections.abc import Sequence

from chatsync.core.diff import Rejected

_FORMS = {
    re.compile(r"\s*\"?\d+\"?\s*;"): "its cells seem to be separated by semicolons, not commas",
    re.compile(r"\s*\"?\d+\"?\s*\|"): "its cells seem to be separated by vertical bars, not commas",
    re.compile(r"\s*\"?\d+\"?\?."): "its cells seem to be separated by tabs or another character that is not shown",
    re.compile(".*\N{REPLACEMENT CHARACTER}"): "it is not text in UTF-8",
}
_REASONS = {
    "fraction": "the ids are numbers with a fraction, as in a column of type double; int64, uint64 or text is needed",
    "null": "the column is empty",
    "too large": "the numbers are too large for client ids",
    "negative": "the numbers are negative",
    "zero": "the numbers are zero",
}


def form_of(rejected: Sequence[Rejected]) -> str:
    """Return what most of the rejected rows have in common, with the first row as an example."""
    if not rejected:
        return "no row was kept to show why"
    first = rejected[0]
    found = Counter(_form(row) for row in rejected).most_common(1)[0][0]
    where = "" if first.row is None else f"row {first.row}, "
    return f"{found} ({where}{first.value!r}: {first.reason})"


def _form(row: Rejected) -> str:
    for pattern, form in _FORMS.items():
        if pattern.match(row.value):
            return form
    if "the header has" in row.reason:
        return "its rows have more or fewer cells than the header; is there a comma in a cell without quotes?"
    return _REASONS.get(row.reason, "the column does not hold client ids")
