"""The plan file, field by field as the interface has it, and the other ways to print it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from pyroaring import BitMap64

from chatsync.core.off_rows import OffRows
from tests.harness.job import FEATURE, TABLE, Job

if TYPE_CHECKING:
    from tests.harness.yt_proxy import YtProxy

MODIFIED = datetime(2026, 10, 23, 10, 15, 0, 123456, tzinfo=UTC)
OFF = {client: client % 4 + 1 for client in range(1, 31)}
FIELDS = [
    *("version", "created_at", "verdict", "feature", "exclusions", "modtime", "off_now"),
    *("turn_off", "turn_on", "unknown", "strays", "off_before", "off_after", "target", "trace_id", "sha256"),
]


TABLE_TEXT = """\
list      {list_file}
          modified 2026-10-23 10:15:00 UTC, AGO ago
          34 clients in 36 rows: 1 duplicate, 1 rejected
feature   checked_support_chat (id 217), 30 clients off now
mod-time  2026-09-01: list is newer by 52 d 10 h

shard      turn off    turn on
-------  ----------  ---------
1                 1          0
2                 1          1
3                 1          1
4                 2          0
total             5          2

action      shard    client
--------  -------  --------
turn off        1        32
turn off        2        33

… and 5 more (--limit 7 shows all)

row    value    rejected because
-----  -------  ------------------
37     n/a      not an integer

1 listed client is on no shard and left out: 99

apply will refuse this:
  exit 3: 1 of 36 rows hold no client id, 2.78 %, over limits.rejected_percent = 1; --force overrides it
