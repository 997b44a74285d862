"""The list in a file: every way in which a CSV comes, and rows named by their line."""

from __future__ import annotations

import gzip
import os
import random
import re
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from chatsync.cancel_scope import CancelScope
from chatsync.config.durations import Seconds
from chatsync.config.settings import Exclusions
from chatsync.errors import SourceError
from chatsync.exclusions.file import open_file
from tests.harness.job import SETTLE
from tests.harness.memory import bounded_memory

if TYPE_CHECKING:
    from pathlib import Path

    from tests.harness.job import Job

Rejections = list[tuple[int, str, str]]

BOM = b"\xef\xbb\xbf"
FORMS: dict[str, tuple[bytes, list[int], Rejections]] = {
    "header": (b"client_id\n1\n2\n", [1, 2], []),
    "no header": (b"1\n2\n", [1, 2], []),
    "no last newline": (b"client_id\n1\n2", [1, 2], []),
    "one id": (b"1", [1], []),
    "quotes": (b'"client_id"\n"1"\n"2"\n', [1, 2], []),
    "quotes, no header": (b'"1"\n"2"\n', [1, 2], []),
    "BOM": (BOM + b"client_id\n1\n", [1], []),
    "BOM, no header": (BOM + b"1\n2\n", [1, 2], []),
    "BOM and quotes": (BOM + b'"client_id","comment"\n"1","x"\n', [1], []),
    "CRLF": (b"client_id\r\n1\r\n2\r\n", [1, 2], []),
    "CRLF, several columns": (b"client_id,comment\r\n1,a\r\n2,b\r\n", [1, 2], []),
    "blank lines": (b"client_id\n\n1\n  \n\r\n2\n\n", [1, 2], []),
    "blank lines, several columns": (b"client_id,comment\n\n1,a\n\r\n2,b\n\n", [1, 2], []),
    "white space": (b"client_id\n 1\n2 \n\t3\n", [1, 2, 3], []),
    "column in the middle": (b"a,client_id,b\nx,1,y\nx,2,y\n", [1, 2], []),
    "commas and newlines in a cell": (b'comment,client_id\n"a, b",1\n"a\nb",2\n', [1, 2], []),
    "leading zeros": (b"client_id\n007\n", [7], []),
    "largest": (b"client_id\n9223372036854775807\n", [2**63 - 1], []),
    "header behind blank lines": (BOM + b"\n \r\nclient_id,comment\n1,a\n", [1], []),
    "ids behind blank lines": (b"\n\n1\nx\n", [1], [(4, "x", "not an integer")]),
    "spaces of other kinds": ("client_id\n\xa01\n2\u2003\n".encode(), [1, 2], []),
    "spaces of other kinds, several columns": ('client_id,a\n\xa01,x\n"2\u2003",x\n'.encode(), [1, 2], []),
    "a quote far behind": (b'client_id\n1\n2\n"3"\n4\n', [1, 2, 3, 4], []),
    "an id inside a cell of text": (b'client_id\n"a\n7\nb"\n1\n', [1], [(4, "a?7?b", "not an integer")]),
    "a header of several lines": (b'"client\n2026",client_id\nx,1\n', [1], []),
    "rows that don't fit the header": (
        b"comment,client_id,day\nRomashka,1,mon\nRomashka, 12,1030,tue\n1,5\nx\n\n,,\n",
        [1],
        [
            (3, "Romashka, 12,1030,tue", "4 cells, the header has 3"),
            (4, "1,5", "2 cells, the header has 3"),
            (5, "x", "1 cell, the header has 3"),
            (7, "", "null"),
        ],
    ),
    "more cells than one": (
        b"client_id\n1\n12,5\n2,\n",
        [1],
        [
            (3, "12,5", "2 cells, the header has 1"),
            (4, "2,", "2 cells, the header has 1"),
        ],
    ),
    "nothing at all": (b"", [], []),
    "header alone": (b"client_id\n", [], []),
    "header of several columns alone": (b"client_id,comment\n", [], []),
    "no ids": (
        b"client_id\nn/a\n-1\n0\n1.5\n9223372036854775808\n+1\n1e3\n1 2\n\xff\n1\n",
        [1],
        [
            (2, "n/a", "not an integer"),
            (3, "-1", "negative"),
            (4, "0", "zero"),
            (5, "1.5", "fraction"),
            (6, "9223372036854775808", "too large"),
            (7, "+1", "not an integer"),
            (8, "1e3", "not an integer"),
            (9, "1 2", "not an integer"),
            (10, "\N{REPLACEMENT CHARACTER}", "not an integer"),
        ],
    ),
    "no id in the first line": (b"n/a\n1\n", [1], [(1, "n/a", "not an integer")]),
    "lines counted with blank ones": (b"client_id\n\n1\n\nx\n", [1], [(5, "x", "not an integer")]),
    "several columns, no ids": (
        b'comment,client_id\na,1\nb,\nc\n"d\ne",x\n',
        [1],
        [(3, "", "null"), (4, "c", "1 cell, the header has 2"), (6, "x", "not an integer")],
    ),
    "long": (b"client_id\n" + b"9" * 10**6 + b"\n", [], [(2, "9" * 60 + "…", "too large")]),
    "long, several columns": (b"a,client_id\nx," + b"y" * 10**6, [], [(2, "y" * 60 + "…", "not an integer")]),
    "names that look like SQL": (
        b"client_id\n1; DROP TABLE clients_features\n",
        [],
        [(2, "1; DROP TABLE clients_features", "not an integer")],
    ),
}


