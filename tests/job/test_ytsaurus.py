"""The list in a YT table: what counts as an id, one version from the first to the last row, and all faults by name."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from yt import yson

from chatsync.parallel import SideBySide
from tests.harness.job import TABLE, Job, Result
from tests.harness.yt_proxy import FOREVER

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_mock import MockerFixture

    from tests.harness.yt_http import Seen
    from tests.harness.yt_proxy import YtProxy

MODIFIED = datetime(2026, 10, 23, 10, 15, 0, 123456, tzinfo=UTC)
LATER = datetime(2026, 10, 24, tzinfo=UTC)
MOST = 2**63 - 1
LONG = 10**6
CHUNK_UNAVAILABLE = 716


INTEGERS: list[tuple[Any, str]] = [
    (1, ""),
    (MOST, ""),
    (1, ""),
    (None, "null"),
    (0, "zero"),
]
SIGNED: list[tuple[Any, str]] = [*INTEGERS, (-1, "negative"), (-(2**63), "negative")]
UNSIGNED: list[tuple[Any, str]] = [
    *((yson.YsonUint64(cell) if cell is not None else None, reason) for cell, reason in INTEGERS),
    (yson.YsonUint64(2**63), "too large"),
    (yson.YsonUint64(2**64 - 1), "too large"),
]
STRINGS: list[tuple[Any, str]] = [
    ("1", ""),
    (str(MOST), ""),
    ("007", ""),
    (None, "null"),
    ("", "null"),
    ("0", "zero"),
    ("-1", "negative"),
    ("1.5", "fraction"),
    (str(MOST + 1), "too large"),
    ("9" * LONG, "too large"),
    ("x" * LONG, "not an integer"),
    ("n/a", "not an integer"),
    ("1 ", "not an integer"),
    ("+1", "not an integer"),
    ("1e3", "not an integer"),
    ("1\n2", "not an integer"),
    ("\\N", "not an integer"),
    ("١٢", "not an integer"),
    (b"\xff", "not an integer"),
    ("1; DROP TABLE clients_features", "not an integer"),
]
ANYTHING: list[tuple[Any, str]] = [
    *SIGNED,
    *UNSIGNED,
    *STRINGS,
    (1.0, "fraction"),
    (1.5, "fraction"),
    (float("nan"), "fraction"),
    (True, "not an integer"),
    (False, "not an integer"),
    ([1], "not an integer"),
    ({"client_id": 1}, "not an integer"),
]
NO_LIMITS = {"rejected_percent": 100, "unknown_percent": 100}


def schema(kind: str) -> dict[str, Any]:
    return {"schema": [{"name": "client_id", "type": kind}, {"name": "comment", "type": "string"}], "strict": True}


@pytest.fixture
def yt_job(job: Job, yt: YtProxy) -> Job:
    job.keep_list_in(yt)
    return job


# -- what counts as an id ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cells", "version"),
    [
        pytest.param(SIGNED, schema("int64"), id="int64"),
        pytest.param(UNSIGNED, schema("uint64"), id="uint64"),
        pytest.param(STRINGS, schema("string"), id="string"),
        pytest.param(ANYTHING, schema("any"), id="any"),
        pytest.param(ANYTHING, {}, id="no schema"),
    ],
)
def test_every_row_is_an_id_or_rejected_with_its_reason(
    yt_job: Job, yt: YtProxy, cells: list[tuple[Any, str]], version: dict[str, Any]
) -> None:
    yt.write(TABLE, ids=[cell for cell, _ in cells], modified=MODIFIED, **version)

    result = yt_job.diff()

    listed = yt_job.plan()["exclusions"]
    ids = {int(cell) for cell, reason in cells if not reason}
    assert (result.code, result.err) == (0, "")
    assert yt_job.plan()["unknown"] == sorted(ids)
    assert (listed["rows"], listed["clients"]) == (len(cells), len(ids))
    assert listed["duplicates"] == sum(not reason for _, reason in cells) - len(ids)
    assert listed["rejected_count"] == sum(bool(reason) for _, reason in cells)
    assert [(item["row"], item["reason"]) for item in listed["rejected"]] == [
        (row, reason) for row, (_, reason) in enumerate(cells) if reason
    ]


def test_a_rejected_value_is_shown_short_and_on_one_line(yt_job: Job, yt: YtProxy) -> None:
    cells: list[Any] = ["x" * LONG, "1\n2\x1b[2J", b"\xffab", None, {"a": [1]}]
    yt.write(TABLE, ids=cells, modified=MODIFIED)

    assert yt_job.diff().code == 0

    shown = [item["value"] for item in yt_job.plan()["exclusions"]["rejected"]]
    assert shown == ["x" * 60 + "…", "1?2?[2J", "\N{REPLACEMENT CHARACTER}ab", "None", "{b'a': [1]}"]
    assert yt_job.run("show", str(yt_job.plan_file)).code == 0


def test_the_first_hundred_rejected_rows_are_kept_and_all_counted(yt_job: Job, yt: YtProxy) -> None:
    yt.write(TABLE, ids=[0] * 150 + [1], modified=MODIFIED, **schema("int64"))

    assert yt_job.diff().code == 0

    listed = yt_job.plan()["exclusions"]
    assert [item["row"] for item in listed["rejected"]] == list(range(100))
    assert listed["rejected_count"] == 150


def test_ids_that_no_column_holds_are_unknown_and_reach_no_statement(yt_job: Job, yt: YtProxy) -> None:
    yt_job.settle({2**32 - 1: 1})
    yt_job.configure(limits=NO_LIMITS)
    yt.write(TABLE, ids=[2**32 - 1, 2**32, MOST], modified=MODIFIED, **schema("int64"))

    assert yt_job.chain("--force").code == 0

    assert yt_job.plan()["unknown"] == [2**32, MOST]
    assert yt_job.off() == {2**32 - 1}


def test_another_column(yt_job: Job, yt: YtProxy) -> None:
    yt.write(TABLE, rows=[{"ClientID": 5, "client_id": 6}], modified=MODIFIED)
    yt_job.keep_list_in(yt, column="ClientID")

    assert yt_job.diff().code == 0
    assert yt_job.plan()["unknown"] == [5]


@pytest.mark.parametrize("version", [schema("int64"), schema("string"), {}])
def test_an_empty_table_is_an_empty_list(yt_job: Job, yt: YtProxy, version: dict[str, Any]) -> None:
    yt.write(TABLE, ids=[], modified=MODIFIED, **version)
    yt_job.settle_off({1: 1})

    assert yt_job.diff().code == 0

    assert yt_job.plan()["exclusions"]["clients"] == 0
    assert yt_job.plan()["turn_on"]["1"] == [1]
    assert yt_job.apply().code == 3


# -- one version ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("moment", ["get", "read_table"])
@pytest.mark.parametrize("kind", ["int64", "string"])
def test_a_table_overwritten_while_it_is_read_gives_the_old_rows_with_the_old_time(
    yt_job: Job, yt: YtProxy, moment: str, kind: str
) -> None:
    cell: type[int | str] = {"int64": int, "string": str}[kind]
    yt.write(TABLE, ids=map(cell, (1, 2)), modified=MODIFIED, **schema(kind))
    yt_job.settle({1: 1, 2: 2, 3: 3})
    yt.on(moment, lambda: yt.overwrite(TABLE, ids=map(cell, (2, 3)), modified=LATER))

    assert yt_job.chain("--force").code == 0

    assert yt_job.off() == {1, 2}
    assert yt_job.property() == "2026-10-23T10:15:00.123456Z"
    assert yt_job.chain("--force").code == 0
    assert yt_job.off() == {2, 3}
    assert yt_job.property() == "2026-10-24T00:00:00.000000Z"


def test_a_table_removed_while_it_is_read_is_read_to_its_end(yt_job: Job, yt: YtProxy) -> None:
    yt.write(TABLE, ids=[1], modified=MODIFIED)
    yt.on("read_table", lambda: yt.remove(TABLE))

    assert yt_job.diff().code == 0
    assert yt_job.plan()["unknown"] == [1]


DATES = [datetime(2026, 10, day, tzinfo=UTC) for day in range(1, 10)]


@pytest.mark.parametrize(
    "times",
    [
        pytest.param([DATES[3], DATES[0], DATES[1]], id="the table"),
        pytest.param([DATES[0], DATES[3], DATES[1]], id="the first link"),
        pytest.param([DATES[0], DATES[1], DATES[3]], id="the link behind it"),
    ],
)
def test_a_list_behind_links_is_as_new_as_the_latest_of_them_and_the_table(
    yt_job: Job, yt: YtProxy, times: list[datetime]
) -> None:
    table, first, second = times
    yt.write("//home/sales/exclusions-2026", ids=[1], modified=table)
    yt.link("//home/sales/current", "//home/sales/exclusions-2026", modified=second)
    yt.link(TABLE, "//home/sales/current", modified=first)
    yt_job.settle({1: 1})

    assert yt_job.chain("--force").code == 0

    assert yt_job.off() == {1}
    assert yt_job.plan()["exclusions"]["source"].endswith(TABLE)
    assert yt_job.property() == "2026-10-04T00:00:00.000000Z"
    assert yt.cypress.live_transactions == []


def test_a_link_on_the_way_counts_as_well(yt_job: Job, yt: YtProxy) -> None:
    yt.write("//home/by day/2026-10-01/list", ids=[1], modified=DATES[0])
    yt.link("//home/sales", "//home/by day/2026-10-01", modified=DATES[5])
    yt_job.exclusions = {"proxy": yt.url, "path": "//home/sales/list"}
    yt_job.configure()

    assert yt_job.diff().code == 0

    assert yt_job.plan()["exclusions"]["modification_time"] == "2026-10-06T00:00:00.000000Z"


def test_a_link_put_back_to_an_older_table_is_a_new_list(yt_job: Job, yt: YtProxy) -> None:
    yt.write("//home/sales/monday", ids=[1], modified=DATES[0])
    yt.write("//home/sales/tuesday", ids=[1, 2], modified=DATES[1])
    yt_job.settle({1: 1, 2: 2})
    for day, target in ((2, "tuesday"), (3, "monday")):
        yt.link(TABLE, f"//home/sales/{target}", modified=DATES[day])
        assert yt_job.chain("--force").code == 0

    assert yt_job.off() == {1}
    assert yt_job.property() == "2026-10-04T00:00:00.000000Z"


@pytest.mark.parametrize("moment", ["lock", "get"])
def test_a_link_moved_on_while_it_is_followed_gives_one_of_the_two_with_its_own_time(
    yt_job: Job, yt: YtProxy, moment: str
) -> None:
    for skip in range(8):
        yt.heal()
        yt.write("//home/sales/old", ids=[1], modified=DATES[0])
        yt.write("//home/sales/new", ids=[2], modified=DATES[0])
        yt.link(TABLE, "//home/sales/old", modified=DATES[1])
        for _ in range(skip):
            yt.on(moment, lambda: None)
        yt.on(moment, lambda: yt.link(TABLE, "//home/sales/new", modified=DATES[2]))

        assert yt_job.diff().code == 0

        found = yt_job.plan()["unknown"], yt_job.plan()["exclusions"]["modification_time"][:10]
        assert found in [([1], "2026-10-02"), ([2], "2026-10-03")]


def test_a_table_overwritten_while_its_links_are_followed_is_locked_again(yt_job: Job, yt: YtProxy) -> None:
    yt.write("//home/sales/table", ids=[1], modified=DATES[0])
    yt.link(TABLE, "//home/sales/table", modified=DATES[5])
    yt.on("get", lambda: None)
    # The link is later than the second version: the first one with the time of the link would hide the second.
    yt.on("get", lambda: yt.overwrite("//home/sales/table", ids=[2], modified=DATES[4]))

    assert yt_job.diff().code == 0

    assert yt_job.plan()["unknown"] == [2]
    assert yt.cypress.live_transactions == []


def test_links_in_a_circle_are_an_error(yt_job: Job, yt: YtProxy) -> None:
    yt.link("//home/sales/other", TABLE)
    yt.link(TABLE, "//home/sales/other")

    result = yt_job.diff()

    assert result.code == 1
    assert_one_line(result, TABLE)


def test_a_table_without_links_costs_no_more_requests(yt_job: Job, yt: YtProxy) -> None:
    yt.write(TABLE, ids=[1], modified=MODIFIED)
    yt_job.set_property("2026-10-23T10:15:00.123456Z")

    assert yt_job.diff("--if-modified").code == 0

    assert yt.commands == ["api", "start_transaction", "lock", "get", "abort_transaction"]


def test_the_rows_are_read_in_the_transaction_that_locks_the_table(yt_job: Job, yt: YtProxy) -> None:
    yt.write(TABLE, ids=[1], modified=MODIFIED)

    assert yt_job.diff().code == 0

    assert yt.commands == ["api", "start_transaction", "lock", "get", "hosts", "read_table", "abort_transaction"]
    (lock, read) = (seen for seen in yt.requests if seen.command in {"lock", "read_table"})
    assert lock.params["transaction_id"] == read.params["transaction_id"]


def test_no_transaction_is_left_behind(yt_job: Job, yt: YtProxy) -> None:
    yt.write(TABLE, ids=[1], modified=MODIFIED)

    assert yt_job.diff().code == 0
    assert yt.cypress.live_transactions == []


def test_if_modified_reads_no_row_of_a_synced_list(yt_job: Job, yt: YtProxy) -> None:
    yt.write(TABLE, ids=[1], modified=MODIFIED)
    yt_job.set_property("2026-10-23T10:15:00.123456Z")

    assert yt_job.diff("--if-modified").code == 0

    assert yt_job.plan()["verdict"] == "not-modified"
    assert "read_table" not in yt.commands


# -- lists that can't be read --------------------------------------------------------------------------------------


def missing_table(yt: YtProxy) -> None:
    yt.remove(TABLE)
    yt.write("//home/sales/other", ids=[1])


def missing_column(yt: YtProxy) -> None:
    yt.write(TABLE, rows=[{"ClientID": 1}], schema=[{"name": "ClientID", "type": "int64"}], strict=True)


def missing_column_without_schema(yt: YtProxy) -> None:
    yt.write(TABLE, rows=[{"ClientID": 1}])


def no_permission(yt: YtProxy) -> None:
    yt.deny(TABLE)


def wrong_token(yt: YtProxy) -> None:
    yt.tokens = {"the right one": "robot"}


def cluster_away(yt: YtProxy) -> None:
    yt.stop()


def not_a_table(yt: YtProxy) -> None:
    yt.remove(TABLE)
    yt.write(TABLE + "/below", ids=[1])


def dynamic_table(yt: YtProxy) -> None:
    yt.write(TABLE, ids=[1], dynamic=True)


UNREADABLE: list[tuple[Callable[[YtProxy], None], str]] = [
    (missing_table, "there is no such table"),
    (missing_column, "has no column 'client_id': it has ClientID"),
    (missing_column_without_schema, "has no column 'client_id': no row holds it"),
    (no_permission, "no permission to read the table"),
    (wrong_token, "the YT token is wrong or missing: Authentication failed; the refused token is in $YT_TOKEN, repl"),
    (cluster_away, "the cluster is away or too busy"),
    (not_a_table, "is a map_node, not a table"),
    (dynamic_table, "is a dynamic table"),
]


@pytest.mark.parametrize(("fault", "message"), UNREADABLE)
def test_a_list_that_cannot_be_read_says_why_and_changes_nothing(
    yt_job: Job, yt: YtProxy, fault: Callable[[YtProxy], None], message: str
) -> None:
    yt_job.settle_off({1: 1, 2: 2})
    yt_job.set_property("2026-01-15T09:40:12Z")
    yt_job.configure(run={"retry_timeout": "0.2s"})
    yt.write(TABLE, ids=[1], modified=MODIFIED)
    yt_job.environment["YT_TOKEN"] = "somebody-elses"
    fault(yt)
    before = yt_job.rows()

    results = [
        yt_job.diff("--if-modified"),
        yt_job.run("diff"),
        yt_job.run("apply", "--yes", "--force", "--allow-empty"),
    ]

    for result in results:
        assert (result.code, result.out) == (1, "")
        assert_one_line(result, yt.url.removeprefix("http://"), TABLE, message)
    assert [text for _, text in UNREADABLE if text in results[0].err] == [message]
    assert not yt_job.plan_file.exists()
    assert yt_job.rows() == before
    assert yt_job.property() == "2026-01-15T09:40:12Z"


def assert_one_line(result: Result, *parts: str) -> None:
    assert result.err.startswith("chatsync: ")
    assert result.err.count("\n") == 1
    assert "Traceback" not in result.err
    assert [part for part in parts if part not in result.err] == []


# -- faults on the way ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["int64", "string"])
@pytest.mark.parametrize("fault", ["cut_body_after", "fail_body_after"])
def test_a_body_that_breaks_off_is_read_on_from_the_row_it_broke_at(
    yt_job: Job, yt: YtProxy, kind: str, fault: str
) -> None:
    # The client takes rows with a Python object each by 4 MB: what broke off has to be longer.
    long_rows = ["x" * LONG] * 6 if kind == "string" else []
    numbers = [*range(1, 6001), *range(1, 101), *([0] * 50)]
    cells = [*long_rows, *(map(str, numbers) if kind == "string" else numbers)]
    yt.write(TABLE, ids=cells, modified=MODIFIED, **schema(kind))
    options = {"code": CHUNK_UNAVAILABLE} if fault == "fail_body_after" else {}
    getattr(yt, fault)(5_500_000 if long_rows else 20_000, **options)
    getattr(yt, fault)(5_000, **options)

    assert yt_job.diff().code == 0

    listed = yt_job.plan()["exclusions"]
    assert (listed["rows"], listed["clients"], listed["duplicates"]) == (len(cells), 6000, 100)
    expected = [*range(len(long_rows)), *range(len(cells) - 50, len(cells))]
    assert [item["row"] for item in listed["rejected"]] == expected
    first, second, third = (start_of(seen) for seen in yt.requests if seen.command == "read_table")
    assert first == 0 < second <= third < len(cells)


def start_of(read: Seen) -> int:
    """The first row that a read_table asks for."""
    ranges = read.params["path"].attributes.get("ranges", [{}])
    return int(ranges[0].get("lower_limit", {}).get("row_index", 0))


@pytest.mark.parametrize(
    ("command", "fault"),
    [("start_transaction", "ban"), ("lock", "overload"), ("get", "throttle"), ("read_table", "throttle")],
)
def test_a_busy_cluster_is_asked_again(yt_job: Job, yt: YtProxy, command: str, fault: str) -> None:
    yt.write(TABLE, ids=[1, 2], modified=MODIFIED, **schema("int64"))
    getattr(yt, fault)(command)

    result = yt_job.run("-v", "diff", "--plan", str(yt_job.plan_file))

    assert result.code == 0
    assert yt_job.plan()["unknown"] == [1, 2]
    assert "attempt 1 failed, trying again in 0." in result.err
    assert yt.cypress.live_transactions == []


def test_a_cluster_that_stays_busy_is_given_up_in_time(yt_job: Job, yt: YtProxy) -> None:
    yt.write(TABLE, ids=[1], modified=MODIFIED)
    yt.overload("lock", times=FOREVER)
    yt_job.configure(run={"retry_timeout": "0.2s"})

    result = yt_job.diff()

    assert result.code == 1
    assert_one_line(result, TABLE, "the cluster is away or too busy: Too many", "gave up after")


@pytest.mark.parametrize("kind", ["int64", "string"])
def test_a_short_read_is_an_error_and_no_shorter_list(yt_job: Job, yt: YtProxy, kind: str) -> None:
    yt_job.settle_off(dict.fromkeys(range(1, 31), 1))
    yt.write(TABLE, ids=[str(n) if kind == "string" else n for n in range(1, 31)], modified=MODIFIED, **schema(kind))
    yt.cut_rows(29)

    result = yt_job.diff()

    assert result.code == 1
    assert_one_line(result, TABLE, "read only 29 of 30 rows")
    assert not yt_job.plan_file.exists()


def test_without_schemaful_dsv_the_rows_are_read_one_by_one(yt_job: Job, yt: YtProxy) -> None:
    yt.write(TABLE, ids=[3, 0, 1], modified=MODIFIED, **schema("int64"))
    yt.disabled_formats = {"schemaful_dsv"}

    result = yt_job.diff()

    assert result.code == 0
    assert "reading row by row, as schemaful_dsv was refused" in result.err
    assert yt_job.plan()["unknown"] == [1, 3]
    assert yt_job.plan()["exclusions"]["rejected"] == [{"row": 1, "value": "0", "reason": "zero"}]


# -- tokens --------------------------------------------------------------------------------------------------------


def test_the_token_comes_from_the_environment_then_the_file_that_is_named_then_the_client_s_own_places(
    yt_job: Job, yt: YtProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    yt.write(TABLE, ids=[1], modified=MODIFIED)
    yt.tokens = {"right": "robot"}
    home, named, client_s = (yt_job.folder / name for name in (".yt/token", "secret", "client-s"))
    home.parent.mkdir()

    def refused() -> str:
        result = yt_job.diff()
        assert (result.code, result.err.count("\n")) == (1, 1)
        return result.err

    assert "there is none, put one into $YT_TOKEN, exclusions.token_file, $YT_TOKEN_PATH or ~/.yt/token" in refused()
    home.write_text("right\n")
    assert yt_job.diff().code == 0
    client_s.write_text("wrong\n")
    monkeypatch.setenv("YT_TOKEN_PATH", str(client_s))
    assert f"the refused token is in {client_s}" in refused()
    client_s.write_text("right\n")
    assert yt_job.diff().code == 0
    named.write_text("wrong\n")
    yt_job.keep_list_in(yt, token_file="secret")
    assert f"the refused token is in {named}" in refused()
    named.write_text("right\n")
    assert yt_job.diff().code == 0
    monkeypatch.setenv("YT_TOKEN", "wrong")
    assert "the refused token is in $YT_TOKEN" in refused()


@pytest.mark.parametrize("content", [b"\xff\xfe", b"two words", b"two\nlines"])
def test_a_token_that_no_header_can_carry_is_named_and_not_shown(yt_job: Job, yt: YtProxy, content: bytes) -> None:
    (yt_job.folder / "secret").write_bytes(content)
    yt_job.keep_list_in(yt, token_file="secret")

    result = yt_job.diff()

    assert result.code == 1
    assert_one_line(result, "exclusions.token_file", "secret", "put the token there, and nothing else")
    assert "two" not in result.err


def test_a_diff_that_fails_leaves_no_transaction_behind(yt_job: Job, yt: YtProxy) -> None:
    yt.write(TABLE, ids=[1], modified=MODIFIED)
    (yt_job.folder / "ppc2.db").unlink()

    assert yt_job.diff().code == 1

    assert yt.commands.count("start_transaction") == yt.commands.count("abort_transaction") > 0


def test_a_token_file_that_is_not_there_is_named(yt_job: Job, yt: YtProxy) -> None:
    yt_job.keep_list_in(yt, token_file="nowhere")

    result = yt_job.diff()

    assert result.code == 1
    assert_one_line(result, "exclusions.token_file", "nowhere")


def test_the_cluster_may_come_from_the_environment(yt_job: Job, yt: YtProxy) -> None:
    yt.write(TABLE, ids=[1], modified=MODIFIED)
    yt_job.exclusions = {"path": TABLE}
    yt_job.configure()
    yt_job.environment["YT_PROXY"] = yt.url

    assert yt_job.diff().code == 0
    assert yt_job.plan()["unknown"] == [1]


def test_a_list_that_cannot_be_read_ends_the_reading_of_the_shards(yt_job: Job, mocker: MockerFixture) -> None:
    cancelled = mocker.spy(SideBySide, "cancel")

    result = yt_job.diff()

    assert (result.code, cancelled.call_count) == (1, 1)
