"""The feature state from an export: the six rules that keep it from being wrong, and what the commands say of it."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from unittest.mock import ANY

import pytest

from chatsync.core import format_time
from tests.harness.export import FOLDER, LAST_APPLY, LONG_AGO, ONE_TABLE, PATH, Exporter, table
from tests.harness.job import PROPERTY, TABLE, Job

if TYPE_CHECKING:
    from collections.abc import Iterable

HOMES = {client: 1 + client % 4 for client in range(1, 41)}


def now() -> datetime:
    return datetime.now(UTC)


def write_list(exporter: Exporter, ids: Iterable[int], *, modified: datetime | None = None) -> None:
    schema = [{"name": "client_id", "type": "int64"}]
    exporter.yt.write(TABLE, ids=list(ids), schema=schema, strict=True, modified=modified or now())


@pytest.fixture
def exported(exporter: Exporter) -> Exporter:
    """40 clients on 4 shards, 1 to 20 off and listed, synced and exported since."""
    exporter.job.settle(HOMES)
    exporter.configure()
    for client in range(1, 21):
        exporter.job.row(HOMES[client], client, 0)
    for client in (31, 32, 33, 34):
        exporter.job.row(HOMES[client], client, 1)
    synced = now()
    write_list(exporter, range(1, 21), modified=synced)
    exporter.job.set_property(format_time(synced))
    exporter.note(format_time(synced))
    exporter.write()
    return exporter


def statements_on_shards(exporter: Exporter) -> None:
    """Make every shard unreadable, so that a command that asks one fails."""
    for shard in exporter.job.shards:
        exporter.job.shard_sql(shard, "ALTER TABLE clients_features RENAME TO hidden")


# -- the way it works --


def test_a_chain_reads_the_export_and_only_the_clients_that_differ(exported: Exporter) -> None:
    write_list(exported, [*range(2, 21), 21])

    done = exported.job.chain()

    assert (done.code, done.err) == (0, "")
    assert exported.job.off() == {*range(2, 22)}
    plan = exported.job.plan()
    assert plan["export"] | {"as_of": "", "revisions": {}, "last_apply": ""} == {
        "source": f"{exported.yt.url.removeprefix('http://')}:{PATH}",
        "as_of": "",
        "revisions": {},
        "rows": {"1": 6, "2": 6, "3": 6, "4": 6},
        "compared_by": "this machine",
        "last_apply": "",
        "confirmed": 2,
        "contradicted": 0,
        "unused": None,
    }
    assert (plan["off_before"], plan["off_after"], plan["off_now"]) == (None, None, 20)


def test_without_a_difference_no_shard_is_asked(exported: Exporter) -> None:
    statements_on_shards(exported)

    done = exported.job.diff()

    assert (done.code, exported.job.plan()["verdict"]) == (0, "in-sync")


def test_live_reads_every_shard(exported: Exporter) -> None:
    statements_on_shards(exported)

    assert exported.job.diff("--live").code == 1
    assert exported.job.run("apply", "--live", "--yes").code == 1
    assert exported.job.run("sync", "--full", "--live").code == 1
    assert exported.job.run("check", "--drift").code == 3  # a shard does not answer
    assert exported.job.run("apply", "--live", "--plan", str(exported.job.plan_file)).code == 2
    assert exported.job.run("check", "--live").code == 3


def test_the_list_and_the_export_are_locked_in_one_transaction_and_read_as_they_were(exported: Exporter) -> None:
    write_list(exported, range(2, 21))
    exported.yt.on("read_table", lambda: exported.write_shard(2, [(1, 217, 1)]))

    assert exported.job.diff().code == 0
    assert exported.job.plan()["turn_on"] == {"1": [], "2": [1], "3": [], "4": []}
    starts = [seen for seen in exported.yt.requests if seen.command == "start_transaction"]
    locks = {seen.params["transaction_id"] for seen in exported.yt.requests if seen.command == "lock"}
    assert len(locks) == len(starts)
    assert exported.yt.cypress.live_transactions == []


def test_the_tables_of_all_shards_are_locked_and_described_by_two_requests(exported: Exporter) -> None:
    exported.yt.requests.clear()
    exported.yt.on("execute_batch", lambda: exported.yt.throttle("lock"))  # one of the four, so that all are sent again

    assert exported.job.diff().code == 0

    sent = [seen for seen in exported.yt.requests if seen.command == "execute_batch"]
    commands = [[str(one["command"]) for one in seen.params["requests"]] for seen in sent]
    assert commands == [["lock"] * 4, ["lock"] * 4, ["get"] * 4]


def test_without_the_section_nothing_is_asked_or_written(exporter: Exporter) -> None:
    exporter.job.settle(HOMES)
    exporter.job.configure()
    write_list(exporter, [1, 2])

    assert exporter.job.chain("--force").code == 0
    locks = [seen for seen in exporter.yt.requests if seen.command == "lock"]
    assert {seen.path for seen in locks if "clients_features" in seen.path} == set()
    assert exporter.yt.commands.count("start_transaction") == 1
    assert exporter.noted() is None
    assert "export" not in exporter.job.plan()


# -- rule 1: never an export that is not younger than our own last change --


def test_an_export_from_before_our_own_change_is_not_used(exported: Exporter) -> None:
    """Client 20 is off in the export, turned on since, and named again: by the export it would be off already."""
    write_list(exported, range(1, 20))
    assert exported.job.chain().code == 0
    write_list(exported, range(1, 21))

    done = exported.job.chain()

    assert done.code == 0
    assert exported.job.off() == {*range(1, 21)}
    assert "not after the last apply" in exported.job.plan()["export"]["unused"]
    assert exported.job.plan()["off_now"] == 19


def test_an_export_from_after_our_own_change_is_used(exported: Exporter) -> None:
    write_list(exported, range(2, 21))
    assert exported.job.chain().code == 0
    exported.write()

    assert exported.job.diff().code == 0
    assert exported.job.plan()["export"]["unused"] is None


def test_a_failed_apply_is_noted_as_well(exported: Exporter) -> None:
    write_list(exported, [*range(2, 21), 21, 22])
    assert exported.job.diff().code == 0
    exported.job.shard_sql(3, "CREATE TRIGGER no BEFORE INSERT ON clients_features BEGIN SELECT RAISE(FAIL, 'no'); END")
    assert exported.job.apply().code == 1
    exported.job.shard_sql(3, "DROP TRIGGER no")

    assert exported.job.diff().code == 0
    assert "not after the last apply" in exported.job.plan()["export"]["unused"]


def test_an_undo_is_noted_as_well(exported: Exporter) -> None:
    write_list(exported, range(2, 21))
    assert exported.job.chain().code == 0
    exported.write()
    assert exported.job.run("apply", "--undo", exported.job.records()[0]["id"], "--yes").code == 0

    assert exported.job.diff().code == 0
    assert "not after the last apply" in exported.job.plan()["export"]["unused"]


def test_an_apply_that_is_killed_has_noted_until_when_it_may_commit(exported: Exporter) -> None:
    write_list(exported, range(2, 21))
    assert exported.job.diff().code == 0
    kill = "CREATE TRIGGER kill BEFORE UPDATE ON clients_features BEGIN SELECT RAISE(FAIL, 'no'); END"
    for shard in exported.job.shards:
        exported.job.shard_sql(shard, kill)
    exported.job.dict_sql(
        f"CREATE TRIGGER second BEFORE UPDATE ON ppc_properties WHEN NEW.name = '{LAST_APPLY}' AND NEW.value < "
        "strftime('%Y-%m-%dT%H:%M:%f', 'now', '1 minute') BEGIN SELECT RAISE(FAIL, 'killed'); END"
    )

    done = exported.job.apply()

    assert done.code == 1
    assert "the time of this apply stays" in done.err
    until = datetime.fromisoformat((exported.noted() or "").split()[0])
    assert timedelta(minutes=20) < until - now() < timedelta(minutes=22)
    exported.write()
    assert exported.job.diff().code == 0
    assert "not after the last apply" in exported.job.plan()["export"]["unused"]


def test_the_time_of_a_later_apply_stays_when_an_earlier_one_ends(exported: Exporter) -> None:
    """One that lost the job's lock, for example: the other one may still commit until then."""
    write_list(exported, range(2, 21))
    assert exported.job.diff().code == 0
    later = f"2099-01-01T00:00:00Z {'a' * 32}"
    exported.job.dict_sql(
        f"CREATE TRIGGER later AFTER UPDATE ON ppc_properties WHEN NEW.name = '{LAST_APPLY}' "
        f"AND OLD.value <> '{later}' BEGIN UPDATE ppc_properties SET value = '{later}' WHERE name = NEW.name; END"
    )

    assert exported.job.apply().code == 0
    assert exported.noted() == later


