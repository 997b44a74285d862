"""The formats in which `tests.harness.yt_proxy` answers read_table (docs: storage/formats)."""

from __future__ import annotations

import itertools
import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from yt import yson

from tests.harness.yt_tables import FORMAT_CANNOT_REPRESENT_ROW, IdRows, Row, Version, YtFault, select

BYTES_A_CHUNK = 1 << 20
ROWS_A_CHUNK = 1000


def render(
    version: Version, ranges: Sequence[range], *, columns: Sequence[str] | None, form: Any, control: Mapping[str, Any]
) -> Iterator[bytes]:
    """The body of read_table in pieces; an error may come after the first ones, as on a real proxy."""
    name, options = str(form), dict(getattr(form, "attributes", {}))
    if name not in WRITERS:
        raise YtFault(1, f'Error parsing EFormatType value "{name}"', origin="output_format")
    if name.endswith("dsv") and (control.get("enable_row_index") or control.get("enable_range_index")):
        raise YtFault(1, f"Row indices are not supported in {name} format")  # dsv_writer.cpp, schemaful_dsv_writer.cpp
    if name == "schemaful_dsv":
        yield _schemaful_header(options)
        if _is_plain(version.rows, columns, options):
            yield from _text_of(version.rows, ranges)  # type: ignore[arg-type]  # plain rows are IdRows
            return
    if (ready := _ready(version.rows, ranges, name, columns=columns, options=options)) is not None:
        yield from ready
        return
    for number, indexes in enumerate(ranges):
        if control.get("enable_range_index"):
            yield _control_row(name, options, "range_index", number)
        if control.get("enable_row_index") and indexes:
            yield _control_row(name, options, "row_index", indexes.start)
        for start in range(indexes.start, indexes.stop, ROWS_A_CHUNK):
            part = indexes[start - indexes.start :][:ROWS_A_CHUNK]
            yield WRITERS[name](select(version, part, columns), options)


def _ready(
    rows: Any, ranges: Sequence[range], name: str, *, columns: Sequence[str] | None, options: Mapping[str, Any]
) -> Iterator[bytes] | None:
    """Return the body of rows that are kept as their text, or as numbers (bench/exported.py); None for others."""
    if name == "dsv" and _is_plain_dsv(rows, columns, options):
        return _text_of(rows.as_dsv, ranges)
    if name == "skiff" and hasattr(rows, "skiff"):
        return itertools.chain.from_iterable(rows.skiff(indexes.start, indexes.stop) for indexes in ranges)
    return None


def _is_plain(rows: Sequence[Row], columns: Sequence[str] | None, options: Mapping[str, Any]) -> bool:
    plain = set(options) <= {"columns", "missing_value_mode", "missing_value_sentinel", "enable_escaping"} | {
        "enable_table_index",
        "table_index_column",
        "enable_column_names_header",
    }
    return isinstance(rows, IdRows) and plain and options["columns"] == [rows.column] == (columns or [rows.column])


def _is_plain_dsv(rows: Sequence[Row], columns: Sequence[str] | None, options: Mapping[str, Any]) -> bool:
    plain = set(options) <= {"enable_escaping", "enable_table_index", "table_index_column"}
    return isinstance(rows, IdRows) and plain and columns in (None, [rows.column])


def _text_of(rows: IdRows, ranges: Sequence[range]) -> Iterator[bytes]:
    for indexes in ranges:
        text = rows.text(indexes.start, indexes.stop)
        for start in range(0, len(text), BYTES_A_CHUNK):
            yield bytes(text[start : start + BYTES_A_CHUNK])


def _control_row(name: str, options: Mapping[str, Any], key: str, value: int) -> bytes:
    """An entity with attributes between the rows; table_commands.py, YsonControlRowFormat and JsonControlRowFormat."""
    if name == "json":
        return json.dumps({"$value": None, "$attributes": {key: value}}).encode() + b"\n"
    return _yson([yson.to_yson_type(None, {key: value})], options)


def _yson(rows: Any, options: Mapping[str, Any]) -> bytes:
    variant = str(options.get("format", "binary"))
    return bytes(yson.dumps(list(rows), yson_type="list_fragment", yson_format=variant))


def _json(rows: Iterator[Row], options: Mapping[str, Any]) -> bytes:
    """One object a line; encode_utf8 (the default) turns each byte into the character of that number."""
    encoding = "latin-1" if options.get("encode_utf8", True) else "utf-8"
    texts = (json.dumps(_jsonable(row, encoding), separators=(",", ":"), ensure_ascii=False) for row in rows)
    return "".join(text + "\n" for text in texts).encode()


