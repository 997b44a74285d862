"""Recognising files that are not CSV in UTF-8 by their first bytes, so that the error message can name their kind."""

from chatsync.errors import SourceError

_MAGIC = {
    b"\x1f\x8b": ("a gzip file", "unpack it"),
    b"BZh": ("a bzip2 file", "unpack it"),
    b"\xfd7zXZ": ("an xz file", "unpack it"),
    b"\x28\xb5\x2f\xfd": ("a zstd file", "unpack it"),
    b"7z\xbc\xaf": ("a 7z file", "unpack it"),
    b"PK\x03\x04": ("a zip file or an Excel workbook (.xlsx)", "save the sheet as CSV, or unpack it"),
    b"\xd0\xcf\x11\xe0": ("an old Excel workbook (.xls)", "save the sheet as CSV"),
    b"PAR1": ("a Parquet file", "export it as CSV"),
    b"ORC": ("an ORC file", "export it as CSV"),
    b"%PDF": ("a PDF", "export it as CSV"),
    b"\xff\xfe": ("text in UTF-16", "save it as UTF-8"),
    b"\xfe\xff": ("text in UTF-16", "save it as UTF-8"),
}
_MARKUP = {b"<": "HTML or XML", b"{": "JSON", b"[": "JSON"}
_DELIMITERS = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}


def check_kind(start: bytes, *, where: str) -> None:
    """Check the start of a file. Raises SourceError with its kind, the first bytes and what to do."""
    for magic, (kind, way_out) in _MAGIC.items():
        if start.startswith(magic):
            raise SourceError(f"{where} is {kind} (first bytes {magic.hex(' ')}), not CSV", way_out=way_out)
    if b"\0" in start:
        what = f"{where} holds NUL bytes, as text in UTF-16 does (first bytes {start[:4].hex(' ')}), so it is not CSV"
        raise SourceError(what, way_out="save it as UTF-8")
    markup = _MARKUP.get(start.removeprefix(b"\xef\xbb\xbf").lstrip()[:1])
    if markup:
        raise SourceError(f"{where} looks like {markup}, not CSV", way_out="export it as CSV")


def wrong_delimiter(header: str, column: str) -> str:
    """Return the name of the delimiter that a header has instead of commas; empty if it is not such a header."""
    for delimiter, name in _DELIMITERS.items():
        names = [one.strip().strip('"') for one in header.split(delimiter)]
        if len(names) > 1 and column in names:
            return name
    return ""