def test_where_no_apply_has_noted_its_time_the_databases_are_read_and_the_next_apply_notes_it(
    exported: Exporter,
) -> None:
    exported.note(None)

    assert exported.job.diff().code == 0
    assert "no apply has written its time" in exported.job.plan()["export"]["unused"]
    assert (exported.job.apply().code, exported.job.plan()["verdict"]) == (0, "in-sync")
    exported.write()
    assert exported.job.diff().code == 0
    assert exported.job.plan()["export"]["unused"] is None


@pytest.mark.parametrize("value", ["yesterday", ""])
def test_a_noted_time_that_is_none_is_an_error_that_live_gets_past(exported: Exporter, value: str) -> None:
    exported.note(value)

    done = exported.job.diff()

    assert done.code == 1
    assert f"property {LAST_APPLY} in dict" in done.err
    assert "`chatsync diff --live`" in done.err
    write_list(exported, range(2, 21))
    assert (exported.job.diff("--live").code, exported.job.apply().code) == (0, 0)
    assert exported.job.diff().code == 0


def test_the_noted_time_never_switches_the_job_off(exported: Exporter) -> None:
    exported.note("9999-12-31T00:00:00Z")
    write_list(exported, range(2, 21))

    assert exported.job.chain().code == 0
    assert exported.job.off() == {*range(2, 21)}


