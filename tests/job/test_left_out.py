"""Every row that was left out, for the owners of the list: a CSV file, and a table beside theirs."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from tests.harness.job import COMMAND, TABLE
from tests.harness.yt_proxy import FOREVER

if TYPE_CHECKING:
    from tests.harness.job import Job
    from tests.harness.yt_proxy import YtProxy

FEEDBACK = f"{TABLE}_left_out"
MODIFIED = datetime(2026, 11, 23, 10, 15, tzinfo=UTC)
ANY: dict[str, Any] = {"schema": [{"name": "client_id", "type": "any"}]}
NO_LIMITS = {"rejected_percent": 100, "unknown_percent": 100}
Rows = list[list[str]]


def left_out(job: Job, *options: str, code: int = 0) -> Rows:
    """Return the rows of the file that `diff --left-out` writes, behind the header."""
    file = job.folder / "left out.csv"
    result = job.run("diff", "--left-out", str(file), *options)
    assert (result.code, result.err) == (code, "")
    content = file.read_bytes()
    assert content.startswith(b"\xef\xbb\xbfrow,value,reason\n")
    assert file.stat().st_mode & 0o777 == 0o600
    return list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")))[1:]


def test_the_file_has_every_rejected_row_and_unknown_client(job: Job) -> None:
    job.settle({1: 1})
    job.list([1, "client 8811606", "Ромашка", 99, 98, *["n/a"] * 300])

    found = left_out(job)

    assert found[:2] == [["3", "client 8811606", "not an integer"], ["4", "Ромашка", "not an integer"]]
    assert found[2:302] == [[str(line), "n/a", "not an integer"] for line in range(7, 307)]
    assert found[302:] == [["", "98", "client lives on no shard"], ["", "99", "client lives on no shard"]]


def test_no_cell_is_a_formula_or_moves_a_terminal(job: Job) -> None:
    cells = ["=cmd()", "+7", "-1", "@SUM(A1)", "\x1b[2J"]
    job.list_file.write_text('comment,client_id\nx,"\t1,5"\n' + "".join(f'y,"{cell}"\n' for cell in cells))

    assert [value for _, value, _ in left_out(job)] == ["1,5", "'=cmd()", "'+7", "'-1", "'@SUM(A1)", "?[2J"]


def test_a_tab_at_the_start_is_harmless(cluster_job: Job, yt: YtProxy) -> None:
    yt.write(TABLE, ids=["\t=1", "a\nb"], modified=MODIFIED, **ANY)

    assert left_out(cluster_job) == [["#0", "'\t=1", "not an integer"], ["#1", "a\nb", "not an integer"]]


def test_a_row_of_a_table_is_named_as_its_owner_sees_it(cluster_job: Job, yt: YtProxy) -> None:
    """From 0, as YT's own page shows it; a missing value and an empty text are told apart."""
    yt.write(TABLE, ids=["1", None, "", "x" * 2000, {"a": 1}], modified=MODIFIED, **ANY)
    cluster_job.settle({1: 1})

    assert left_out(cluster_job) == [
        ["#1", "NULL", "null"],
        ["#2", '""', "null"],
        ["#3", "x" * 1000 + "…", "not an integer"],
        ["#4", "{b'a': 1}", "not an integer"],
    ]


def test_a_list_without_such_rows_gives_the_header_alone(job: Job) -> None:
    job.settle({1: 1})
    job.list([1])

    assert left_out(job) == []


def test_a_list_that_is_not_read_leaves_the_file_alone(job: Job) -> None:
    job.settle_off({1: 1})
    job.list([1], modified=1_700_000_000)
    job.chain()
    file = job.folder / "left out.csv"
    file.write_text("of an earlier run")

    result = job.run("diff", "--if-modified", "--left-out", str(file))

    assert result.code == 0
    assert "left out.csv was not changed, because the list was not read" in result.err
    assert file.read_text() == "of an earlier run"


@pytest.mark.parametrize("place", ["missing/left.csv", "."])
def test_a_file_that_cannot_be_written_is_named(job: Job, place: str) -> None:
    job.list(["n/a"])

    result = job.diff("--left-out", str(job.folder / place))

    assert result.code == 1
    assert "cannot " in result.err
    assert len(result.err.splitlines()) == 1


