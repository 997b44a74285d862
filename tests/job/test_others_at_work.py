"""Right at the end, whoever else is at work: a list counts as synced only while every shard is as its plan leads to."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from msgspec import to_builtins
from pyroaring import BitMap64

from chatsync.cancel_scope import CancelScope
from chatsync.config.load import load
from chatsync.core.off_rows import OffRows
from chatsync.core.plan_document import sealed
from chatsync.databases.shard_database import ShardDatabase
from tests.harness.job import FEATURE_ID, PROPERTY, RECORDS, Job, Result

if TYPE_CHECKING:
    from pathlib import Path

    from tests.harness.job import Databases

FIRST, SECOND = 1_790_000_000, 1_790_001_000
SECOND_TIME = "2026-09-21T14:30:00.000000Z"


class Host:
    """One of two machines that run the same job, each with its own plan file."""

    def __init__(self, job: Job, name: str) -> None:
        self.job, self.plan = job, str(job.folder / f"{name}.json")

    def diff(self) -> Result:
        return self.job.run("diff", "--plan", self.plan)

    def apply(self, *options: str) -> Result:
        return self.job.run("apply", "--plan", self.plan, *options)

    def set_modtime(self) -> Result:
        return self.job.run("set-modtime", "--plan", self.plan)


@pytest.fixture
def job(any_databases: Databases, tmp_path: Path) -> Job:
    """Clients 1 to 4 on shards 1 to 4; 5 is off on shard 1 and always listed."""
    job = Job(tmp_path, any_databases)
    job.configure(records=RECORDS)
    job.settle({1: 1, 2: 2, 3: 3, 4: 4})
    job.settle_off({5: 1})
    return job


def heals(job: Job, off: set[int]) -> None:
    """The next chain ends well, with the rows of the list that is there now."""
    assert job.diff("--if-modified").code == 0
    assert job.plan()["verdict"] in ("changes", "in-sync")
    assert (job.apply().code, job.set_modtime().code) == (0, 0)
    assert job.off() == off
    assert job.diff("--if-modified").code == 0
    assert job.plan()["verdict"] == "not-modified"


def rows_of(*clients: int) -> Any:
    """Return what a plan says of the rows of these clients."""
    return to_builtins(OffRows.of(BitMap64(clients)))


# -- four stories, in each of which the rows were wrong though everything ended with 0 --


@pytest.mark.parametrize(
    ("old", "new", "codes"),
    [
        ([5, 1], [5, 2], (4, 0)),  # the older plan comes too late: other clients are off than it saw
        ([5, 1, 2], [5, 2], (0, 4)),  # it looks like the same plan after a failure: then the newer is not marked
        ([1, 2], [5, 1, 2], (0, 4)),
    ],
)
def test_a_plan_of_an_older_list_is_applied_in_between(
    job: Job, old: list[int], new: list[int], codes: tuple[int, int]
) -> None:
    slow, quick = Host(job, "a"), Host(job, "b")
    job.list(old, modified=FIRST)
    assert slow.diff().code == 0
    job.list(new, modified=SECOND)
    assert (quick.diff().code, quick.apply().code) == (0, 0)

    applied, marked = slow.apply(), quick.set_modtime()

    assert (applied.code, marked.code) == codes
    assert (job.property() == SECOND_TIME) == (marked.code == 0)
    if marked.code:
        assert "the plan is out of date: the off rows are not those expected after it, shard " in marked.err
        assert "the mod-time was not moved; run `chatsync diff` and `chatsync apply` again" in marked.err
        heals(job, set(new))
    else:
        assert "the off rows have changed since `diff`, shard 2: 1 other client too many; run" in applied.err
        assert job.off() == set(new)


def test_an_operator_applies_another_list_in_between(job: Job) -> None:
    cron = Host(job, "a")
    job.list([5, 1], modified=FIRST)
    assert (cron.diff().code, cron.apply().code) == (0, 0)
    job.list([5, 2], modified=SECOND)
    assert job.run("apply", "--yes", "--force").code == 0

    result = cron.set_modtime()

    assert (result.code, job.property()) == (4, None)
    assert "1 of its 1 change is missing, 1 on shard 1" in result.err
    assert "shard 2: 1 other client too many" in result.err
    heals(job, {5, 2})


def test_an_undo_in_between(job: Job) -> None:
    cron = Host(job, "a")
    job.list([5, 1, 2], modified=FIRST)
    assert (cron.diff().code, cron.apply().code) == (0, 0)
    assert job.run("apply", "--undo", job.records()[0]["id"], "--yes", "--force").code == 0

    result = cron.set_modtime()

    assert (result.code, job.property()) == (4, None)
    assert "2 of its 2 changes are missing, 1 on shard 1, 1 on shard 2" in result.err
    heals(job, {5, 1, 2})


@pytest.mark.parametrize("listed", [[5], [5, 1]], ids=["in-sync", "changes"])
def test_a_listed_client_that_the_product_turns_on_in_between(job: Job, listed: list[int]) -> None:
    """Client 5 is in no plan: it was off already."""
    cron = Host(job, "a")
    job.list(listed, modified=FIRST)
    assert (cron.diff().code, cron.apply().code) == (0, 0)
    job.row(1, 5, 1)

    result = cron.set_modtime()

    assert (result.code, job.property()) == (4, None)
    assert "the off rows are not those expected after it, shard 1: 1 other client missing" in result.err
    heals(job, set(listed))


# -- before the first write --


@pytest.mark.parametrize(
    ("toggled", "words"),
    [
        ({(2, 2): 0}, "shard 2: 1 other client too many"),
        ({(1, 5): 1}, "shard 1: 1 other client missing"),
        ({(1, 5): 1, (1, 6): 0}, "shard 1: as many other clients, but not the same ones"),
    ],
)
def test_others_wrote_between_diff_and_apply(job: Job, toggled: dict[tuple[int, int], int], words: str) -> None:
    job.settle({6: 1})
    job.list([5, 1], modified=FIRST)
    assert job.diff().code == 0
    for (shard, client), enabled in toggled.items():
        job.row(shard, client, enabled)
    before = job.rows()

    result = job.apply()

    assert (result.code, result.out, job.rows()) == (4, "", before)
    assert f"the off rows have changed since `diff`, {words}; run `chatsync diff` again" in result.err
    assert job.records() == []


@pytest.mark.parametrize("done", [set(), {1}, {2}, {1, 2}, {1, 2, 3}])
def test_the_same_plan_after_a_failure_goes_on(job: Job, done: set[int]) -> None:
    """Clients 1 and 2 are turned off, 3 is turned on; some of that was done before."""
    job.row(3, 3, 0)
    job.list([5, 1, 2], modified=FIRST)
    assert job.diff().code == 0
    for client in done:
        job.row(client, client, int(client == 3))

    assert (job.apply().code, job.set_modtime().code) == (0, 0)
    assert job.off() == {5, 1, 2}


@pytest.fixture
def over_a_limit(job: Job) -> Job:
    """Eight clients are to be turned off, 38 % of the 21 that are off, all on shard 4."""
    job.configure(limits={"free": 0})
    job.settle_off(dict.fromkeys(range(100, 120), 4))
    job.settle(dict.fromkeys(range(200, 208), 4))
    job.list([5, *range(100, 120), *range(200, 208)], modified=FIRST)
    assert job.diff().code == 0
    assert job.apply().code == 3
    return job


def test_a_forged_plan_does_not_get_past_a_limit_by_a_larger_number(over_a_limit: Job) -> None:
    job = over_a_limit
    forge(job, turn_on=[], before=OffRows(count=1020, hash=job.plan()["off_before"]["4"]["hash"]))
    rows = job.rows()

    result = job.apply()

    assert (result.code, job.rows()) == (4, rows)
    assert "shard 4: 1000 other clients missing" in result.err


def test_nor_by_claiming_changes_that_it_need_not_make(over_a_limit: Job) -> None:
    """As if nine more had been off, and this very plan had turned them on already: 8 of 30 would be allowed."""
    job = over_a_limit
    claimed = list(range(300, 309))
    job.settle(dict.fromkeys(claimed, 4))
    forge(job, turn_on=claimed, before=OffRows(**job.plan()["off_before"]["4"]).plus(BitMap64(claimed)))
    assert "apply will make 17 changes" in job.run("show", str(job.plan_file)).out
    rows = job.rows()

    result = job.apply()

    assert (result.code, job.rows()) == (3, rows)
    assert "turning off 8 clients (200, 201, 202, …) is 38.1 % of the 21 that are off now" in result.err
    assert job.apply("--force").code == 0


def forge(job: Job, *, turn_on: list[int], before: OffRows) -> None:
    """Write a plan that is right in itself, with other numbers for shard 4."""
    plan = job.plan()
    after = before.plus(BitMap64(plan["turn_off"]["4"])).minus(BitMap64(turn_on))
    changed = {"turn_on": turn_on, "off_before": to_builtins(before), "off_after": to_builtins(after)}
    off_now = plan["off_now"] - plan["off_before"]["4"]["count"] + before.count
    rewritten(job, off_now=off_now, **{key: plan[key] | {"4": value} for key, value in changed.items()})


# -- what set-modtime looks at --


def test_a_client_of_the_plan_that_has_moved(job: Job) -> None:
    """Its row stays behind, so that the product reads none and the chat is on, though it is listed."""
    job.list([5, 1], modified=FIRST)
    assert (job.diff().code, job.apply().code) == (0, 0)
    job.dict_sql("UPDATE shard_client_id SET shard = 3 WHERE ClientID = 1")

    result = job.set_modtime()

    assert (result.code, job.property()) == (4, None)
    assert "1 client to change on shard 1 (1) no longer live there" in result.err
    assert job.diff("--if-modified").code == 0
    assert (job.plan()["turn_off"]["3"], job.plan()["strays"]) == ([1], {"1": rows_of(1)})


@pytest.mark.parametrize("home", [3, 9])
def test_a_listed_client_outside_the_plan_that_has_moved(job: Job, home: int) -> None:
    """It was off already, so that the plan does not name it; its row stayed behind, and every count is right."""
    job.list([5, 1], modified=FIRST)
    assert (job.diff().code, job.apply().code) == (0, 0)
    job.dict_sql("UPDATE shard_client_id SET shard = %s WHERE ClientID = 5", home)

    result = job.set_modtime()

    assert (result.code, job.property()) == (4, None)
    assert "clients have moved, shard 1: 1 stray row (5), `diff` saw 0; the mod-time was not moved" in result.err
    if home == 3:
        assert job.diff("--if-modified").code == 0
        assert (job.plan()["turn_off"]["3"], job.plan()["strays"]) == ([5], {"1": rows_of(5)})


def test_a_row_that_counted_for_nothing_and_is_at_home_now(job: Job) -> None:
    """Client 3 is not listed; it moves to the shard where an off row of it had stayed behind."""
    job.row(1, 3, 0)
    job.list([5], modified=FIRST)
    assert (job.diff().code, job.apply().code) == (0, 0)
    assert job.plan()["strays"] == {"1": rows_of(3)}
    job.dict_sql("UPDATE shard_client_id SET shard = 1 WHERE ClientID = 3")

    result = job.set_modtime()

    assert (result.code, job.property()) == (4, None)
    assert "clients have moved, shard 1: 0 stray rows, `diff` saw 1" in result.err
    assert (job.diff("--if-modified").code, job.plan()["turn_on"]["1"]) == (0, [3])


def test_one_client_leaves_and_another_one_comes_back(job: Job) -> None:
    """As many strays as before, but not the same ones."""
    job.row(1, 3, 0)
    job.list([5], modified=FIRST)
    assert (job.diff().code, job.apply().code) == (0, 0)
    job.dict_sql("UPDATE shard_client_id SET shard = 1 WHERE ClientID = 3")
    job.dict_sql("UPDATE shard_client_id SET shard = 3 WHERE ClientID = 5")

    result = job.set_modtime()

    assert (result.code, job.property()) == (4, None)
    assert "clients have moved, shard 1: 1 stray row (5), `diff` saw as many, but of other clients" in result.err


def test_a_listed_client_that_has_come_to_live_on_a_shard(job: Job) -> None:
    """It was unknown to `diff`, and has no row: its chat is on."""
    job.list([5, 99], modified=FIRST)
    assert (job.diff().code, job.apply().code) == (0, 0)
    job.settle({99: 2})

    result = job.set_modtime()

    assert (result.code, job.property()) == (4, None)
    assert "1 listed client (99) lived on no shard when `diff` looked, but live on one now" in result.err
    heals(job, {5, 99})


def test_clients_that_are_neither_listed_nor_off_may_come_and_go(job: Job) -> None:
    job.list([5, 1, 99], modified=FIRST)
    assert (job.diff().code, job.apply().code) == (0, 0)
    job.settle({6: 1})
    job.dict_sql("UPDATE shard_client_id SET shard = 3 WHERE ClientID = 2")

    assert job.set_modtime().code == 0


# -- rows where their clients do not live --


@pytest.fixture
def strayed(job: Job) -> Job:
    """Client 1 is listed and moved from shard 2 to 1: its row stayed behind. 7 is off and lives nowhere."""
    job.row(2, 1, 0)
    job.row(3, 7, 0)
    job.list([5, 1], modified=FIRST)
    return job


def test_a_row_that_stayed_behind_is_no_reason_to_keep_the_chat(strayed: Job) -> None:
    result = strayed.diff()

    plan = strayed.plan()
    assert (plan["turn_off"], plan["off_now"]) == ({"1": [1], "2": [], "3": [], "4": []}, 1)
    assert not any(plan["turn_on"].values())
    assert plan["strays"] == {"2": rows_of(1), "3": rows_of(7)}
    assert "2 off rows of clients that live elsewhere, 1 on shard 2, 1 on shard 3: they are ignored" in result.out
    assert (strayed.apply().code, strayed.set_modtime().code) == (0, 0)
    assert {(1, 1, FEATURE_ID, 0), (2, 1, FEATURE_ID, 0), (3, 7, FEATURE_ID, 0)} <= strayed.rows()
    strayed.diff()
    assert strayed.plan()["verdict"] == "in-sync"


@pytest.mark.parametrize("listed", [[5, 1], [5]])
def test_a_client_that_lives_on_a_shard_the_configuration_lacks(job: Job, listed: list[int]) -> None:
    """Listed, or off: somebody forgot a shard."""
    job.row(1, 1, 0)
    job.dict_sql("UPDATE shard_client_id SET shard = 9 WHERE ClientID = 1")
    job.list(listed, modified=FIRST)

    result = job.diff()

    assert result.code == 2
    assert "shard 9 is missing from databases.shards, and 1 client, listed or off (1) live on it" in result.err


# -- the plan file --


def rewritten(job: Job, **changes: Any) -> None:
    document = {key: value for key, value in {**job.plan(), **changes}.items() if value != "removed"}
    job.plan_file.write_text(json.dumps(sealed(document)))


@pytest.mark.parametrize(
    "changes",
    [
        {"off_before": "removed", "off_after": "removed"},
        {"off_after": "removed"},
        {"off_before": None, "off_after": None},
        {"off_before": {}, "off_after": {}},
        {"off_before": {"1": {"count": 1, "hash": "0" * 32}}},
        {"off_now": 100},
        {"strays": {"1": {"count": 1, "hash": "0" * 32}}},
        {"strays": {"9": {"count": 1, "hash": "0" * 32}}},
        {"strays": {"1": {"count": -1, "hash": "0" * 32}}},
        {"strays": {"1": 0}},
    ],
    ids=str,
)
def test_a_plan_without_what_the_shards_held_or_that_contradicts_itself(job: Job, changes: dict[str, Any]) -> None:
    job.list([5, 1], modified=FIRST)
    assert job.diff().code == 0
    rewritten(job, **changes)

    for result in (job.apply("--force"), job.set_modtime()):
        assert (result.code, result.err.count("\n")) == (4, 1)
        assert result.err.endswith("run `chatsync diff` again\n")
    assert job.off() == {5}


def test_a_plan_of_an_earlier_version_is_named_as_such(job: Job) -> None:
    job.list([5, 1], modified=FIRST)
    assert job.diff().code == 0
    rewritten(job, off_before="removed", off_after="removed", strays="removed")

    assert "was written by an earlier version of chatsync and lacks the state of the shards" in job.apply().err


def test_a_plan_that_read_nothing_has_nothing_to_expect(job: Job) -> None:
    job.list([5], modified=FIRST)
    job.dict_sql("INSERT INTO ppc_properties (name, value) VALUES (%s, %s)", PROPERTY, SECOND_TIME)
    assert job.diff("--if-modified").code == 0

    assert (job.plan()["off_before"], job.plan()["off_after"]) == (None, None)
    assert (job.apply().code, job.set_modtime().code) == (0, 0)


# -- the hash --


def test_the_databases_compute_what_the_program_does(job: Job) -> None:
    ids = [0, 1, 2, 3, 4, 255, 256, 65_537, 2**24, 2**31 - 1, 2**31, 2**31 + 1, 2**32 - 2, 2**32 - 1]
    for client in ids:
        job.row(2, client, 0)
    job.row(2, 17, 1)
    job.row(2, 18, 0, feature=42)
    settings = load(job.config)
    for shard, expected in ((2, BitMap64(ids)), (3, BitMap64())):
        with ShardDatabase(settings, shard, CancelScope(deadline=60, retry_timeout=1)) as database:
            assert database.count_off_rows(FEATURE_ID)[0] == OffRows.of(expected)