def test_refuse_reads_no_database_instead(exported: Exporter) -> None:
    exported.configure(when_stale="refuse")
    exported.note("9999-12-31T00:00:00Z")

    done = exported.job.diff()

    assert done.code == 3
    assert "not after the last apply, 9999-12-31" in done.err
    assert "`chatsync diff --live` reads the databases" in done.err
    assert exported.job.diff("--live").code == 0


# -- rule 2: differences are confirmed --


def test_only_differences_that_the_databases_confirm_enter_the_plan(exported: Exporter) -> None:
    exported.configure({"limits": {"contradicted_percent": 100}})
    for client, enabled in {21: 0, 23: 0, 1: 1}.items():  # by other hands, since the export
        exported.job.row(HOMES[client], client, enabled)
    write_list(exported, [*range(3, 21), 21, 22, 23])

    assert exported.job.diff().code == 0

    plan = exported.job.plan()
    assert (plan["turn_off"], plan["turn_on"]) == (
        {"1": [], "2": [], "3": [22], "4": []},
        {"1": [], "2": [], "3": [2], "4": []},
    )
    assert (plan["export"]["confirmed"], plan["export"]["contradicted"], plan["off_now"]) == (2, 3, 21)


@pytest.mark.parametrize(("free", "refused"), [(3, True), (4, False)])
def test_an_export_that_is_contradicted_too_often_is_refused(exported: Exporter, *, free: int, refused: bool) -> None:
    exported.configure({"limits": {"free": free, "turn_on_percent": 100, "turn_off_percent": 100}})
    for client in (1, 2, 3, 4):
        exported.job.row(HOMES[client], client, 1)
    write_list(exported, [*range(5, 21), 21])

    done = exported.job.diff()
    applied = exported.job.apply("--force")

    assert done.code == 0
    text = "the databases contradict 4 of 5 differences between the list and the export, 80 %, over limits.contradicted"
    assert (text in done.out, text in applied.err, applied.code) == (refused, refused, 3 if refused else 0)


def test_a_client_that_has_moved_is_looked_for_where_it_lives_now(exported: Exporter) -> None:
    exported.job.dict_sql("UPDATE shard_client_id SET shard = 1 WHERE ClientID IN (1, 2)")
    exported.job.row(1, 1, 0)  # moved with its row; the other one without
    write_list(exported, range(3, 21))

    assert exported.job.chain().code == 0

    plan = exported.job.plan()
    assert plan["turn_on"] == {"1": [1], "2": [], "3": [], "4": []}
    assert {shard: rows["count"] for shard, rows in plan["strays"].items()} == {"2": 1, "3": 1}


# -- rule 3: the age limit, for diff and for apply --


def test_an_old_export_is_not_used(exported: Exporter) -> None:
    exported.write(modified=now() - timedelta(hours=37))
    exported.note("2026-01-01")

    assert exported.job.diff().code == 0
    assert "1 d 13 h ago, over limits.export_max_age = 1 d 12 h" in exported.job.plan()["export"]["unused"]