@pytest.mark.parametrize(("content", "ids", "rejected"), FORMS.values(), ids=FORMS)
def test_every_row_is_an_id_or_rejected_with_its_line(
    job: Job, content: bytes, ids: list[int], rejected: Rejections
) -> None:
    job.list_file.write_bytes(content)

    result = job.diff()

    listed = job.plan()["exclusions"]
    assert (result.code, result.err) == (0, "")
    assert job.plan()["unknown"] == ids
    assert [(item["row"], item["value"], item["reason"]) for item in listed["rejected"]] == rejected
    assert (listed["rows"], listed["clients"], listed["duplicates"]) == (len(ids) + len(rejected), len(ids), 0)


@pytest.mark.parametrize(
    ("row", "line"),
    [
        pytest.param('"never closed,1001', 1003, id="to the end"),
        pytest.param('"closed late,1001\nx,1002\n"y",1003', 1004, id="to the next quote"),
    ],
)
def test_a_quote_that_is_not_closed_swallows_no_rows(job: Job, row: str, line: int) -> None:
    rows = "".join(f"x,{client}\n" for client in range(1, 1001))
    job.list_file.write_text(f"comment,client_id\n{rows}{row}\nx,1004\n")

    result = job.diff()

    assert (result.code, result.out) == (1, "")
    assert result.err.startswith(f"chatsync: list {job.list_file}, line {line}: not CSV: ")
    assert not job.plan_file.exists()


def test_duplicates_count_once(job: Job) -> None:
    job.list([5, "05", 6, 5, "5"])

    assert job.diff().code == 0

    listed = job.plan()["exclusions"]
    assert job.plan()["unknown"] == [5, 6]
    assert (listed["rows"], listed["clients"], listed["duplicates"]) == (5, 2, 3)


@pytest.mark.slow
def test_a_line_keeps_its_number_beyond_the_first_megabytes(job: Job) -> None:
    count = 1_000_000  # 7.9 MB, read in pieces of 4
    numbers = "\n".join(map(str, range(1_000_000, 1_000_000 + count)))
    job.list_file.write_text(f"client_id\n{numbers}\nn/a\n")

    assert job.diff().code == 0

    listed = job.plan()["exclusions"]
    assert listed["rejected"] == [{"row": count + 2, "value": "n/a", "reason": "not an integer"}]
    assert listed["clients"] == count


def test_another_column(job: Job) -> None:
    job.list_file.write_text("client_id,ClientID\n1,2\n")
    job.configure(exclusions={**job.exclusions, "column": "ClientID"})

    assert job.diff().code == 0
    assert job.plan()["unknown"] == [2]


@pytest.mark.parametrize("header", ["ClientID", "id,comment", "client", '"Client_ID"'])
def test_a_header_without_the_column_is_an_error_and_no_empty_list(job: Job, header: str) -> None:
    job.settle_off({1: 1})
    job.list_file.write_text(f"{header}\n1\n")

    result = job.diff()

    assert result.code == 1
    assert "has no column 'client_id'" in result.err
    assert not job.plan_file.exists()


