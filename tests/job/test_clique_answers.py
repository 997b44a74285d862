"""The answer of a clique, written here line by line: used if it is whole, and refused with the reason if it is not.

The same against a real ClickHouse is in tests/cluster.
"""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

import pytest
from pyroaring import BitMap64

from chatsync.export.answer import bitmap, read_answer
from chatsync.ytsaurus.session import AnswerError
from tests.harness.export import ONE_TABLE
from tests.harness.job import TABLE
from tests.harness.yt_faults import INT64
from tests.harness.yt_http import Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from tests.harness.export import Exporter

LISTED = {1, 2, 5}
OFF = {1: {1}, 2: {2, 6}, 3: {7}, 4: set(range(100, 170))}
HOMES = {5: 1, **{client: shard for shard, clients in OFF.items() for client in clients}}

Lines = list[list[Any]]


def in_hex(ids: Collection[int], *, is_large: bool = False) -> str:
    """Write a bitmap as ClickHouse does: a kind, a length, and the numbers or a portable Roaring64Map."""
    data = BitMap64(ids).serialize() if is_large else struct.pack(f"<{len(ids)}Q", *sorted(ids))
    length, size = b"", len(data) if is_large else len(ids)
    while size >= 0x80:
        length, size = length + bytes([size & 0x7F | 0x80]), size >> 7
    return (bytes([is_large]) + length + bytes([size]) + data).hex().upper()


def lines() -> Lines:
    """Compare LISTED with OFF as the statement says, in sets; shard 4 has a large bitmap."""
    off = set().union(*OFF.values())
    counts = [number for shard, ids in OFF.items() for number in (shard, len(ids), len(ids - LISTED))]
    return [
        ["list", 0, 5, [1, 1, 0, 0, 0, 0], [[1, "None"], [2, "0\n" + "x" * 90]], in_hex(())],
        *(["export", shard, len(ids), [0, len(ids), len(ids), len(ids)], [], in_hex(())] for shard, ids in OFF.items()),
        ["summary", 0, 3, [len(off), len(LISTED - off), 1, *counts], [], in_hex(())],
        ["present", 0, 1, [0], [], in_hex({1})],
        ["turn_off", 0, 1, [0], [], in_hex(LISTED - off)],
        *(
            ["turn_on", shard, len(ids - LISTED), [0], [], in_hex(ids - LISTED, is_large=shard == 4)]
            for shard, ids in OFF.items()
        ),
    ]


def body(answer: Lines) -> bytes:
    return b"".join(json.dumps(line).encode() + b"\n" for line in answer)


def line(answer: Lines, kind: str, shard: int = 0) -> list[Any]:
    (found,) = (one for one in answer if one[:2] == [kind, shard])
    return found


class Clique:
    """A clique that gives one answer and keeps the statement."""

    def __init__(self) -> None:
        self.lines = lines()
        self.asked = ""

    def answer(self, sql: str, _settings: Mapping[str, str], _resolve: Callable[[str], Any]) -> Reply:
        self.asked = sql
        return Reply(body=body(self.lines), headers={"X-ClickHouse-Server-Display-Name": "stand-in"})


@pytest.fixture
def clique(exporter: Exporter) -> Clique:
    """A job with three listed clients that asks a clique."""
    exporter.job.settle(HOMES)
    for shard, ids in OFF.items():
        for client in ids:
            exporter.job.row(shard, client, 0)
    exporter.note("2026-01-01")
    exporter.write()
    exporter.yt.write(TABLE, ids=[*LISTED, 0, None], **INT64)
    clique = Clique()
    exporter.yt.cliques["chatsync"] = clique
    configure(exporter)
    return clique


def configure(exporter: Exporter, **keys: Any) -> None:
    sections: dict[str, dict[str, Any]] = {"run": {"retry_timeout": "0.2s"}, "limits": {"must_contain": [1, 99]}}
    exporter.configure(sections, **{"clique": "chatsync", **keys})


def refused(exporter: Exporter) -> str:
    done = exporter.job.diff()
    assert (done.code, done.out) == (1, "")
    return done.err


def test_the_answer_gives_the_plan_that_reading_here_gives(exporter: Exporter, clique: Clique) -> None:
    assert exporter.job.diff().code == 0
    plan = exporter.job.plan()
    assert clique.asked
    configure(exporter, clique="")
    assert exporter.job.diff().code == 0
    here = exporter.job.plan()

    assert (plan["export"]["compared_by"], here["export"]["compared_by"]) == ("clique chatsync", "this machine")
    assert plan["turn_off"] == here["turn_off"] == {"1": [5], "2": [], "3": [], "4": []}
    assert plan["turn_on"] == here["turn_on"] == {"1": [], "2": [6], "3": [7], "4": [*range(100, 170)]}
    for key in ("rows", "clients", "duplicates", "rejected_count", "present", "missing"):
        assert plan["exclusions"][key] == here["exclusions"][key]
    assert [row["value"] for row in plan["exclusions"]["rejected"]] == ["None", "0?" + "x" * 58 + "…"]


def test_the_statement_names_the_tables_and_columns_in_quotes(exporter: Exporter, clique: Clique) -> None:
    exporter.job.diff()

    assert "SELECT `client_id` AS cs_cell FROM `//home/sales/exclusions`" in clique.asked
    assert "concatYtTables('//home/db/latest/ppc1/clients_features', '//home/db/latest/ppc2" in clique.asked
    assert "CAST([1, 99] AS Array(UInt64))" in clique.asked