def test_one_old_table_makes_the_whole_export_old(exported: Exporter) -> None:
    exported.note("2026-01-01")
    exported.write_shard(3, exported.rows(3), modified=now() - timedelta(hours=37))

    assert exported.job.diff().code == 0
    assert "over limits.export_max_age" in exported.job.plan()["export"]["unused"]


def test_an_export_of_the_future_is_not_used(exported: Exporter) -> None:
    exported.write(modified=now() + timedelta(hours=2))

    assert exported.job.diff().code == 0
    assert "later than the clock of the dict database" in exported.job.plan()["export"]["unused"]


def test_the_time_that_an_export_takes_is_taken_off(exported: Exporter) -> None:
    exported.configure(takes="1h")

    assert exported.job.diff().code == 0
    assert "not after the last apply" in exported.job.plan()["export"]["unused"]


def test_apply_looks_at_the_age_again_and_no_option_lifts_it(exported: Exporter) -> None:
    write_list(exported, range(2, 21))
    assert exported.job.diff().code == 0
    exported.configure({"limits": {"export_max_age": "0.001s"}})

    done = exported.job.apply("--force", "--allow-empty")

    assert done.code == 3
    assert "over limits.export_max_age" in done.err
    assert exported.job.off() == {*range(1, 21)}


# -- rule 4: the mod-time moves only when it is true --


def test_the_mod_time_does_not_move_while_a_change_is_missing(exported: Exporter) -> None:
    write_list(exported, [*range(2, 21), 21])
    assert (exported.job.diff().code, exported.job.apply().code) == (0, 0)
    exported.job.row(HOMES[21], 21, 1)

    done = exported.job.set_modtime()

    assert done.code == 4
    assert "1 of its 2 changes is missing, 1 on shard 2" in done.err


@pytest.mark.parametrize(
    ("moved", "told"),
    [
        (21, "1 client to change on shard 2 (21) no longer live there"),
        (41, "1 listed client (41) lived on no shard when `diff` looked"),
    ],
)
def test_the_mod_time_does_not_move_once_a_client_has_moved(exported: Exporter, *, moved: int, told: str) -> None:
    """From the shard where it was turned off, or from no shard to one."""
    write_list(exported, [*range(1, 21), 21, 41])
    assert (exported.job.diff().code, exported.job.apply().code) == (0, 0)
    exported.job.dict_sql("DELETE FROM shard_client_id WHERE ClientID = %s", moved)
    exported.job.dict_sql("INSERT INTO shard_client_id VALUES (%s, 1)", moved)

    done = exported.job.set_modtime()

    assert done.code == 4
    assert told in done.err


@pytest.mark.parametrize("step", ["apply", "set_modtime"])
def test_a_plan_is_out_of_date_once_another_apply_has_written(exported: Exporter, step: str) -> None:
    write_list(exported, range(2, 21))
    assert exported.job.diff().code == 0
    if step == "set_modtime":
        assert exported.job.apply().code == 0
    exported.note(f"{now().isoformat()} {'f' * 32}")

    done = getattr(exported.job, step)()

    assert done.code == 4
    assert "another apply wrote at" in done.err
    exported.note(None)
    assert "is no longer in the property" in getattr(exported.job, step)().err


def test_the_same_plan_can_be_applied_again_after_a_failure(exported: Exporter) -> None:
    write_list(exported, [*range(2, 21), 21, 22])
    assert exported.job.diff().code == 0
    exported.job.shard_sql(3, "CREATE TRIGGER no BEFORE INSERT ON clients_features BEGIN SELECT RAISE(FAIL, 'no'); END")
    assert exported.job.apply().code == 1
    exported.job.shard_sql(3, "DROP TRIGGER no")

    assert (exported.job.apply().code, exported.job.set_modtime().code) == (0, 0)
    assert exported.job.off() == {*range(2, 23)}


def test_the_limits_count_what_is_left_to_do(exported: Exporter) -> None:
    exported.configure({"limits": {"turn_off_max": 2, "free": 0, "turn_on_percent": 100, "turn_off_percent": 100}})
    write_list(exported, [*range(1, 21), 21, 22, 23])
    assert exported.job.diff().code == 0
    assert exported.job.apply().code == 3
    exported.job.row(HOMES[21], 21, 0)

    assert exported.job.apply().code == 3  # the plan itself is over the limit
    assert exported.job.apply("--force").code == 0