OTHER_KINDS: dict[str, tuple[bytes, str]] = {
    "old Mac line ends": (b"client_id\r1\r2\r", "line 1: not CSV: "),
    "UTF-16 with CRLF": ("client_id\r\n1\r\n".encode("utf-16"), "is text in UTF-16 (first bytes ff fe), not CSV"),
    "UTF-16 with LF": ("client_id\n1\n".encode("utf-16"), "is text in UTF-16 (first bytes ff fe), not CSV"),
    "UTF-16 without a mark": ("client_id\n1\n".encode("utf-16-le"), "holds NUL bytes, as text in UTF-16 does"),
    "gzip": (gzip.compress(b"client_id\n1\n"), "is a gzip file (first bytes 1f 8b), not CSV; unpack it"),
    "xlsx": (b"PK\x03\x04\x14\0", "an Excel workbook (.xlsx) (first bytes 50 4b 03 04), not CSV; save the sheet"),
    "semicolons": (b"client_id;comment\n1;a\n", "its header is separated by semicolons; save it as CSV with commas"),
    "tabs": (b"comment\tclient_id\na\t1\n", "its header is separated by tabs; save it as CSV with commas"),
    "quoted names": (b'"client_id"|"comment"\n"1"|"a"\n', "its header is separated by vertical bars"),
    "JSON": (b'[{"client_id": 1}]', "looks like JSON, not CSV"),
    "a web page": (b"\n<!DOCTYPE html><p>log in</p>", "looks like HTML or XML, not CSV"),
    "a column named twice": (b"client_id,client_id\n1,2\n", "has more than one column 'client_id'"),
    "a quote in the header": (b'"client_id\n' + b"1\n" * 1000, "line 1: not CSV: a quote is not closed"),
    "a line without an end": (b"client_id\n" + b"1" * (17 << 20), "a line is longer than 16 MB, so this is not a list"),
    "a cell without an end": (b'a,client_id\n"' + b"1,1\n" * (5 << 20), "not CSV: field larger than field limit"),
}


@pytest.mark.parametrize(("content", "message"), OTHER_KINDS.values(), ids=OTHER_KINDS)
def test_a_file_of_another_kind_is_said_to_be_one(job: Job, content: bytes, message: str) -> None:
    job.settle_off({1: 1})
    job.list_file.write_bytes(content)

    result = job.diff()

    assert (result.code, result.err.count("\n")) == (1, 1)
    assert message in result.err
    assert "--" not in result.err
    assert not job.plan_file.exists()


def test_a_first_line_without_an_end_is_a_rejected_row(job: Job) -> None:
    job.list_file.write_bytes(b"1 " * 100_000)

    assert job.diff().code == 0
    assert job.plan()["exclusions"]["rejected_count"] == 1


@pytest.mark.parametrize("there_is", ["nothing", "a folder"])
def test_a_file_that_cannot_be_read_is_named(job: Job, there_is: str) -> None:
    job.list_file.unlink()
    if there_is == "a folder":
        job.list_file.mkdir()

    result = job.diff()

    assert (result.code, result.out) == (1, "")
    assert result.err.startswith(f"chatsync: cannot read the list {job.list_file}: ")
    assert result.err.count("\n") == 1


def test_the_file_has_its_time_to_the_microsecond(job: Job) -> None:
    moment = datetime(2026, 9, 21, 14, 13, 20, 123456, tzinfo=UTC)
    job.list([1], modified=moment.timestamp())

    assert job.diff().code == 0
    assert job.plan()["exclusions"]["modification_time"] == "2026-09-21T14:13:20.123456Z"


@pytest.mark.parametrize("change", ["appended", "replaced"])
def test_a_file_written_to_while_it_is_read_is_an_error_unless_replaced_whole(tmp_path: Path, change: str) -> None:
    path = tmp_path / "list.csv"
    path.write_text("client_id\n1\n2\n")
    section = Exclusions(file=str(path), settle=Seconds.parse(SETTLE))

    with open_file(section, CancelScope(deadline=60, retry_timeout=1)) as opened:
        if change == "appended":
            with path.open("a") as file:
                file.write("3\n")
            with pytest.raises(SourceError, match="it changed while it was read"):
                opened.read(lambda _: None)
        else:
            newer = tmp_path / "newer"
            newer.write_text("client_id\n3\n")
            newer.replace(path)
            assert list(opened.read(lambda _: None).id_set) == [1, 2]