"""


@pytest.fixture
def changed(job: Job) -> Job:
    """Five clients to turn off, two to turn on, one unknown, one row rejected, one twice."""
    job.settle_off(OFF)
    job.settle({client: client % 4 + 1 for client in range(31, 60)})
    job.set_property("2026-09-01T00:00:00Z")
    job.list([*range(3, 36), 99, 4, "n/a"], modified=MODIFIED.timestamp())
    job.configure(limits={"free": 0})
    return job


def without_ago(text: str) -> str:
    return re.sub(r"UTC, \d+ d \d+ h ago", "UTC, AGO ago", text)


def test_a_plan_of_a_table_holds_what_the_interface_says(job: Job, yt: YtProxy) -> None:
    job.keep_list_in(yt)
    job.settle_off(OFF)
    job.settle({40: 1, 41: 1, 42: 2})
    job.set_property("2026-09-01 00:00:00+03:00")
    cells: list[Any] = [*range(30, 2, -1), 41, 40, 42, 99, 98, 40, 2**40, "n/a", None]
    yt.write(TABLE, ids=cells, modified=MODIFIED)
    before = datetime.now(UTC)

    assert job.diff().code == 0

    plan = job.plan()
    created = datetime.fromisoformat(plan["created_at"])
    assert list(plan) == FIELDS
    assert before <= created <= datetime.now(UTC)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", plan["created_at"])
    assert (plan["version"], plan["verdict"], plan["off_now"]) == (1, "changes", 30)
    assert plan["feature"] == {"name": FEATURE, "id": 217}
    assert plan["exclusions"] == {
        "source": yt.url.removeprefix("http://") + ":" + TABLE,
        "modification_time": "2026-10-23T10:15:00.123456Z",
        "revision": yt.cypress.attributes(TABLE, None, None)["revision"],
        "rows": 37,
        "clients": 34,
        "duplicates": 1,
        "rejected": [
            {"row": 35, "value": "n/a", "reason": "not an integer"},
            {"row": 36, "value": "None", "reason": "null"},
        ],
        "rejected_count": 2,
        "present": [],
        "missing": [],
    }
    assert plan["modtime"] == "2026-08-31T21:00:00.000000Z"
    assert plan["turn_off"] == {"1": [40, 41], "2": [42], "3": [], "4": []}
    assert plan["turn_on"] == {"1": [], "2": [1], "3": [2], "4": []}
    assert plan["unknown"] == [98, 99, 2**40]
    assert plan["strays"] == {}
    off_before = {shard: BitMap64(client for client in OFF if OFF[client] == shard) for shard in (1, 2, 3, 4)}
    after = {1: off_before[1] | BitMap64([40, 41]), 2: (off_before[2] | BitMap64([42])) - BitMap64([1])} | {
        3: off_before[3] - BitMap64([2]),
        4: off_before[4],
    }
    for name, rows in (("off_before", off_before), ("off_after", after)):
        assert plan[name] == {
            str(shard): {"count": len(ids), "hash": OffRows.of(ids).hash} for shard, ids in rows.items()
        }
    assert re.fullmatch(r"[0-9a-f]{32}", plan["trace_id"])


def test_the_hash_covers_all_the_rest(changed: Job) -> None:
    assert changed.diff().code == 0

    body = changed.plan()
    stated = body.pop("sha256")
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"))
    assert stated == hashlib.sha256(canonical.encode()).hexdigest()


def test_only_the_owner_reads_a_plan_also_one_that_was_there(changed: Job) -> None:
    changed.plan_file.write_text("an older one")
    changed.plan_file.chmod(0o666)

    assert changed.diff().code == 0

    assert stat.S_IMODE(changed.plan_file.stat().st_mode) == 0o600
    assert [path.name for path in changed.folder.iterdir() if path.name.startswith(".plan")] == []


@pytest.mark.parametrize(
    ("modtime", "options", "verdict"),
    [
        ("2026-09-01", [], "changes"),
        ("2026-09-01", ["--if-modified"], "changes"),
        ("2026-10-23T10:15:00.123456Z", [], "changes"),
        ("2026-10-23T10:15:00.123456Z", ["--if-modified"], "not-modified"),
        ("2099-01-01", [], "changes"),
        ("2099-01-01", ["--if-modified"], "disabled"),
    ],
)
def test_the_verdict(changed: Job, modtime: str, options: list[str], verdict: str) -> None:
    changed.set_property(modtime)

    assert changed.diff(*options).code == 0

    plan = changed.plan()
    read = verdict == "changes"
    assert plan["verdict"] == verdict
    assert (plan["off_now"], plan["exclusions"]["clients"]) == ((30, 34) if read else (None, None))
    assert any(plan["turn_off"].values()) is read


# -- other ways to print it ----------------------------------------------------------------------------------------


def test_diff_as_a_table(changed: Job) -> None:
    result = changed.run("diff", "--limit", "2")

    assert (result.code, result.err) == (0, "")
    assert without_ago(result.out) == TABLE_TEXT.format(list_file=changed.list_file)


def test_show_prints_what_diff_did(changed: Job) -> None:
    shown_by_diff = {form: changed.run("diff", "--format", form).out for form in ("table", "csv")}
    diff_json = changed.diff("--format", "json").json

    shown = {form: changed.run("show", str(changed.plan_file), "--format", form).out for form in ("table", "csv")}
    show_json = changed.run("show", str(changed.plan_file), "--format", "json").json

    assert shown == shown_by_diff
    assert show_json == diff_json


def test_diff_as_json_is_the_plan_and_what_apply_will_answer(changed: Job) -> None:
    document = changed.diff("--format", "json", "--limit", "1").json

    reason = "1 of 36 rows hold no client id, 2.78 %, over limits.rejected_percent = 1; --force overrides it"
    assert document.pop("apply") == {"exit_code": 3, "objections": [{"exit_code": 3, "reason": reason}]}
    assert document == changed.plan()


@pytest.mark.parametrize(("options", "shown"), [([], 7), (["--limit", "3"], 3), (["--limit", "0"], 0)])
def test_diff_as_csv(changed: Job, options: list[str], shown: int) -> None:
    rows = ["turn_off,1,32", "turn_off,2,33", "turn_off,3,34", "turn_off,4,31", "turn_off,4,35", "turn_on,2,1"]
    rows.append("turn_on,3,2")

    result = changed.run("diff", "--format", "csv", *options)

    assert result.out.splitlines() == ["action,shard,client_id", *rows[:shown]]


@pytest.mark.parametrize(
    ("count", "options", "listed", "more"),
    [
        (20, [], 20, ""),
        (21, [], 20, "… and 1 more (--limit 21 shows all)"),
        (21, ["--limit", "21"], 21, ""),
        (21, ["--limit", "0"], 0, "… and 21 more (--limit 21 shows all)"),
        (0, [], 0, ""),
    ],
)
def test_the_table_lists_the_first_clients_and_counts_the_rest(
    job: Job, count: int, options: list[str], listed: int, more: str
) -> None:
    job.settle(dict.fromkeys(range(1, count + 1), 1))
    job.list(range(1, count + 1))

    lines = job.run("diff", *options).out.splitlines()

    assert sum(line.startswith("turn off") for line in lines) == listed
    assert [line for line in lines if line.startswith("…")] == ([more] if more else [])


@pytest.mark.parametrize("form", ["table", "json", "csv"])
def test_exit_code_tells_of_a_difference_and_of_none(changed: Job, form: str) -> None:
    assert changed.run("diff", "--exit-code", "--format", form).code == 10
    assert changed.run("apply", "--yes", "--force").code == 0
    assert changed.run("diff", "--exit-code", "--format", form).code == 0


def test_nothing_to_do_as_a_table(job: Job) -> None:
    job.settle_off({1: 1})
    job.list([1], modified=MODIFIED.timestamp())
    job.set_property("2026-10-23T10:15:00.123456Z")

    seen = job.run("diff").out.splitlines()
    skipped = job.run("diff", "--if-modified").out.splitlines()

    assert seen[-1] == "In sync: nothing to change."
    assert seen[4] == skipped[4] == "mod-time  2026-10-23 10:15:00 UTC: synced"
    assert skipped[-1] == "The list was not modified since the last sync: nothing to do."
    assert skipped[2:4] == ["          rows not counted", "feature   checked_support_chat (id 217), state not read"]


def test_apply_says_what_it_did_on_each_shard(changed: Job) -> None:
    assert changed.diff().code == 0
    changed.row(4, 31, 0)
    changed.row(2, 1, 1)

    result = changed.apply("--force")

    assert (result.code, result.err) == (0, "")
    assert result.out.splitlines() == [
        "shard      planned    turned off    turned on    already so    failed",
        "-------  ---------  ------------  -----------  ------------  --------",
        "1                1             1            0             0         0",
        "2                2             1            0             1         0",
        "3                2             1            1             0         0",
        "4                2             1            0             1         0",
        "total            7             4            1             2         0",
    ]


def test_apply_says_the_same_as_json(changed: Job) -> None:
    assert changed.diff().code == 0
    changed.row(2, 1, 1)

    document = changed.apply("--force", "--format", "json").json

    assert document["shards"]["2"] == {
        "planned": 2,
        "changed": 1,
        "already": 1,
        "failed": 0,
        "refused": [],
        "error": None,
        "turn_off": {"planned": 1, "changed": 1, "already": 0, "failed": 0},
        "turn_on": {"planned": 1, "changed": 0, "already": 1, "failed": 0},
    }
    assert {shard: counts["changed"] for shard, counts in document["shards"].items()} == {
        "1": 1,
        "2": 1,
        "3": 2,
        "4": 2,
    }


def test_show_tells_that_a_plan_has_grown_old(changed: Job) -> None:
    assert changed.diff().code == 0
    changed.configure(limits={"plan_max_age": "0.000001s", "rejected_percent": 5})

    result = changed.run("show", str(changed.plan_file))

    assert result.code == 0
    assert "exit 4: the plan is out of date: it is 0 s old, over limits.plan_max_age = 0 s" in result.out


def test_show_reads_nothing_but_the_plan_and_the_configuration(changed: Job) -> None:
    assert changed.diff().code == 0
    for file in changed.folder.glob("*.db"):
        file.unlink()
    changed.list_file.unlink()

    assert changed.run("show", str(changed.plan_file)).code == 0


def test_a_mod_time_with_time_to_spare_is_said(job: Job) -> None:
    job.list([], modified=MODIFIED.timestamp())
    job.set_property((MODIFIED + timedelta(hours=3, minutes=12)).isoformat())

    assert "mod-time  2026-10-23 13:27:00 UTC: list is older by 3 h 12 min" in job.run("diff").out


# -- whose file it is --


@pytest.mark.parametrize("command", ["apply", "set-modtime", "show"])
@pytest.mark.parametrize(("mode", "refused"), [(0o620, True), (0o602, True), (0o666, True), (0o644, False)])
def test_a_plan_that_others_may_write(changed: Job, command: str, mode: int, refused: bool) -> None:
    assert changed.diff().code == 0
    changed.plan_file.chmod(mode)
    before = changed.rows()

    arguments = (str(changed.plan_file),) if command == "show" else ("--plan", str(changed.plan_file))
    result = changed.run(command, *arguments)

    if refused:
        assert (result.code, result.out, changed.rows(), changed.property()) == (4, "", before, "2026-09-01T00:00:00Z")
        assert result.err == (
            f"chatsync: the plan is not trusted: others may write {changed.plan_file} (mode {mode:04o}); "
            "run `chatsync diff` again, or chmod 600 the file if you trust its content\n"
        )
    else:
        assert "not trusted" not in result.err


@pytest.mark.parametrize("command", ["apply", "set-modtime"])
@pytest.mark.parametrize(("user", "refused"), [(1, True), (0, False)])
def test_a_plan_of_another_user(
    changed: Job, monkeypatch: pytest.MonkeyPatch, command: str, user: int, refused: bool
) -> None:
    """Seen from the other side: it is the process that is another user's."""
    assert changed.diff().code == 0
    owner = changed.plan_file.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + user)

    result = changed.run(command, "--plan", str(changed.plan_file))

    trusted = not refused or owner == 0  # a file of root is anybody's to take
    assert ("not trusted" not in result.err) == trusted
    assert trusted or (result.code, changed.property()) == (4, "2026-09-01T00:00:00Z")


def test_a_plan_of_another_user_for_root(changed: Job) -> None:
    if os.geteuid():
        pytest.skip("only root can give files away")
    assert changed.diff().code == 0
    os.chown(changed.plan_file, 65534, -1)

    result = changed.apply()

    assert (result.code, result.out) == (4, "")
    assert f"not trusted: {changed.plan_file} belongs to the user with the id 65534; run" in result.err
    assert changed.diff().code == 0  # and is replaced
    assert changed.apply("--force").code == 0


def test_a_plan_that_cannot_be_read_is_replaced(changed: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after one run as root: whether it may be is for its folder to say."""
    changed.plan_file.touch(mode=0o000)
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != changed.plan_file and access(path, mode))

    assert changed.diff().code == 0

    assert stat.S_IMODE(changed.plan_file.stat().st_mode) == 0o600