def test_the_limits_are_percentages_of_those_that_are_off_now(exported: Exporter) -> None:
    exported.configure({"limits": {"free": 0, "turn_off_percent": 50, "turn_on_percent": 100}})
    write_list(exported, range(16, 31))
    assert exported.job.diff().code == 0
    for client in range(1, 16):  # by other hands: the plan turns off 10 of 20, what is left of it 10 of 5
        exported.job.row(HOMES[client], client, 1)

    assert exported.job.apply().code == 3
    assert exported.job.off() == {*range(16, 21)}


# -- rule 5: whole or not at all --


def changed(exporter: Exporter, rows: list[tuple[Any, ...]], **attributes: Any) -> None:
    """Write the table of shard 2 with other columns, types or attributes."""
    for name, value in attributes.items():
        setattr(exporter, name, value)
    exporter.write_shard(2, rows)


WRONG: dict[str, tuple[Any, list[str]]] = {
    "missing": (lambda e: e.yt.remove(table(2)), ["the export of shard 2, ", "ppc2/clients_features", "no such table"]),
    "empty": (lambda e: e.write_shard(2, []), ["the export of shard 2, ", "is empty"]),
    "negative": (
        lambda e: changed(e, [(-7, 217, 0)], types=("int64", "int64", "int64")),
        ["the export of shard 2, ", "row 0 has -7 in column 'ClientID', and not a client id"],
    ),
    "too large": (
        lambda e: changed(e, [(1, 217, 0), (2**32, 42, 0)], types=("int64", "int64", "int64")),
        ["row 1 has 4294967296 in column 'ClientID'"],
    ),
    "no client": (
        lambda e: e.write_shard(2, [(1, 217, 0), (None, 217, 0)]),
        ["row 1 has nothing in column 'ClientID'"],
    ),
    "no feature": (lambda e: e.write_shard(2, [(1, None, 0)]), ["row 0 has nothing in column 'feature_id'"]),
    "neither on nor off": (lambda e: e.write_shard(2, [(1, 217, 2)]), ["row 0 has 2 in column 'is_enabled'", "0 or 1"]),
    "nothing said": (lambda e: e.write_shard(2, [(1, 217, None)]), ["row 0 has nothing in column 'is_enabled'"]),
    "text": (
        lambda e: changed(e, [("1", 217, 0), ("n/a", 217, 0)], types=("string", "uint32", "int8")),
        ["the export of shard 2, ", "row 1 has b'n/a' in ClientID"],
    ),
    "doubled": (
        lambda e: e.write_shard(2, [(1, 217, 0), (1, 217, 0)]),
        ["2 rows of the feature for 1 client on shard 2"],
    ),
    "doubled, on and off": (
        lambda e: e.write_shard(2, [(1, 217, 0), (1, 217, 1)]),
        ["the export of shard 2, ", "2 rows of the feature for 1 client on shard 2"],
    ),
    "no row of the feature": (
        lambda e: [e.write_shard(shard, [(1, 42, 0)]) for shard in e.job.shards],
        ["none of its 4 rows is of feature 217", "export.feature"],
    ),
    "no column": (
        lambda e: changed(e, [(1, 217, 0)], columns=("client", "feature_id", "is_enabled")),
        ["has no column 'ClientID': it has client, feature_id, is_enabled", "[export]"],
    ),
    "a queue": (
        lambda e: changed(e, [(1, 217, 0)], attributes={"dynamic": True}),
        ["the export of shard 2, ", "is a queue of changes, not a state"],
    ),
    "dynamic": (
        lambda e: changed(e, [(1, 217, 0)], attributes={"dynamic": True, "sorted": True}),
        ["the export of shard 2, ", "dynamic table", "export.time"],
    ),
    "a folder": (lambda e: e.yt.link(table(2), FOLDER), ["the export of shard 2, ", "is a map_node, not a table"]),
    "one table twice": (lambda e: e.yt.link(table(2), table(1)), ["it is the table of shard 1 as well"]),
    "short": (
        lambda e: (e.yt.cut_rows(99), e.yt.cut_rows(3)),
        ["read 3 of", "an incomplete export is not used"],
    ),
    "forbidden": (lambda e: e.yt.deny(table(2)), ["the export of shard 2, ", "no permission to read the table"]),
    "of numbers with a fraction": (
        lambda e: changed(e, [(1.0, 217, 0)], types=("double", "uint32", "int8")),
        ["column 'ClientID' is of type double"],
    ),
}