def test_a_full_disk_leaves_an_older_file_whole(job: Job) -> None:
    job.list([f"client number {number}" for number in range(3000)])
    file = job.folder / "left.csv"
    file.write_text("of an earlier run")
    limit = "ulimit -f 40; trap '' XFSZ; exec \"$@\""  # blocks of 512 or 1024 bytes: the rows take 100 kB

    command = [*COMMAND, "-c", str(job.config), "diff", "--left-out", str(file)]
    done = subprocess.run(["bash", "-c", limit, "sh", *command], capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert "is the disk full?" in done.stderr
    assert file.read_text() == "of an earlier run"
    assert sorted(path.name for path in job.folder.glob("*left.csv*")) == ["left.csv"]


@pytest.mark.slow
def test_a_million_rejected_rows_take_little_memory(job: Job) -> None:
    with job.list_file.open("w") as file:
        file.write("client_id\n")
        file.writelines(f"client number {number}\n" for number in range(1_000_000))
    job.configure(limits=NO_LIMITS)
    peak = "import resource,runpy,sys;sys.argv=sys.argv[1:];import atexit;"
    peak += "atexit.register(lambda: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,file=open('peak','w')));"
    peak += "runpy.run_module('chatsync',run_name='__main__')"

    def run(*options: str) -> int:
        command = [sys.executable, "-c", peak, "chatsync", "-c", str(job.config), "diff", "--limit", "0", *options]
        done = subprocess.run(command, cwd=job.folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return int((job.folder / "peak").read_text())

    alone, with_file = run(), run("--left-out", "left.csv")

    with (job.folder / "left.csv").open() as file:
        assert sum(1 for _ in file) == 1_000_001
    assert with_file - alone < 30_000  # kilobytes; kept in memory they would take 100,000 and more


# -- the table beside the list -------------------------------------------------------------------------------------


@pytest.fixture
def told(cluster_job: Job, yt: YtProxy) -> Job:
    """A job that tells the owners of its list: two rejected rows, one unknown client, two clients taken."""
    cluster_job.configure(feedback={"path": FEEDBACK}, limits=NO_LIMITS, run={"retry_timeout": "1s"})
    cluster_job.settle({1: 1, 2: 2})
    yt.write(TABLE, ids=["1", "n/a", None, "2", "99"], modified=MODIFIED, **ANY)
    return cluster_job


def attributes(yt: YtProxy) -> dict[str, Any]:
    known = yt.cypress.attributes(FEEDBACK, None, None)
    return {name.removeprefix("chatsync_"): known[name] for name in known if name.startswith("chatsync_")}


def test_the_table_has_what_was_left_out_and_says_of_which_version(told: Job, yt: YtProxy) -> None:
    began = datetime.now(UTC)

    assert told.diff().err == ""

    assert yt.rows(FEEDBACK) == [
        {"row": 1, "value": "n/a", "reason": "not an integer"},
        {"row": 2, "value": "NULL", "reason": "null"},
        {"row": None, "value": "99", "reason": "client lives on no shard"},
    ]
    said = attributes(yt)
    assert began <= datetime.fromisoformat(said.pop("written_at")) <= datetime.now(UTC)
    assert said == {
        "feedback": True,
        "feature": "checked_support_chat",
        "list": f"{yt.url.removeprefix('http://')}:{TABLE}",
        "list_modification_time": "2026-11-23T10:15:00.000000Z",
        "list_revision": yt.cypress.attributes(TABLE, None, None)["revision"],
        "rows": 5,
        "clients_taken": 2,
        "rejected_rows": 2,
        "unknown_clients": 1,
    }
    assert yt.cypress.live_transactions == []


def test_each_real_read_of_the_list_replaces_it_and_no_other_run_does(told: Job, yt: YtProxy) -> None:
    told.chain()
    yt.write(TABLE, ids=["1", "2"], modified=MODIFIED.replace(hour=11), **ANY)
    told.chain()
    assert (yt.rows(FEEDBACK), attributes(yt)["clients_taken"]) == ([], 2)
    written = attributes(yt)["written_at"]

    told.chain()
    assert attributes(yt)["written_at"] == written

    assert told.run("apply", "--yes").code == 0
    assert attributes(yt)["written_at"] > written
    for command in ("status", "check", "doctor"):
        before = attributes(yt)["written_at"]
        told.run(command)
        assert attributes(yt)["written_at"] == before


def test_readers_see_the_former_rows_until_all_are_there(told: Job, yt: YtProxy) -> None:
    told.diff()
    former = yt.rows(FEEDBACK)
    yt.write(TABLE, ids=["1", "other"], modified=MODIFIED.replace(hour=11), **ANY)
    seen: list[Any] = []
    yt.on("set", lambda: seen.append((yt.rows(FEEDBACK), attributes(yt)["rows"])), times=20)

    told.diff()

    assert seen
    assert all(one == (former, 5) for one in seen)
    assert yt.rows(FEEDBACK) == [{"row": 1, "value": "other", "reason": "not an integer"}]


def test_a_table_that_somebody_else_has_created_is_enough(told: Job, yt: YtProxy) -> None:
    """As docs/configuration.md says: `write` on the table alone, and none on the folder."""
    yt.write(FEEDBACK, rows=[])
    yt.deny(TABLE.rpartition("/")[0], "robot", "write")

    assert told.diff().err == ""
    assert told.diff().err == ""

    assert len(yt.rows(FEEDBACK)) == 3


def away(_: Job, yt: YtProxy) -> str:
    yt.fail_next("write_table", code=105, status=503, message="no data nodes", times=FOREVER)
    return "cannot write the table: no data nodes"


def no_grant(_: Job, yt: YtProxy) -> str:
    yt.deny(TABLE.rpartition("/")[0], "robot", "write")
    return "it needs `write` on the folder (or on the table, once it exists) and `use` on its account"


def no_folder(told: Job, _: YtProxy) -> str:
    told.configure(feedback={"path": "//home/nowhere/left_out"})
    return "create the folder, or correct feedback.path"


def table_of_others(_: Job, yt: YtProxy) -> str:
    yt.write(FEEDBACK, rows=[{"precious": 1}])
    return "it holds rows that chatsync did not write, so it was not changed; correct feedback.path"


def the_list_by_a_link(_: Job, yt: YtProxy) -> str:
    yt.link(FEEDBACK, TABLE)
    return "it holds rows that chatsync did not write, so it was not changed; correct feedback.path"


def another_writer(told: Job, yt: YtProxy) -> str:
    told.diff()
    tx = yt.cypress.start(timeout_ms=60_000, parent=None)
    yt.cypress.overwrite(FEEDBACK, tx, "other", rows=[])
    return 'Cannot take "exclusive" lock'


def no_disk(told: Job, _: YtProxy) -> str:
    told.folder.joinpath("tmp").touch()
    tempfile.tempdir = str(told.folder / "tmp")
    return "cannot keep rows in a temporary file: Not a directory; is the disk full?"


@pytest.mark.parametrize(
    "trouble", [away, no_grant, no_folder, table_of_others, the_list_by_a_link, another_writer, no_disk]
)
def test_a_table_that_cannot_be_written_is_a_warning(
    told: Job, yt: YtProxy, trouble: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    problem = trouble(told, yt)
    before = yt.rows(TABLE)
    yt.cypress.touch(TABLE, modified=MODIFIED.replace(hour=12))

    result = told.diff()

    assert result.code == 0
    assert "feedback.path: " in result.err
    assert problem in result.err
    assert told.apply("--force").code == 0
    assert told.set_modtime().code == 0
    assert yt.rows(TABLE) == before


def test_a_cluster_that_does_not_answer_holds_the_chain_up_for_a_while_only(
    told: Job, yt: YtProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatsync.ytsaurus.feedback._LONGEST", 0.3)
    yt.hang("write_table")

    result = told.diff()

    assert result.code == 0
    assert "feedback.path: no answer in time" in result.err
    assert told.plan()["verdict"] == "changes"


@pytest.mark.parametrize(
    ("feedback", "exclusions", "problem"),
    [
        (TABLE, {}, "this is the list itself (exclusions.path); name another table"),
        ("//home/x[#1:#2]", {}, "expected only the path of a table"),
        ("//home/x", {"file": "list.csv"}, "needs a list in YT (exclusions.path)"),
    ],
)
def test_a_path_that_cannot_be_meant_is_refused(
    cluster_job: Job, feedback: str, exclusions: dict[str, str], problem: str
) -> None:
    cluster_job.configure(feedback={"path": feedback}, exclusions=exclusions or cluster_job.exclusions)

    result = cluster_job.diff()

    assert result.code == 2
    assert f"feedback.path: {problem}" in result.err


def test_doctor_tries_the_table_and_takes_it_back(told: Job, yt: YtProxy) -> None:
    result = told.run("doctor")
    assert "✓ feedback" in result.out
    assert not yt.cypress.children("//home/sales") or FEEDBACK.rpartition("/")[2] not in yt.cypress.children(
        "//home/sales"
    )

    problem = no_grant(told, yt)

    result = told.run("doctor")
    assert f"✗ feedback   {yt.url.removeprefix('http://')}:{FEEDBACK}: cannot write the table: " in result.out
    assert problem in result.out