@pytest.mark.parametrize("away", [1, -1])
def test_a_file_that_changed_just_now_is_not_read_yet(job: Job, away: int) -> None:
    job.configure(exclusions={"file": str(job.list_file), "settle": "1m"})
    moment = time.time()
    os.utime(job.list_file, (moment - away * 30, moment - away * 30))

    results = [job.diff(), job.diff("--if-modified"), job.run("status")]
    check = job.run("check")

    assert [result.code for result in results] == [1, 1, 1]
    advice = "it changed within the last 1m (exclusions.settle) and may not be complete yet; the next run reads it"
    assert results[0].err == results[1].err == f"chatsync: list {job.list_file}: {advice}\n"
    assert advice in results[2].out + results[2].err
    assert not job.plan_file.exists()
    assert (check.code, check.out.startswith("CHATSYNC OK - ")) == (0, True)

    os.utime(job.list_file, (moment - away * 90, moment - away * 90))
    assert job.diff().code == 0


def test_a_path_with_a_nul_byte_is_an_error(job: Job) -> None:
    job.configure(exclusions={"file": "a\0b"})

    result = job.diff()

    assert (result.code, result.err.count("\n")) == (2, 1)
    assert "exclusions.file" in result.err
    assert "\0" not in result.err


def test_a_file_behind_links_is_as_new_as_the_latest_of_them(job: Job) -> None:
    """A link that is put back to an older file is a new list."""
    old, link = job.folder / "old.csv", job.folder / "links" / "list.csv"
    link.parent.mkdir()
    job.list([1], modified=1_790_000_000)
    job.list_file.rename(old)
    for path, target, moment in ((link, old, 1_790_000_500), (job.list_file, link, 1_790_000_300)):
        path.symlink_to(target)
        os.utime(path, (moment, moment), follow_symlinks=False)

    assert job.diff().code == 0

    assert job.plan()["exclusions"]["modification_time"] == "2026-09-21T14:21:40.000000Z"
    assert job.plan()["exclusions"]["source"] == str(job.list_file)


def odd_list(chance: random.Random) -> bytes:
    """A file that no person means as a list, or one with a fault or two."""
    cells = [
        "1", "2", "-1", "0", "007", "9" * 19, "9" * 50, "1.0", "1e3", "NaN", "n/a", "", " ", "\xa01", "\u0661", "=1+1",
        '"', '""', '"1"', '"1\n2"', "a,b", "1;2", "1\t2", "client_id", "\0", "\ufeff1", "\u202e1", "x" * 5000, "'1'",
        "\r", "\x1b[2J",
    ]  # fmt: skip
    headers = [
        "", "client_id", "client_id,a", "a,client_id", '"client_id","a"', "client_id,client_id", "id", "a;client_id",
        '"a\nb",client_id', '"client_id', "CLIENT_ID", ",", "client_id,", "\n\nclient_id",
    ]  # fmt: skip
    rows = [chance.choice([",", ",", ";"]).join(chance.choices(cells, k=chance.randint(1, 3))) for _ in range(20)]
    text = chance.choice(["\n", "\n", "\r\n", "\r"]).join([chance.choice(headers), *rows])
    raw = text.encode(chance.choice(["utf-8"] * 6 + ["utf-16", "utf-32", "utf-8-sig"]))
    if chance.random() < 0.3:
        at = chance.randrange(len(raw))
        raw = raw[:at] + chance.randbytes(chance.randrange(9)) + raw[at + chance.randrange(9) :]
    return chance.choice([raw] * 9 + [gzip.compress(raw), chance.randbytes(500)])


@pytest.mark.parametrize("seed", range(2))
def test_a_thousand_odd_lists_are_each_read_or_refused_in_one_line(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "list.csv"
    chance = random.Random(seed)  # noqa: S311 - the same every time
    section = Exclusions(file=str(path), settle=Seconds.parse(SETTLE))
    refused, slow = set(), 0.0
    with bounded_memory():
        for _ in range(500):
            path.write_bytes(odd_list(chance))
            began = time.monotonic()
            try:
                with open_file(section, CancelScope(deadline=20, retry_timeout=0)) as opened:
                    opened.check_column()
                    listed = opened.read(lambda _: None)
            except SourceError as error:
                refused.add(re.sub(r"\d+|'.*'", "", str(error)))
            else:
                assert listed.rows == len(listed.ids) + listed.duplicates + listed.rejected_count
                assert all(0 < client < 2**63 for client in listed.id_set)
            slow = max(slow, time.monotonic() - began)
    assert slow < 5
    assert len(refused) > 8
    assert [line for line in refused if len(line) > 500 or len(line.splitlines()) != 1] == []