@pytest.mark.parametrize("fault", WRONG)
def test_an_export_that_is_not_whole_is_not_used(exported: Exporter, fault: str) -> None:
    spoil, texts = WRONG[fault]
    write_list(exported, range(2, 21))
    spoil(exported)

    done = exported.job.run("diff", "--plan", str(exported.job.folder / "other.json"))

    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1), done
    assert [text for text in texts if text not in done.err] == [], done.err
    assert not (exported.job.folder / "other.json").exists()


def test_a_table_of_another_shard_is_found_by_where_its_clients_live(exported: Exporter) -> None:
    rows = [exported.rows(shard) for shard in (1, 2)]
    exported.write_shard(2, rows[0])
    exported.write_shard(1, rows[1])
    write_list(exported, [20])

    done = exported.job.diff()

    assert done.code == 1
    assert "the rows of shard 1 are of another shard: 5 of 5 clients found there live on shard 2" in done.err


def test_a_row_of_a_shard_that_is_not_configured_is_refused(exported: Exporter) -> None:
    exported.configure(path=ONE_TABLE, shard_column="shard")
    exported.write_together()
    rows = [(*row, 1) for row in exported.rows(1)]
    exported.write_table(ONE_TABLE, [*rows, (7, 217, 0, 5)])

    done = exported.job.diff()

    assert done.code == 1
    assert "row 6 has 5 in column 'shard', and not a shard of databases.shards (1, 2, 3, 4)" in done.err
    exported.write_table(ONE_TABLE, rows)
    assert "it has no row of shard 2; is it complete?" in exported.job.diff().err


# -- the forms of an export --

NUMBERS = ("uint8", "int8", "uint32", "int64", "uint64")


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize(
    ("types", "off", "on"),
    [
        *(pytest.param(("uint32", "uint32", kind), 0, 1, marks=pytest.mark.slow) for kind in NUMBERS[1:]),
        (("uint32", "uint32", NUMBERS[0]), 0, 1),
        (("uint64", "uint64", "boolean"), False, True),
        (("int64", "int64", "string"), "0", "1"),
        (("string", "string", "string"), "false", "true"),
        (("any", "any", "any"), 0, 1),
        ((None, None, None), 0, 1),
    ],
)
def test_every_form_is_read_alike(
    exported: Exporter, types: tuple[str | None, ...], off: Any, on: Any, *, together: bool
) -> None:
    exported.types = types
    text = types[0] == "string"
    before = exported.rows

    def rows(shard: int) -> list[tuple[Any, ...]]:
        return [
            (str(client) if text else client, str(feature) if text else feature, on if enabled else off)
            for client, feature, enabled in before(shard)
        ]

    exported.rows = rows  # type: ignore[method-assign]
    if together:
        exported.configure(path=ONE_TABLE, shard_column="shard")
        exported.write_together()
    else:
        exported.write()
    write_list(exported, [*range(2, 21), 21])

    assert exported.job.diff().code == 0
    plan = exported.job.plan()
    assert (plan["turn_off"]["2"], plan["turn_on"]["2"], plan["export"]["confirmed"]) == ([21], [1], 2)
    assert plan["export"]["unused"] is None


def test_empty_cells_of_other_features_do_not_matter(exported: Exporter) -> None:
    exported.write_shard(2, [*exported.rows(2), (77, 42, None)])
    write_list(exported, range(2, 21))

    assert exported.job.diff().code == 0
    assert exported.job.plan()["export"]["rows"]["2"] == 7


def test_a_dynamic_table_is_read_by_the_time_that_its_writer_sets(exported: Exporter) -> None:
    exported.configure(time="exported_at")
    exported.attributes = {"dynamic": True, "sorted": True, "exported_at": now().isoformat(), "row_count": 99}
    exported.write(modified=LONG_AGO)
    exported.yt.cut_body_after(40)
    write_list(exported, range(2, 21))

    assert exported.job.diff().code == 0
    assert exported.job.plan()["turn_on"]["2"] == [1]
    exported.attributes.pop("exported_at")
    exported.write()
    assert "has no attribute exported_at; check export.time" in exported.job.diff().err


def test_a_static_table_is_read_on_from_where_it_broke_off(exported: Exporter) -> None:
    write_list(exported, range(2, 21))
    exported.yt.on("read_table", lambda: exported.yt.cut_body_after(58), times=1)

    assert exported.job.diff().code == 0
    assert exported.job.plan()["turn_on"]["2"] == [1]


