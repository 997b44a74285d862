"""Clients whose row a real server refuses to write, each server in its own words and with its own numbers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.harness.job import DISABLED, RECORDS, Job
from tests.harness.wire import COMMIT, FOREVER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.harness.schema import World
    from tests.harness.wire import Wired

REFUSED = [3, 7, 8]
OTHERS = set(range(1, 13)) - set(REFUSED)

TRIGGER = """CREATE TRIGGER refuse BEFORE INSERT ON clients_features FOR EACH ROW IF NEW.ClientID IN (3, 7, 8)
THEN SIGNAL SQLSTATE {state} SET MESSAGE_TEXT = 'closed by the DBA'{number}; END IF"""
# A trigger that fails for the same clients, as a rule of a product may; it may use a table `others` of numbers 1 and 2.
FAILING = """CREATE TRIGGER refuse BEFORE INSERT ON clients_features FOR EACH ROW BEGIN {declare}
IF NEW.ClientID IN (3, 7, 8) THEN {statement}; END IF; END"""
PARTITIONS = "PARTITION BY LIST (ClientID) (PARTITION known VALUES IN (1, 2, 4, 5, 6, 9, 10, 11, 12))"

# How a shard refuses clients 3, 7 and 8, how that is taken back, and what the message says.
REFUSALS = {
    "foreign key": (
        [
            "CREATE TABLE clients (ClientID INT UNSIGNED PRIMARY KEY)",
            "INSERT INTO clients VALUES (1), (2), (4), (5), (6), (9), (10), (11), (12)",
            "ALTER TABLE clients_features ADD CONSTRAINT known FOREIGN KEY (ClientID) REFERENCES clients (ClientID)",
        ],
        ["ALTER TABLE clients_features DROP FOREIGN KEY known", "DROP TABLE clients"],
        "Cannot add or update a child row: a foreign key constraint fails",
    ),
    "trigger": (
        [TRIGGER.format(state="'45000'", number="")],
        ["DROP TRIGGER refuse"],
        "closed by the DBA (1644)",
    ),
    "trigger with a number of its own": (
        [TRIGGER.format(state="'45123'", number=", MYSQL_ERRNO = 30001")],
        ["DROP TRIGGER refuse"],
        "closed by the DBA (30001)",
    ),
    "check": (
        ["ALTER TABLE clients_features ADD CONSTRAINT refuse CHECK (ClientID NOT IN (3, 7, 8))"],
        ["ALTER TABLE clients_features DROP CONSTRAINT refuse"],
        "refuse",
    ),
    "partition": (
        [f"ALTER TABLE clients_features {PARTITIONS}"],
        ["ALTER TABLE clients_features REMOVE PARTITIONING"],
        "Table has no partition for value 3 (1526)",
    ),
    "another unique key": (
        [
            """ALTER TABLE clients_features ADD UNIQUE KEY one_a_contract (contract),
            ADD COLUMN contract INT AS (IF(ClientID IN (3, 7, 8), 1, ClientID)) STORED INVISIBLE"""
        ],
        ["ALTER TABLE clients_features DROP KEY one_a_contract, DROP COLUMN contract"],
        "one_a_contract' (1062)",
    ),
    **{
        name: (
            [
                "CREATE TABLE others (id INT PRIMARY KEY, kind ENUM('a') NOT NULL DEFAULT 'a', name CHAR(1))",
                "INSERT INTO others (id) VALUES (1), (2)",
                FAILING.format(declare=declare, statement=statement),
            ],
            ["DROP TRIGGER refuse", "DROP TABLE others"],
            f"({number})",
        )
        for name, declare, statement, number in [
            ("a key of another table", "", "INSERT INTO others (id) VALUES (1)", 1062),
            ("null", "", "SET NEW.is_enabled = NULL", 1048),
            ("out of range", "", "SET NEW.is_enabled = 4711", 1264),
            ("no number", "", "SET NEW.is_enabled = 'x'", 1366),
            ("no result that fits", "", "SET NEW.is_enabled = CAST(1 AS UNSIGNED) - NEW.ClientID", 1690),
            ("no word of an enum", "", "INSERT INTO others (id, kind) VALUES (NEW.ClientID, 'b')", 1265),
            ("too long", "", "INSERT INTO others (id, name) VALUES (NEW.ClientID, 'ab')", 1406),
            ("several rows as a value", "", "SET NEW.is_enabled = (SELECT id FROM others)", 1242),
            ("several rows in a variable", "", "SELECT id INTO @one FROM others", 1172),
            ("no case", "", "CASE NEW.ClientID WHEN 0 THEN SET @one = 1; END CASE", 1339),
            (
                "no more rows",
                "DECLARE one INT; DECLARE none CURSOR FOR SELECT id FROM others WHERE id = 0;",
                "OPEN none; FETCH none INTO one",
                1329,
            ),
        ]
    },
}


@pytest.fixture
def refuse(world: World) -> Iterator[Callable[[str], None]]:
    """Let shard 1 refuse clients in one of the ways above; it is taken back at the end."""
    undo: list[str] = []

    def alter(how: str) -> None:
        statements, take_back, _ = REFUSALS[how]
        for statement in statements:
            world.sql("ppc1", statement)
        undo.extend(take_back)

    yield alter
    world.sql("ppc1", "DELETE FROM clients_features")
    for statement in undo:
        world.sql("ppc1", statement)


def plan(job: Job, **sections: dict[str, object]) -> Job:
    """Turn off clients 1 to 12 on shard 1 and 13 on shard 2."""
    job.settle(dict.fromkeys(range(1, 13), 1) | {13: 2})
    job.list(range(1, 14))
    job.configure(records=RECORDS, **sections)
    assert job.diff().code == 0
    return job


def refused_in_record(job: Job) -> list[int]:
    (record,) = job.records()
    refused: list[int] = record["shards"]["1"]["turn_off"]["refused"]
    return refused


@pytest.mark.parametrize(
    ("how", "batch_size"), [*((how, 1000) for how in REFUSALS), ("trigger", 5), ("another unique key", 5)]
)
def test_each_is_named_and_the_others_are_written(
    server_job: Job, refuse: Callable[[str], None], how: str, batch_size: int
) -> None:
    job = plan(server_job, apply={"batch_size": batch_size})
    refuse(how)

    result = job.apply()

    assert result.code == 1
    assert job.off() == OTHERS | {13}
    assert "3 changes failed on shard 1, 3 of them refused by the server (client 3, 7, 8): " in result.err
    assert "cannot write client 3: " in result.err
    assert REFUSALS[how][2] in result.err
    assert re.search("; (see which unique or foreign key, check or|check the types of .*,.* its) trigger", result.err)
    assert refused_in_record(job) == REFUSED


def test_a_row_that_another_session_inserts_meanwhile_is_no_reason_to_split(wired_job: Job, wired: Wired) -> None:
    """The batch finds it at the next attempt and updates it."""
    job = plan(wired_job)
    wired.wires["ppc1"].before("^INSERT", lambda: job.row(1, 7, 1))

    result = job.run("-v", "apply", "--plan", str(job.plan_file))

    assert result.code == 0
    assert job.off() == set(range(1, 14))
    assert "attempt 1 failed, trying again in " in result.err
    inserted = [sent for sent in wired.wires["ppc1"].statements if "INSERT" in sent]
    assert [sent.count("),") + 1 for sent in inserted] == [12, 11]


def test_each_part_asks_whether_it_may_be_committed(
    wired_job: Job, wired: Wired, refuse: Callable[[str], None]
) -> None:
    """The kill switch is set after the first part was committed: none follows."""
    job = plan(wired_job)
    refuse("trigger")
    wired.wires["ppc1"].after(COMMIT, lambda: job.set_property(DISABLED))

    assert job.apply().code == 5

    assert job.off() - {13} == {1, 2}  # of 1 to 12 the first part without a refused client
    assert job.records()[0]["shards"]["1"]["turn_off"]["changed"] == [1, 2]


def test_the_parts_are_written_over_one_connection(wired_job: Job, wired: Wired, refuse: Callable[[str], None]) -> None:
    job = plan(wired_job)
    refuse("trigger")
    wired.wires["ppc1"].statements.clear()

    assert job.apply().code == 1

    sent = wired.wires["ppc1"].statements
    assert len([statement for statement in sent if "SET SESSION group_concat" in statement]) == 2
    assert len([statement for statement in sent if statement.startswith("INSERT")]) > 5


def test_a_part_that_is_in_doubt_takes_no_other_one_along(
    wired_job: Job, wired: Wired, refuse: Callable[[str], None]
) -> None:
    """The answer to the commit of 1 and 2 is lost, then the server takes no more writes."""
    job = plan(wired_job, run={"retry_timeout": "0.1s"})
    refuse("trigger")
    wired.wires["ppc1"].lose_answer(COMMIT)
    wired.wires["ppc1"].refuse("FOR UPDATE", 1290, "read-only", skip=4, times=FOREVER)

    result = job.apply()

    assert result.code == 1
    assert "12 changes failed on shard 1, 2 of them perhaps made" in result.err
    assert job.records()[0]["shards"]["1"]["turn_off"]["in_doubt"] == [1, 2]
    assert job.off() == {1, 2, 13}


def test_a_commit_whose_answer_is_lost_and_then_found_written(
    wired_job: Job, wired: Wired, refuse: Callable[[str], None]
) -> None:
    job = plan(wired_job)
    refuse("trigger")
    wired.wires["ppc1"].lose_answer(COMMIT)

    assert job.apply().code == 1

    did = job.records()[0]["shards"]["1"]["turn_off"]
    assert (set(did["changed"]), did["already"], did["in_doubt"], did["refused"]) == (OTHERS, 0, [], REFUSED)


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (1142, "INSERT command denied to user 'chatsync'"),
        (1146, "Table 'ppc1.clients_features' doesn't exist"),
        (1364, "Field 'since' doesn't have a default value"),
        (1442, "Can't update table 'clients_features' in stored function/trigger"),
        (1665, "Cannot execute statement: impossible to write to binary log"),
    ],
)
def test_what_is_wrong_with_the_table_is_asked_once(wired_job: Job, wired: Wired, number: int, message: str) -> None:
    job = plan(wired_job)
    wired.wires["ppc1"].refuse("^INSERT", number, message, times=FOREVER)

    result = job.apply()

    assert result.code == 1
    assert f"cannot write a batch of 12 clients: {message} ({number})" in result.err
    assert len([sent for sent in wired.wires["ppc1"].statements if sent.startswith("INSERT")]) == 1