def _jsonable(value: Any, encoding: str) -> Any:
    if isinstance(value, Mapping):
        return {_jsonable(k, encoding): _jsonable(v, encoding) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(item, encoding) for item in value]
    if isinstance(value, (str, bytes)):
        return (value.encode() if isinstance(value, str) else value).decode(encoding)
    return value


def _dsv(rows: Iterator[Row], options: Mapping[str, Any]) -> bytes:
    """`key=value` pairs; nulls are left out (dsv_writer.cpp)."""
    prefix = [str(options["line_prefix"]).encode()] if "line_prefix" in options else []
    between, end = (str(options.get(k, d)).encode() for k, d in (("field_separator", "\t"), ("record_separator", "\n")))
    equals, lines = str(options.get("key_value_separator", "=")).encode(), []
    for row in rows:
        pairs = (_escaped(k, options, equals) + equals + _scalar(v, options) for k, v in row.items() if v is not None)
        lines.append(between.join([*prefix, *pairs]) + end)
    return b"".join(lines)


def _schemaful_header(options: Mapping[str, Any]) -> bytes:
    columns = [str(c) for c in options.get("columns", [])]
    if "columns" not in options:
        raise YtFault(1, "Config must contain columns for schemaful DSV schemaless writer")
    if len(set(columns)) < len(columns):
        raise YtFault(1, "Duplicate column name in schemaful DSV config")
    if not options.get("enable_column_names_header"):
        return b""
    between, end = options.get("field_separator", "\t"), options.get("record_separator", "\n")
    return str(between.join(columns) + end).encode()


def _schemaful_dsv(rows: Iterator[Row], options: Mapping[str, Any]) -> bytes:
    """Values in the order of `columns`; a missing or null value fails, skips the row, or prints the sentinel."""
    between, end = (str(options.get(k, d)).encode() for k, d in (("field_separator", "\t"), ("record_separator", "\n")))
    mode, sentinel = options.get("missing_value_mode", "fail"), str(options.get("missing_value_sentinel", "")).encode()
    lines = []
    for row in rows:
        missing = [c for c in options["columns"] if row.get(c) is None]
        if missing and mode == "fail":
            raise YtFault(1, f'Column "{missing[0]}" is in schema but missing')
        if missing and mode == "skip_row":
            continue
        values = (sentinel if c in missing else _scalar(row[c], options) for c in options["columns"])
        lines.append(between.join(values) + end)
    return b"".join(lines)


def _scalar(value: Any, options: Mapping[str, Any]) -> bytes:
    """yt/yt/client/formats/helpers.cpp, WriteUnversionedValue: lists and maps are refused."""
    if isinstance(value, bool):
        return b"true" if value else b"false"
    if isinstance(value, int):
        return str(int(value)).encode()
    if isinstance(value, float):
        text = repr(float(value)).removesuffix(".0")
        return (text if "." in text or "e" in text else text + ".").encode()
    if isinstance(value, (str, bytes)):
        return _escaped(value, options)
    raise YtFault(FORMAT_CANNOT_REPRESENT_ROW, 'Values of type "any" are not supported by the chosen format')


def _escaped(value: str | bytes, options: Mapping[str, Any], also: bytes = b"") -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    if not options.get("enable_escaping", True):
        return raw
    pairs = [(b"\\", b"\\\\"), (b"\n", b"\\n"), (b"\t", b"\\t"), (b"\0", b"\\0")]
    for plain, escaped in [*pairs, *([(also, b"\\" + also)] if also else [])]:
        raw = raw.replace(plain, escaped)
    return raw


def _skiff(rows: Iterator[Row], options: Mapping[str, Any]) -> bytes:
    """A tag of the table, then the columns of the schema: a tag of what it holds, and the value (docs, Skiff)."""
    (schema,) = options["table_skiff_schemas"]
    columns = [(str(column["name"]), str(column["children"][1]["wire_type"])) for column in schema["children"]]
    return b"".join(b"\0\0" + b"".join(_skiff_value(row.get(name), wire) for name, wire in columns) for row in rows)


def _skiff_value(value: Any, wire: str) -> bytes:
    """A value of another type than its schema's is an error, as on a cluster (skiff_writer.cpp)."""
    if value is None:
        return b"\0"
    if type(value) is not (bool if wire == "boolean" else int):
        raise YtFault(1, f"Unexpected type of value {value!r}: it must be {wire}")
    return b"\1" + struct.pack({"boolean": "<?", "int64": "<q", "uint64": "<Q"}[wire], value)


WRITERS = {"skiff": _skiff, "yson": _yson, "json": _json, "dsv": _dsv, "schemaful_dsv": _schemaful_dsv}