def test_links_are_followed(exported: Exporter) -> None:
    for shard in exported.job.shards:
        exported.write_table(f"//home/db/2026-11-26/ppc{shard}/clients_features", exported.rows(shard))
        exported.yt.remove(table(shard))
    exported.write_table("//home/db/2026-11-27/ppc2/clients_features", [(1, 217, 1)])
    exported.yt.link(FOLDER, "//home/db/2026-11-26")
    write_list(exported, range(2, 21))
    # They lead elsewhere before the rows are read: what was locked is read.
    exported.yt.on("read_table", lambda: exported.yt.link(FOLDER, "//home/db/2026-11-27"))

    assert exported.job.diff().code == 0
    assert exported.job.plan()["turn_on"]["2"] == [1]


def test_skiff_that_is_switched_off_is_done_without(exported: Exporter) -> None:
    exported.yt.disabled_formats = {"skiff"}
    write_list(exported, range(2, 21))

    assert exported.job.diff().code == 0
    assert exported.job.plan()["turn_on"]["2"] == [1]


# -- what is said --


def test_the_commands_say_where_the_state_came_from(exported: Exporter) -> None:
    write_list(exported, [*range(2, 21), 21])

    shown = exported.job.diff()

    place = f"{exported.yt.url.removeprefix('http://')}:{PATH}"
    assert f"state     {place}, 24 rows, compared by this machine\n          as of " in shown.out
    assert "; 2 of 2 differences confirmed in the databases, 0 were already so\n" in shown.out
    assert f"{place}, 24 rows" in exported.job.run("show", str(exported.job.plan_file)).out
    json = exported.job.run("show", "--format", "json", str(exported.job.plan_file)).json
    assert json["export"]["confirmed"] == 2
    exported.note("9999-12-31")
    assert "state     the databases, because the export is as of " in exported.job.diff().out


def test_the_doctor_tells_the_age_of_the_export(exported: Exporter) -> None:
    shown = exported.job.run("doctor").out

    place = f"{exported.yt.url.removeprefix('http://')}:{PATH}"
    columns = "ClientID uint32, feature_id uint32, is_enabled int8"
    assert f"✓ export     {place}: 4 tables, 24 rows, {columns}" in shown
    assert "after the last apply: diff uses it" in shown
    exported.note("9999-12-31")
    assert "! export     diff does not use it now: the export is as of" in exported.job.run("doctor").out
    exported.yt.remove(table(2))
    assert "✗ export     the export of shard 2, " in exported.job.run("doctor").out


def test_the_doctor_looks_at_the_first_rows_of_the_export(exported: Exporter, mocker: Any) -> None:
    assert "✓ export     6 of the first 6 rows are of feature 217, and none is broken" in exported.job.run("doctor").out
    mocker.patch("chatsync.diagnostics.doctor_sources._SAMPLE", 2)
    exported.write_shard(1, [(4, 42, 0), (4, 217, 0), (8, 217, 7)])
    assert "✓ export     1 of the first 2 rows are of feature 217" in exported.job.run("doctor").out
    exported.write_shard(1, [(4, 42, 0), (4, 43, 0), (8, 217, 0)])
    shown = exported.job.run("doctor").out
    assert "! export     none of the first 2 rows is of feature 217: check export.feature" in shown
    exported.write_shard(1, [(8, 217, 7)])
    assert "✗ export     the export of shard 1, " in (shown := exported.job.run("doctor").out)
    assert "row 0 has 7 in column 'is_enabled', and not 0 or 1" in shown


def test_status_tells_what_the_next_diff_compares_with(exported: Exporter) -> None:
    place = f"{exported.yt.url.removeprefix('http://')}:{PATH}"
    assert exported.job.diff().code == 0
    as_of = exported.job.plan()["export"]["as_of"]
    exported.write()

    shown, document = exported.job.run("status").out, exported.job.run("status", "--format", "json").json

    assert re.search(r"state +read from the databases; diff takes the export as of \S+ \S+ UTC, \d+ s ago\n", shown)
    assert document["state_from"] == "databases"
    assert document["next_state_from"] == {"export": place, "as_of": ANY, "unused": None}
    assert document["next_state_from"]["as_of"] > as_of
    exported.note("9999-12-31")
    assert "; diff reads them as well, as the export is as of " in exported.job.run("status").out
    exported.yt.remove(table(2))
    done = exported.job.run("status")
    assert f"diff takes the export {PATH}, which can't be read" in done.out
    assert "! the export of shard 2, " in done.out


