"""JSON documents with sets of client ids in them, written and read without a Python object for each id. Pure.

A plan of ten million changes is 120 MB. Its ids become text, and numbers again, some hundred thousand at a time.
"""

import json
import re
from collections.abc import Callable, Iterator
from functools import cache, partial
from itertools import pairwise
from typing import Any

from pyroaring import BitMap64

from chatsync.core.arrays import Ids, np
from chatsync.core.client_sets import MAX_LIST_ID, bitmap_of, number_blocks

_IDS_A_PIECE = 100_000
_FOUR = 10_000
# An array of ids is the value of a key, so that no text of the document can look like one: in a text every quotation
# mark has a backslash before it.
_ARRAY = re.compile(rb'"(?:[0-9]+|unknown|changed|in_doubt)" ?: ?\[')
# Stands for a set of ids while the rest is read. As it is no JSON, no document has it already.
_IN_PLACE = "NaN"
# Shorter arrays, in bytes, and smaller sets are not worth loading numpy.
_LONG = 5000
_FEW = 500


def pieces(value: Any, *, dump: Callable[[Any], str], comma: str, colon: str, ordered: bool) -> Iterator[bytes]:
    """Yield the JSON of a value piece by piece. `dump` writes all but sets of ids and mappings; `ordered`: by key."""
    if isinstance(value, BitMap64):
        yield b"["
        yield from _ids(value, comma.encode())
        yield b"]"
    elif isinstance(value, dict):
        start = "{"
        for key in sorted(value) if ordered else value:
            yield f"{start}{dump(key)}{colon}".encode("utf-8", "backslashreplace")
            yield from pieces(value[key], dump=dump, comma=comma, colon=colon, ordered=ordered)
            start = comma
        yield b"}" if value else b"{}"
    else:
        yield dump(value).encode("utf-8", "backslashreplace")


def json_text(value: Any) -> str:
    """Return the JSON of a value as one text."""
    dump = partial(json.dumps, ensure_ascii=False)
    return b"".join(pieces(value, dump=dump, comma=", ", colon=": ", ordered=False)).decode()


def canonical(value: Any) -> Iterator[bytes]:
    """Yield the one form that is hashed: sorted keys, no white space, non-ASCII characters escaped."""
    return pieces(value, dump=_compact, comma=",", colon=":", ordered=True)


def _compact(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _ids(ids: BitMap64, separator: bytes) -> Iterator[bytes]:
    if len(ids) <= _FEW:
        yield separator.join(b"%d" % number for number in ids)
        return
    before = b""
    for numbers in number_blocks(ids, _IDS_A_PIECE):
        yield before + _text(numbers, separator)
        before = separator


def _text(numbers: Any, separator: bytes) -> bytes:
    """Write ascending numbers, those of the same length together: four digits at a time, from a table."""
    texts = []
    lengths = np.searchsorted(numbers, np.uint64(10) ** np.arange(20, dtype=np.uint64))
    bounds = [0, *lengths[1:].tolist(), len(numbers)]
    for length, (start, stop) in enumerate(pairwise(bounds), 1):
        if start == stop:
            continue
        rest, groups = numbers[start:stop], -(-length // 4)
        fours = np.empty((len(rest), groups), dtype="S4")
        for group in reversed(range(groups)):
            fours[:, group] = _table()[(rest % np.uint64(_FOUR)).astype(np.intp)]
            rest = rest // np.uint64(_FOUR)
        written = np.empty((stop - start, length + len(separator)), np.uint8)
        written[:, :length] = fours.view(np.uint8).reshape(stop - start, 4 * groups)[:, 4 * groups - length :]
        written[:, length:] = np.frombuffer(separator, np.uint8)
        texts.append(written.tobytes())
    return b"".join(texts)[: -len(separator)]


@cache
def _table() -> Any:
    """Return the four digits of each number from 0 to 9999."""
    return np.array([f"{number:04}".encode() for number in range(_FOUR)])


def loads(text: bytes, *, pairs: Callable[[list[tuple[str, Any]]], dict[str, Any]] | None = None) -> Any:
    """Read a JSON document in which arrays of ids, written as they are here, become sets.

    Every other array stays a list, also one of ids that is written in another way. Raises ValueError where the text is
    no JSON.
    """
    sets: list[BitMap64] = []
    bare = b"".join(_without_ids(text, sets))
    del text
    waiting = iter(sets)

    def take(name: str) -> BitMap64:
        ids = next(waiting, None)
        if ids is None or name != _IN_PLACE:
            raise ValueError(f"{name} is no JSON")
        return ids

    return json.loads(bare, object_pairs_hook=pairs, parse_constant=take)


def _without_ids(text: bytes, sets: list[BitMap64]) -> Iterator[bytes]:
    """Yield the document with a constant in the place of each long array of ids, and append its ids to the sets."""
    kept = 0
    for start in _starts(text):
        end = text.find(b"]", start)
        ids = _parsed(text[start:end]) if end - start >= _LONG else None
        if ids is not None:
            yield text[kept : start - 1]
            yield _IN_PLACE.encode()
            sets.append(ids)
            kept = end + 1
    yield text[kept:]


def _starts(text: bytes) -> Iterator[int]:
    at = 0
    while (found := _ARRAY.search(text, at)) is not None:
        yield found.end()
        at = max(found.end(), text.find(b"]", found.end()))


def _parsed(array: bytes) -> BitMap64 | None:
    """Read ids that ascend, one comma and one blank between them; None for whatever is not exactly that."""
    if not _is_ours(array):
        return None
    numbers: Ids = np.fromstring(array, dtype=np.int64, sep=",")
    if numbers[-1] == MAX_LIST_ID or not (numbers[1:] > numbers[:-1]).all():
        return None
    return bitmap_of(numbers)


def _is_ours(array: bytes) -> bool:
    """Tell whether all is digits, one comma and one blank between two numbers, and no zero in front of a number."""
    between = array.translate(None, b"0123456789")
    if between != b", " * (len(between) // 2) or not (array[:1].isdigit() and array[-1:].isdigit()):
        return False
    text = np.frombuffer(array, np.uint8)
    commas = np.flatnonzero(text == ord(","))
    if not ((text[commas + 1] == ord(" ")).all() and (text[commas + 2] >= ord("1")).all()):
        return False
    return array[:1] != b"0" or array[:2] in (b"0", b"0,")
