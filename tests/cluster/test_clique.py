"""The comparison on a clique, by a real ClickHouse: it says what reading here says, or nothing."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from yt import yson

from chatsync.exclusions.client_ids import client_id
from chatsync.export.answer import read_answer
from chatsync.ytsaurus.session import AnswerError
from tests.harness.export import COLUMNS, ONE_TABLE, Exporter
from tests.harness.job import FEATURE_ID, OTHER_FEATURE_ID, TABLE, Job, SqliteFiles
from tests.harness.yt_http import Reply
from tests.harness.yt_proxy import FOREVER

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from tests.harness.clickhouse import ClickHouse
    from tests.harness.yt_http import Seen

MOST = 2**63 - 1
HOMES = {client: 1 + client % 4 for client in range(1, 41)}
STRINGS = [
    "1", "007", str(MOST), "0" * 39 + "8", "", None, "0", "000", "-1", "-0", "1.5", "1.", ".5", "1.5.2", str(MOST + 1),
    "9" * 40, "9" * 41, "0" * 41, "x" * 90, "n/a", "1 ", " 1", "+1", "1e3", "1\n2", "1\n", "\\N", "\0", "\t", "١", "½",
    'tr"ue', "'", "`", "\u200b1", b"\xff\xfe1",
]  # fmt: skip
INTEGERS: dict[str, list[int | None]] = {
    "int64": [1, MOST, None, 0, -1, -(2**63)],
    "uint64": [1, MOST, None, 0, 2**63, 2**64 - 1],
    "int8": [1, None, 0, -1, 127],
    "uint32": [1, None, 0, 2**32 - 1],
}


def write_list(exporter: Exporter, cells: Iterable[Any], kind: str = "int64", *, column: str = "client_id") -> None:
    schema = [{"name": column, "type": kind}]
    exporter.yt.write(TABLE, ids=list(cells), column=column, schema=schema, strict=True, modified=datetime.now(UTC))


def with_rows(exporter: Exporter, rows: Mapping[int, list[tuple[Any, ...]]]) -> None:
    """Export these rows, and one of another feature on every shard."""
    exporter.note("2026-01-01")
    for shard in exporter.job.shards:
        exporter.write_shard(shard, [*rows.get(shard, []), (4_000_000_000, OTHER_FEATURE_ID, 0)])


def plans(exporter: Exporter) -> list[dict[str, Any]]:
    """Make the plan here and on the clique, without what must differ."""
    made = []
    for clique in ("", "chatsync"):
        exporter.configure({"limits": {"must_contain": [1, 99]}}, clique=clique)
        done = exporter.job.run("diff", "--format", "json")
        assert done.code == 0, done.err
        plan = done.json
        for key in ("created_at", "trace_id", "sha256", "apply"):  # "apply" tells the number of a row
            del plan[key]
        assert plan["export"].pop("compared_by") == (f"clique {clique}" if clique else "this machine")
        found = plan["exclusions"].pop("rejected")
        assert all((row.pop("row") is None) == bool(clique) for row in found)
        plan["rejected"] = sorted((row["value"], row["reason"]) for row in found)[: 0 if len(found) > 19 else None]
        made.append(plan)
    return made


# -- equal to reading here, and to the rules written down naively --


cells = st.integers(0, 12) | st.sampled_from([-1, 2**33, MOST])
rows_of_a_shard = st.dictionaries(
    st.tuples(st.integers(0, 12), st.sampled_from([FEATURE_ID, FEATURE_ID, OTHER_FEATURE_ID])),
    st.sampled_from([0, 0, 1]),
    max_size=8,
)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    listed=st.lists(cells, max_size=12),
    exported=st.dictionaries(st.integers(1, 4), rows_of_a_shard, max_size=4),
    as_text=st.booleans(),
)
@example(listed=[], exported={1: {(1, FEATURE_ID): 0}}, as_text=False)
def test_any_world_gives_what_reading_here_gives(
    on_clique: Exporter, listed: list[int], exported: dict[int, dict[tuple[int, int], int]], *, as_text: bool
) -> None:
    on_clique.job.dict_sql("DELETE FROM shard_client_id")
    on_clique.job.settle(HOMES)
    write_list(on_clique, map(str, listed) if as_text else listed, "string" if as_text else "int64")
    exported.setdefault(1, {})[5, FEATURE_ID] = 1
    with_rows(on_clique, {shard: [(*key, on) for key, on in rows.items()] for shard, rows in exported.items()})

    here, there = plans(on_clique)

    assert there == here
    ids = {cell for cell in listed if 0 < cell <= MOST}
    off = {client for rows in exported.values() for (client, feature), on in rows.items() if feature == 217 and not on}
    assert (there["exclusions"]["clients"], there["exclusions"]["rows"]) == (len(ids), len(listed))
    assert there["exclusions"]["present"] == sorted(ids & {1, 99})
    assert set(sum(there["turn_off"].values(), [])) == (ids - off) & set(HOMES)  # noqa: RUF017
    assert set(there["unknown"]) == ids - off - set(HOMES)
    assert there["rejected"] == sorted((str(cell), client_id(cell)) for cell in listed if not 0 < cell <= MOST)


@pytest.mark.parametrize("kind", [*INTEGERS, "string"])
def test_every_cell_counts_as_client_ids_says(on_clique: Exporter, kind: str) -> None:
    found = INTEGERS.get(kind, STRINGS)
    with_rows(on_clique, {1: [(1, FEATURE_ID, 1)]})
    write_list(on_clique, [*found, *found], kind)

    here, there = plans(on_clique)

    assert there == here
    reasons = [client_id(cell) for cell in found]
    ids = [one for one in reasons if isinstance(one, int)]
    assert there["exclusions"]["clients"] == len(set(ids))
    assert there["exclusions"]["rejected_count"] == 2 * (len(reasons) - len(ids))


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize(
    ("types", "off", "on"),
    [
        *((("uint32", "uint32", kind), 0, 1) for kind in ("uint8", "int8", "uint32", "int64", "uint64")),
        (("uint64", "uint64", "boolean"), False, True),
        (("int64", "int64", "string"), "0", "1"),
        (("string", "string", "string"), "false", "TRUE"),
    ],
)
def test_every_form_of_an_export_is_read_alike(
    on_clique: Exporter, types: tuple[str, ...], off: Any, on: Any, *, together: bool
) -> None:
    text = str if types[0] == "string" else int
    on_clique.types = types
    on_clique.note("2026-01-01")
    rows: dict[int, list[tuple[Any, ...]]] = {shard: [] for shard in on_clique.job.shards}
    for client, home in HOMES.items():
        rows[home].append((text(client), text(217), off if client % 3 else on))
    if together:
        on_clique.keys = {"path": ONE_TABLE, "shard_column": "shard"}
        on_clique.columns, on_clique.types = (*COLUMNS, "shard"), (*types, "string" if text is str else "uint8")
        on_clique.write_table(ONE_TABLE, [(*row, text(shard)) for shard, these in rows.items() for row in these])
    else:
        for shard, these in rows.items():
            on_clique.write_shard(shard, these)
    write_list(on_clique, [1, 3, 50])
    on_clique.job.settle(HOMES)

    here, there = plans(on_clique)

    assert there == here
    assert there["turn_off"]["4"] == [3]


ODD_NAMES = ["id", "code", "shard", "cs_id", "side", "numbers", "a`b", "it's", "back\\slash", "with space", "a.b", "ж"]


@pytest.mark.parametrize(("at", "name"), [(at % 3, name) for at, name in enumerate(ODD_NAMES)])
def test_a_column_may_have_any_name(on_clique: Exporter, at: int, name: str) -> None:
    on_clique.job.settle(HOMES)
    on_clique.note("2026-01-01")
    columns = list(COLUMNS)
    columns[at] = name
    on_clique.columns = tuple(columns)
    on_clique.keys = {("client", "feature", "enabled")[at]: name}
    for shard in on_clique.job.shards:
        on_clique.write_shard(shard, [(shard - 1 or 4, FEATURE_ID, 0), (shard + 30, FEATURE_ID, 1), (9, 42, 0)])
    write_list(on_clique, [1, 1, 7, 0], column=name)
    on_clique.job.exclusions = {"proxy": on_clique.yt.url, "path": TABLE, "column": name}

    here, there = plans(on_clique)

    assert there == here
    assert (there["turn_off"]["4"], there["exclusions"]["duplicates"]) == ([7], 1)


@pytest.mark.parametrize("count", [2, 250])
def test_two_shards_and_250(on_clique: Exporter, clickhouse: ClickHouse, tmp_path: Path, count: int) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    many = Exporter(Job(folder, SqliteFiles(folder, shards=count)), on_clique.yt)
    many.yt.cliques["chatsync"] = clickhouse
    many.note("2026-01-01")
    homes = ", ".join(f"({client}, {1 + client % count})" for client in range(1, 1001))
    many.job.dict_sql(f"INSERT INTO shard_client_id (ClientID, shard) VALUES {homes}")
    for shard in many.job.shards:
        ours = [client for client in range(1, 1001) if 1 + client % count == shard]
        many.write_shard(shard, [(client, FEATURE_ID, client % 2) for client in ours])
    write_list(many, range(2, 1001, 4))

    here, there = plans(many)

    assert there == here
    assert there["export"]["contradicted"] == 250  # nobody is off in the databases
    assert len(there["export"]["rows"]) == count


def test_more_tables_than_a_clique_reads_are_refused(on_clique: Exporter, mocker: Any) -> None:
    mocker.patch("chatsync.export.on_clique._MOST_TABLES", 3)
    with_rows(on_clique, {1: [(1, FEATURE_ID, 0)]})
    write_list(on_clique, [1])

    done = on_clique.job.diff()

    assert done.code == 1
    assert "4 tables are more than the 3 that a clique reads together; leave out export.clique" in done.err


# -- whole or not at all --


BROKEN: dict[str, tuple[dict[int, list[tuple[Any, ...]]], str]] = {
    "no client": ({2: [(None, 217, 0)]}, "the export of shard 2, "),
    "no feature": (
        {2: [(1, None, 0)]},
        "1 row without a client id, a feature id, or 0 or 1; an export with a broken row",
    ),
    "negative": ({2: [(-1, 217, 0)]}, "1 row without a client id"),
    "too large": ({2: [(2**32, 42, 0)]}, "1 row without a client id"),
    "neither on nor off": ({2: [(1, 217, 2), (2, 217, None)]}, "2 rows without a client id"),
    "doubled": ({2: [(1, 217, 0), (1, 217, 0)]}, "2 rows of the feature for 1 client; an export with duplicate"),
    "on and off": ({2: [(1, 217, 0), (1, 217, 1)]}, "2 rows of the feature for 1 client; an export with duplicate"),
    "other features": ({2: [(1, 43, 0)]}, "rows is of feature 217; check export.feature"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_an_export_that_is_not_whole_is_not_used(on_clique: Exporter, fault: str) -> None:
    rows, text = BROKEN[fault]
    on_clique.types = ("int64", "int64", "int64")
    with_rows(on_clique, {**({} if fault == "other features" else {1: [(1, 217, 1)]}), **rows})
    write_list(on_clique, [1])

    done = on_clique.job.diff()

    assert (done.code, done.out) == (1, "")
    assert text in done.err


def test_a_row_of_a_shard_that_is_not_configured_is_refused(on_clique: Exporter) -> None:
    on_clique.configure(clique="chatsync", path=ONE_TABLE, shard_column="shard")
    on_clique.note("2026-01-01")
    on_clique.columns, on_clique.types = (*COLUMNS, "shard"), ("int64", "int64", "int64", "int64")
    rows = [(shard, 217, 0, shard) for shard in on_clique.job.shards]
    write_list(on_clique, [1])
    for shard, name in ((9, "9"), (None, "-1"), (-1, "-1")):
        on_clique.write_table(ONE_TABLE, [*rows, (5, 217, 0, shard)])

        assert f"1 row of shard {name}, which is missing from databases.shards" in on_clique.job.diff().err
    on_clique.write_table(ONE_TABLE, rows[1:])
    assert "it has no row of shard 1; is it complete?" in on_clique.job.diff().err


@pytest.mark.parametrize("kind", [None, "any"])
def test_a_column_without_a_type_is_refused(on_clique: Exporter, kind: str | None) -> None:
    with_rows(on_clique, {1: [(1, 217, 0)]})
    on_clique.yt.write(TABLE, ids=[1], schema=[{"name": "client_id", "type": kind}] if kind else [], strict=False)

    assert "a clique cannot read column 'client_id' without a type" in on_clique.job.diff().err


def test_tables_of_different_types_are_refused(on_clique: Exporter) -> None:
    with_rows(on_clique, {1: [(1, 217, 0)]})
    write_list(on_clique, [1])
    on_clique.types = ("int64", "int64", "int64")
    on_clique.write_shard(3, [(1, 217, 0)])

    assert "its columns are of other types than those of" in on_clique.job.diff().err


@pytest.fixture
def answer(on_clique: Exporter, mocker: Any) -> bytes:
    """A real answer, with small bitmaps and large ones."""
    answers: list[bytes] = []

    def keep(body: bytes) -> Any:
        answers.append(body)
        return read_answer(body)

    mocker.patch("chatsync.export.on_clique.read_answer", keep)
    with_rows(on_clique, {1: [(client, 217, 0) for client in range(100, 170, 2)], 2: [(7, 217, 0)]})
    write_list(on_clique, [*range(1, 100, 2), 0, None])
    assert on_clique.job.diff().code == 0
    return answers[0]


def test_an_answer_that_is_cut_at_any_byte_is_refused(answer: bytes) -> None:
    assert read_answer(answer).listed == 50
    for size in range(len(answer)):
        with pytest.raises(AnswerError):
            read_answer(answer[:size])


def test_an_answer_with_a_line_lost_or_doubled_is_refused(answer: bytes) -> None:
    lines = answer.splitlines(keepends=True)
    for at, line in enumerate(lines):
        for wrong in ([*lines[:at], *lines[at + 1 :]], [*lines[: at + 1], line, *lines[at + 1 :]]):
            with pytest.raises(AnswerError):
                read_answer(b"".join(wrong))


def test_an_answer_whose_counts_are_changed_is_refused(answer: bytes) -> None:
    rows = [json.loads(line) for line in answer.splitlines()]
    summary = next(row for row in rows if row[0] == "summary")
    for at in range(1, len(summary[3])):
        summary[3][at] += 1
        with pytest.raises(AnswerError):
            read_answer(b"".join(json.dumps(row).encode() + b"\n" for row in rows))
        summary[3][at] -= 1


def test_a_cut_answer_is_asked_for_again(on_clique: Exporter, answer: bytes) -> None:
    on_clique.yt.answer_next("query", Reply(body=answer[:-40]))

    done = on_clique.job.diff()

    assert done.code == 1
    assert "clique chatsync: an incomplete answer is not used: its last line is cut" in done.err


def test_another_version_is_never_taken_for_the_locked_one(on_clique: Exporter) -> None:
    """The list is overwritten while the clique works, with as many rows."""
    with_rows(on_clique, {1: [(1, 217, 1)]})
    on_clique.job.settle(HOMES)
    write_list(on_clique, [1, 2])
    on_clique.yt.on("query", lambda: write_list(on_clique, [3, 4]))

    assert on_clique.job.diff().code == 0
    assert on_clique.job.plan()["turn_off"] == {"1": [4], "2": [], "3": [], "4": [3]}

    on_clique.configure({"run": {"retry_timeout": "0.3s"}}, clique="chatsync")
    on_clique.yt.on("query", lambda: write_list(on_clique, [5, 6]), times=FOREVER)
    done = on_clique.job.diff()
    assert done.code == 1
    assert "the table was written while the clique read it, at each attempt; gave up after" in done.err


def test_the_statement_goes_with_its_guards(on_clique: Exporter) -> None:
    with_rows(on_clique, {1: [(1, 217, 0)]})
    write_list(on_clique, [1])
    on_clique.configure(clique="*chatsync", timeout="7s", settings={"max_threads": 1})

    assert on_clique.job.diff().code == 0

    asked: list[Seen] = [seen for seen in on_clique.yt.requests if seen.command == "query"]
    assert [seen.method for seen in asked] == ["POST"]
    sent = dict(asked[0].params)
    assert "JOIN" not in sent.pop("sql")
    assert sent == {
        "database": "chatsync",
        "default_format": "JSONCompactEachRow",
        "chyt.execution.table_read_lock_mode": "sync",
        "wait_end_of_query": "1",
        "max_execution_time": "7",
        "cancel_http_readonly_queries_on_client_close": "1",
        "max_threads": "1",
    }
    assert on_clique.yt.commands.count("read_table") == 0


def test_memory_that_does_not_do_is_told_as_what_it_is(on_clique: Exporter) -> None:
    with_rows(on_clique, {1: [(1, 217, 0)]})
    write_list(on_clique, [1])
    on_clique.configure(clique="chatsync", settings={"max_memory_usage": 1})

    done = on_clique.job.diff()

    assert done.code == 1
    assert "clique chatsync failed the query: Code: 241" in done.err
    assert "give it memory (max_memory_usage in export.settings), or run `chatsync diff --live`" in done.err


def test_paths_with_odd_letters(on_clique: Exporter) -> None:
    path = "//home/it's `odd`/ppc{shard}"
    on_clique.keys = {"path": path}
    on_clique.note("2026-01-01")
    on_clique.job.settle(HOMES)
    for shard in on_clique.job.shards:
        on_clique.write_table(path.replace("{shard}", str(shard)), [(shard, 217, 1)])
    write_list(on_clique, [yson.YsonUint64(7)], "uint64")

    here, there = plans(on_clique)

    assert there == here


def test_the_doctor_tries_the_comparison_on_no_row(on_clique: Exporter) -> None:
    with_rows(on_clique, {1: [(1, 217, 0)]})
    write_list(on_clique, [1])
    on_clique.yt.cliques["ch_public"] = on_clique.yt.cliques["chatsync"]

    assert "✓ clique     chatsync can read and compare both sides" in on_clique.job.run("doctor").out
    on_clique.configure(clique="ch_public")
    shown = on_clique.job.run("doctor").out
    assert "! clique     ch_public is for trying things out: name one of your own in export.clique" in shown
    sent = [str(seen.params["sql"]) for seen in on_clique.yt.requests if seen.command == "query"]
    assert [statement.count(" WHERE 0") for statement in sent] == [2, 2]


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"no_such_setting": 1}, "Code: 115. DB::Exception: "),
        ({"max_memory_usage": 1}, "give it memory (max_memory_usage in export.settings)"),
    ],
)
def test_the_doctor_finds_settings_that_the_clique_does_not_take(
    on_clique: Exporter, settings: dict[str, Any], text: str
) -> None:
    with_rows(on_clique, {1: [(1, 217, 0)]})
    write_list(on_clique, [1])
    on_clique.configure(clique="chatsync", settings=settings)

    shown = on_clique.job.run("doctor")

    assert shown.code == 1
    assert text in next(line for line in shown.out.splitlines() if line.startswith("✗ clique"))


def test_the_doctor_finds_a_column_that_a_clique_cannot_read(on_clique: Exporter) -> None:
    with_rows(on_clique, {1: [(1, 217, 0)]})
    on_clique.yt.write(TABLE, ids=[1], schema=[{"name": "client_id", "type": "any"}], strict=False)

    shown = on_clique.job.run("doctor").out

    assert "✗ clique     " in shown
    assert "a clique cannot read column 'client_id' without a type" in shown
