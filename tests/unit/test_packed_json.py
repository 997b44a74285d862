"""JSON with sets of ids: the same bytes as Python's own writer makes, and read back only as they were written."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroaring import BitMap64

from chatsync.core import packed_json
from chatsync.core.packed_json import canonical, json_text, loads

if TYPE_CHECKING:
    from collections.abc import Iterator

LARGEST = 2**63 - 1
lengths = st.integers(0, 18).flatmap(lambda digits: st.integers(10**digits, min(10 ** (digits + 1) - 1, LARGEST)))
ids = st.sets(lengths | st.integers(0, 120), max_size=40)
texts = st.text() | st.sampled_from(['", "unknown": [1, 2]', '"1": [1, 2]', "NaN", '\\": [7]'])
documents = st.fixed_dictionaries(
    {"version": st.integers(), "texts": st.lists(texts, max_size=3), "feature": st.dictionaries(texts, texts)},
    optional={"turn_off": st.dictionaries(st.integers(0, 255).map(str), ids), "unknown": ids, "nothing": st.none()},
)


@pytest.fixture(autouse=True)
def short_ones_too() -> Iterator[None]:
    """Take the way of large sets for all that are not empty, in many pieces."""
    with patch.multiple(packed_json, _LONG=1, _FEW=0, _IDS_A_PIECE=3):
        yield


def plain(value: Any) -> Any:
    """The same document with lists in the place of sets."""
    if isinstance(value, (set, BitMap64)):
        return sorted(value)
    return {key: plain(one) for key, one in value.items()} if isinstance(value, dict) else value


def packed(value: Any) -> Any:
    if isinstance(value, set):
        return BitMap64(sorted(value))
    return {key: packed(one) for key, one in value.items()} if isinstance(value, dict) else value


@given(documents)
def test_the_bytes_are_those_of_the_writer_in_the_library(document: dict[str, Any]) -> None:
    assert json_text(packed(document)).encode() == json.dumps(plain(document), ensure_ascii=False).encode(
        "utf-8", "backslashreplace"
    )
    assert (
        b"".join(canonical(packed(document)))
        == json.dumps(plain(document), sort_keys=True, separators=(",", ":")).encode()
    )


@given(documents)
def test_a_document_comes_back_with_sets_for_arrays_of_ids(document: dict[str, Any]) -> None:
    found = loads(json_text(packed(document)).encode())

    assert plain(found) == json.loads(json.dumps(plain(document)))
    for array in (*found.get("turn_off", {}).values(), found.get("unknown", [])):
        assert isinstance(array, BitMap64) or not array or LARGEST in array


@given(
    document=documents,
    at=st.floats(0, 1, exclude_max=True),
    what=st.sampled_from([b"", b"0", b"1", b"9", b" ", b",", b"-", b".", b"e1", b"]", b"[", b'"', b"NaN", b"\n", b"+"]),
    taken=st.integers(0, 2),
)
def test_an_edited_document_is_read_as_by_the_library_or_not_at_all(
    document: dict[str, Any], at: float, what: bytes, taken: int
) -> None:
    text = json_text(packed(document)).encode()
    place = int(at * len(text))
    edited = text[:place] + what + text[place + taken :]
    try:
        expected = json.loads(edited)
    except ValueError:
        with pytest.raises(ValueError):  # noqa: PT011  # whatever it says
            loads(edited)
        return
    if b"NaN" not in edited:
        assert plain(loads(edited)) == expected


@pytest.mark.parametrize(
    "array",
    ["1,2", "1 , 2", "1,  2", "2, 1", "1, 1", "01, 2", "1, 02", "00, 1", "1, 2.0", "1, -2", "1, 2,", ", 1", "1 2, 3"],
)
def test_ids_that_are_written_in_another_way_are_left_to_the_library(array: str) -> None:
    text = f'{{"unknown": [{array}], "turn_off": {{"1": [{array}]}}}}'.encode()
    try:
        expected = json.loads(text)
    except ValueError:
        with pytest.raises(ValueError):  # noqa: PT011  # whatever it says
            loads(text)
    else:
        assert loads(text) == expected


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_a_constant_of_the_document_itself_never_stands_for_ids(constant: str) -> None:
    for text in (f'{{"a": {constant}, "unknown": [1, 2]}}', f'{{"unknown": [1, 2], "a": {constant}}}'):
        with pytest.raises(ValueError, match="is no JSON"):
            loads(text.encode())


@pytest.mark.parametrize("array", [b"18,1 91", b"18, , 91", b"18, 91, ", b", 18, 91", b"0, , 7", b"00, 1", b"1, 02"])
def test_commas_and_blanks_out_of_place_are_left_to_the_library(array: bytes) -> None:
    try:
        expected = json.loads(b"[%s]" % array)
    except ValueError:
        with pytest.raises(ValueError):  # noqa: PT011  # whatever it says
            loads(b'{"unknown": [%s]}' % array)
    else:
        assert loads(b'{"unknown": [%s]}' % array) == {"unknown": expected}