# -- what is refused --


def doubled(answer: Lines) -> None:
    line(answer, "export", 2)[3][3] -= 1


def of_no_shard(answer: Lines) -> None:
    line(answer, "summary")[3][3] = 2**64 - 1
    for kind in ("export", "turn_on"):
        line(answer, kind, 1)[1] = -1


def too_many_clients(answer: Lines) -> None:
    line(answer, "summary")[2] = 4


CONTRADICTIONS: dict[str, tuple[Callable[[Lines], None], str]] = {
    "list": (lambda answer: line(answer, "list").__setitem__(2, 4), "the clique read 4 of 5 rows; an incomplete"),
    "export": (lambda answer: line(answer, "export", 4).__setitem__(2, 69), "the clique read 69 of 70 rows"),
    "broken": (lambda answer: line(answer, "export", 2)[3].__setitem__(0, 1), "1 row without a client id, a feature"),
    "doubled": (doubled, "2 rows of the feature for 1 client; an export with duplicate rows is not used"),
    "no shard": (of_no_shard, "1 row of shard -1, which is missing from databases.shards"),
    "too many": (too_many_clients, "4 clients in 5 rows, of which 2 hold none"),
}


@pytest.mark.parametrize("what", CONTRADICTIONS)
def test_an_answer_that_contradicts_the_tables_is_refused(exporter: Exporter, clique: Clique, what: str) -> None:
    change, message = CONTRADICTIONS[what]
    change(clique.lines)

    assert message in refused(exporter)


def test_a_column_without_a_type_is_refused(exporter: Exporter, clique: Clique) -> None:
    assert clique
    exporter.yt.write(TABLE, ids=[1], schema=[], strict=False)

    assert "a clique cannot read column 'client_id' without a type; leave out export.clique" in refused(exporter)


def test_tables_of_different_types_are_refused(exporter: Exporter, clique: Clique) -> None:
    assert clique
    exporter.types = ("int64", "int64", "int64")
    exporter.write_shard(3, exporter.rows(3))

    assert "its columns are of other types than those of" in refused(exporter)


def test_more_tables_than_a_clique_reads_are_refused(exporter: Exporter, clique: Clique, mocker: Any) -> None:
    assert clique
    mocker.patch("chatsync.export.on_clique._MOST_TABLES", 3)

    assert "4 tables are more than the 3 that a clique reads together" in refused(exporter)


def test_one_table_of_strings_for_all_shards(exporter: Exporter, clique: Clique) -> None:
    exporter.types = ("string", "string", "string")
    before = exporter.rows
    exporter.rows = lambda shard: [tuple(map(str, row)) for row in before(shard)]  # type: ignore[method-assign]
    exporter.write_together()
    exporter.yt.write(TABLE, ids=[b"1", b"2", b"5", b"0", None], schema=[{"name": "client_id", "type": "string"}])
    configure(exporter, path=ONE_TABLE, shard_column="shard")

    assert exporter.job.diff().code == 0
    assert exporter.job.plan()["turn_on"]["2"] == [6]
    assert "`shard` AS cs_shard_cell" in clique.asked
    assert "FROM `//home/db/latest/clients_features`" in clique.asked


def test_a_cut_answer_is_asked_for_again(exporter: Exporter, clique: Clique) -> None:
    assert clique
    exporter.yt.answer_next("query", Reply(body=body(clique.lines)[:-1]))

    assert "clique chatsync: an incomplete answer is not used: its last line is cut" in refused(exporter)


def test_an_answer_that_is_cut_at_any_byte_is_refused() -> None:
    answer = body(lines())

    assert read_answer(answer).off == 74
    for size in range(len(answer)):
        with pytest.raises(AnswerError):
            read_answer(answer[:size])


def test_an_answer_with_a_line_lost_or_doubled_is_refused() -> None:
    answer = lines()
    for at, one in enumerate(answer):
        for wrong in ([*answer[:at], *answer[at + 1 :]], [*answer, one]):
            with pytest.raises(AnswerError, match="an incomplete answer is not used"):
                read_answer(body(wrong))


def test_an_answer_whose_counts_are_changed_is_refused() -> None:
    answer = lines()
    numbers = line(answer, "summary")[3]
    for at in range(1, len(numbers)):
        numbers[at] += 1
        with pytest.raises(AnswerError, match="an incomplete answer is not used"):
            read_answer(body(answer))
        numbers[at] -= 1
    numbers.pop()
    with pytest.raises(AnswerError, match="the counts of a shard are missing"):
        read_answer(body(answer))


@pytest.mark.parametrize(
    "broken", [b"[]\n", b"{}\n", b"x\n", b'["list", 0, 5, [1], [], "0"]\n', b'["list", 0, 5, 1]\n']
)
def test_a_broken_line_is_refused(broken: bytes) -> None:
    with pytest.raises(AnswerError, match="a line is broken"):
        read_answer(broken)


@pytest.mark.parametrize("ids", [set(), {7}, set(range(200)), {2**40, 1}])
@pytest.mark.parametrize("is_large", [False, True])
def test_a_bitmap_is_read_whole_or_not_at_all(ids: set[int], *, is_large: bool) -> None:
    data = bytes.fromhex(in_hex(ids, is_large=is_large))

    assert set(bitmap(data)) == ids
    for wrong in (data[:-1], data + b"\0", b"\2" + data[1:], b"", data[:1] + b"\xff" * 9):
        with pytest.raises(ValueError, match="bitmap"):
            bitmap(wrong)