def test_the_page_says_that_the_export_cannot_be_read(exported: Exporter) -> None:
    exported.yt.remove(table(2))

    english, russian = (exported.job.run("report", "--language", language) for language in ("en", "ru"))

    assert (english.code, russian.code) == (1, 1)
    assert "<p>The copy of the databases that the sync needs can&#39;t be read at the moment.</p>" in english.out
    assert "<p>Копия баз данных, нужная синхронизации, сейчас не читается.</p>" in russian.out
    assert "the export of shard 2, " in english.err


def explained(exporter: Exporter, *options: str) -> Any:
    return exporter.job.run("explain", "21", "--format", "json", *options).json[0]


def test_explain_tells_what_the_next_run_compares_with(exported: Exporter) -> None:
    write_list(exported, [*range(1, 21), 21])

    said = explained(exported)

    text = r"turns it off; it compares with the export as of \S+ \S+ UTC, \d+ s ago, and a run with --live sees later "
    assert re.match(text + "changes of others as well", said["next_run"]["text"])
    assert (said["state_from"], said["next_state_from"]["unused"]) == ("databases", None)
    assert re.search(
        r"; the next sync turns it off, or the next full one if it was turned on after .* UTC\.", said["answer"]
    )
    russian = explained(exported, "--language", "ru")["answer"]
    assert re.search(
        r"его выключит ближайшая синхронизация, а если его включили после .* — ближайшая полная\.", russian
    )
    assert "nothing to do for this client\n" in exported.job.run("explain", "1").out


def test_explain_tells_why_the_next_run_reads_the_databases(exported: Exporter) -> None:
    write_list(exported, [*range(1, 21), 21])
    exported.note("9999-12-31")

    said = explained(exported)

    assert "turns it off; it reads the databases, as the export is as of" in said["next_run"]["text"]
    assert said["answer"].endswith("; the next sync turns it off.")


def test_explain_tells_that_the_next_run_fails_without_the_export(exported: Exporter) -> None:
    write_list(exported, [*range(1, 21), 21])
    exported.yt.remove(table(2))

    done = exported.job.run("explain", "21")

    assert done.code == 1
    assert "fails as long as the export can't be read; a run with --live turns it off" in done.out
    assert "the export of shard 2, " in done.err
    said = explained(exported, "--language", "ru")
    assert said["next_run"]["outcome"] == "no export"
    assert "копия базы, нужная синхронизации, сейчас не читается; его выключит ближайшая полная" in said["answer"]


def test_without_the_section_status_and_explain_look_at_no_export(exporter: Exporter) -> None:
    exporter.job.settle(HOMES)
    exporter.job.configure()
    write_list(exporter, [1])

    assert exporter.job.run("status", "--format", "json").json["next_state_from"] is None
    assert exporter.job.run("explain", "1", "--format", "json").json[0]["next_state_from"] is None
    assert "execute_batch" not in exporter.yt.commands


def test_the_property_has_a_name_of_its_own_and_can_be_given_one(exported: Exporter) -> None:
    assert LAST_APPLY == "CHECKED_SUPPORT_CHAT_FEATURE_LAST_APPLY_TIME"
    exported.configure(property="NOTED")
    write_list(exported, range(2, 21))
    assert exported.job.chain().code == 0

    assert exported.job.dict_sql("SELECT COUNT(*) FROM ppc_properties WHERE name = 'NOTED'") == [(1,)]


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({"path": ""}, "missing key export.path"),
        ({"path": "//home/x"}, "either {shard} in the path of a table for each shard, or export.shard_column"),
        ({"path": PATH, "shard_column": "shard"}, "either {shard} in the path"),
        ({"path": PATH + "[#1:#2]"}, "export.path: expected only the path of a table"),
        ({"property": PROPERTY}, "export.property: it must differ from modtime.property"),
        ({"property": "x" * 101}, "export.property: expected at most 100 characters, got 101"),
        ({"when_stale": "use"}, "export.when_stale: invalid enum value 'use'"),
    ],
)
def test_a_wrong_section_is_refused(exporter: Exporter, keys: dict[str, str], text: str) -> None:
    exporter.configure(None, **keys)

    done = exporter.job.diff()

    assert done.code == 2
    assert text in done.err


def test_a_list_in_a_file_goes_with_no_export(job: Job) -> None:
    job.configure(export={"path": PATH})

    assert "export.path: list and export must be in one cluster" in job.diff().err
