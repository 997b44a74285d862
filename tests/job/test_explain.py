"""`explain` says of single clients whether they have the chat, and why."""

from __future__ import annotations

import fcntl
import json
import socket
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.harness.job import DAY, TABLE, Job, SqliteFiles

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.harness.yt_proxy import YtProxy

RECORDS = {"dir": "records", "keep": "36500d"}
LIMITS = {"unknown_percent": 50}
MODIFIED = 1_700_000_000  # 2023-11-14 22:13:20 UTC


def sync(job: Job, day: int, listed: Iterable[int]) -> str:
    """Run the chain for the list of one day and return the id of its run."""
    job.list(listed, modified=MODIFIED + day * DAY)
    assert job.chain().code == 0
    return on_day(job, day)


def on_day(job: Job, day: int, **fields: Any) -> str:
    """Let the newest record be one of anna@cron1, made an hour after the list of that day."""
    record = max(job.records(), key=lambda record: record["started"])
    (job.records_folder / f"{record['id']}.json").unlink()
    began = datetime.fromtimestamp(MODIFIED + day * DAY + 3600, UTC)
    identifier = f"{began:%Y%m%dT%H%M%S.%f}Z-{day:08x}"
    began, ended = (f"{time:%Y-%m-%dT%H:%M:%S.%f}Z" for time in (began, began + timedelta(seconds=3)))  # type: ignore[assignment]  # texts from here on
    document = record | {"id": identifier, "started": began, "ended": ended, "user": "anna", "host": "cron1"} | fields
    (job.records_folder / f"{identifier}.json").write_text(json.dumps(document), encoding="utf-8")
    return identifier


def build(job: Job) -> Job:
    """Four days of lists, an undo, a run that was killed, rows written by hand, and a list that waits."""
    job.configure(records=RECORDS, limits=LIMITS)
    job.settle({client: 1 + client % 2 for client in (101, 102, 103, 104, 105, 106, 107, 110, 111)} | {109: 1})
    job.row(1, 102, 0)
    sync(job, 0, [101, 102, 103, 104, 106])
    sync(job, 1, [101, 102, 103, 104])
    undone = sync(job, 2, [101, 102, 103, 104, 110])
    assert job.run("apply", "--undo", undone, "--yes").code == 0
    on_day(job, 3)
    job.list([101, 102, 103, 104, 111], modified=MODIFIED + 4 * DAY)
    assert job.chain().code == 0
    on_day(job, 4, outcome="started", ended=None, exit_code=None, shards={})
    job.row(1, 104, 1)
    job.row(3, 109, 0)
    job.list([101, 102, 104, 107, 108, 109, 110, 111], modified=MODIFIED + 5 * DAY)
    return job


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Job:
    """The world below, for tests that only read."""
    folder = tmp_path_factory.mktemp("explain")
    return build(Job(folder, SqliteFiles(folder)))


LISTED, UNLISTED = "because the client is on the exclusion list", "because the client is not on the exclusion list"
THOUGH, THOUGH_NOT = "although the client is on the exclusion list", "although the client is not on the exclusion list"
OFF = "because the client is on the exclusion list; when the sales team removes the client from the list, the next "
OFF += "sync turns the chat on again."
NO_ROW = "it has no row there, and without one the chat is on"
OTHER_CAUSE = "and the client is not on the exclusion list; if the chat is not shown, this list is not the reason."
STILL_ON = "although the client is on the exclusion list; the next sync turns it off."

# Each: the sentence after "Client N", who did it, what comes next, the answer after "The support chat".
SITUATIONS = {
    "turned off by the job": (
        101,
        f": the chat is OFF, {LISTED}; this job turned it off at 2023-11-14 23:13:20 UTC.",
        ("job", "20231114T231320.000000Z-00000000", "nothing to do"),
        f"has been off for client 101 since 2023-11-14, {OFF}",
    ),
    "off before the first record": (
        102,
        (
            f": the chat is OFF, {LISTED}; no recorded run of this job did that; the oldest record is of "
            "2023-11-14 23:13:20 UTC."
        ),
        ("no record", None, "nothing to do"),
        f"is off for client 102, {OFF}",
    ),
    "off and no longer listed": (
        103,
        f": the chat is OFF, {THOUGH_NOT}; this job turned it off at 2023-11-14 23:13:20 UTC.",
        ("job", "20231114T231320.000000Z-00000000", "change"),
        (
            "has been off for client 103 since 2023-11-14, although the client is not on the exclusion list; "
            "the next sync turns it on."
        ),
    ),
    "turned on again by hand": (
        104,
        (
            f": the chat is ON, {THOUGH}; this job turned it off at 2023-11-14 23:13:20 UTC, "
            "and something else has changed it since."
        ),
        ("not the job", "20231114T231320.000000Z-00000000", "change"),
        f"is on for client 104, {STILL_ON}",
    ),
    "never touched": (
        105,
        f": the chat is ON, {UNLISTED}; {NO_ROW}.",
        ("no row", None, "nothing to do"),
        f"is on for client 105, {OTHER_CAUSE}",
    ),
    "turned on again by the job": (
        106,
        f": the chat is ON, {UNLISTED}; this job turned it on at 2023-11-15 23:13:20 UTC.",
        ("job", "20231115T231320.000000Z-00000001", "nothing to do"),
        f"has been on for client 106 since 2023-11-15, {OTHER_CAUSE}",
    ),
    "listed a moment ago": (
        107,
        f": the chat is ON, {THOUGH}; {NO_ROW}.",
        ("no row", None, "change"),
        f"is on for client 107, {STILL_ON}",
    ),
    "listed and on no shard": (
        108,
        (
            " lives on no shard, so the databases do not know it: its chat is UNKNOWN, and the client "
            "is on the exclusion list."
        ),
        ("no row", None, "no shard"),
        "Client 108 is on the exclusion list, but the databases do not know this client: please check the number.",
    ),
    "a row left over on another shard": (
        109,
        f": the chat is ON, {THOUGH}; {NO_ROW}.",
        ("no row", None, "change"),
        f"is on for client 109, {STILL_ON}",
    ),
    "put back by an undo": (
        110,
        f": the chat is ON, {THOUGH}; an undo turned it on at 2023-11-17 23:13:20 UTC.",
        ("undo", "20231117T231320.000000Z-00000003", "change"),
        f"has been on for client 110 since 2023-11-17, {STILL_ON}",
    ),
    "in the plan of a run that was killed": (
        111,
        (
            f": the chat is OFF, {LISTED}; the run of 2023-11-18 23:13:20 UTC may have done that: "
            "it was killed, lost its connection, or is still running."
        ),
        ("perhaps job", "20231118T231320.000000Z-00000004", "nothing to do"),
        f"is off for client 111, {OFF}",
    ),
}


def explained(job: Job, *arguments: str) -> list[dict[str, Any]]:
    """Explain these clients, and hold that nothing was written."""
    before = job.rows(), job.property()
    result = job.run("explain", "--format", "json", *arguments)
    assert (result.code, result.err) == (0, "")
    assert (job.rows(), job.property()) == before
    documents: list[dict[str, Any]] = result.json
    return documents


@pytest.mark.parametrize("situation", SITUATIONS)
def test_each_situation(built: Job, situation: str) -> None:
    client, sentence, facts, answer = SITUATIONS[situation]

    (document,) = explained(built, str(client))

    run = document["by"] and document["by"]["run"]
    assert document["sentence"] == f"Client {client}{sentence}"
    assert (document["cause"], run, document["next_run"]["outcome"]) == facts
    assert document["answer"].removeprefix("The support chat ") == answer


def test_a_client_whose_number_stands_in_a_rejected_row_is_told_so(job: Job) -> None:
    """Whoever wrote that row meant this client, so the cause is the list all the same."""
    job.settle(dict.fromkeys((811, 8811606, 88116), 1))
    job.list(["client 8811606", 1, "88116067", "No. 811", "811", "8811606, urgent", "x" * 2000], modified=MODIFIED)
    holds = "row 2 of the list holds 'client 8811606', which is not a client id"

    asked, part_of_a_number, listed_too = explained(job, "8811606", "88116", "811")

    assert asked["sentence"] == f"Client 8811606: the chat is ON, {UNLISTED}, but {holds}; {NO_ROW}."
    assert asked["answer"].endswith(f"is not on the exclusion list; {holds}: the owners of the list must correct it.")
    assert asked["rejected_rows"] == [
        {"row": 2, "value": "client 8811606", "reason": "not an integer"},
        {"row": 7, "value": "8811606, urgent", "reason": "2 cells, the header has 1"},
    ]
    in_russian = explained(job, "8811606", "--language", "ru")[0]["answer"]
    assert in_russian.endswith(
        "в строке 2 списка стоит «client 8811606», а это не номер клиента: исправить строку должны владельцы списка."
    )
    assert part_of_a_number["answer"].endswith(OTHER_CAUSE)
    assert "row 5" not in listed_too["sentence"] + listed_too["answer"]
    table = job.run("explain", "8811606").out
    assert f": not listed; {holds}; row 7 of the list holds '8811606, urgent', which is not a client id" in table


OFF_RU = "потому что клиент есть в списке исключений; когда отдел продаж уберёт клиента из списка, ближайшая "
OFF_RU += "синхронизация снова включит чат."
STILL_ON_RU = "хотя клиент есть в списке исключений; ближайшая синхронизация его выключит."
IN_RUSSIAN = {
    101: f"Чат поддержки у клиента 101 выключен с 14.11.2023, {OFF_RU}",
    102: f"Чат поддержки у клиента 102 выключен, {OFF_RU}",
    103: "Чат поддержки у клиента 103 выключен с 14.11.2023, хотя клиента нет в списке исключений; "
    "ближайшая синхронизация его включит.",
    104: f"Чат поддержки у клиента 104 включён, {STILL_ON_RU}",
    105: "Чат поддержки у клиента 105 включён, и в списке исключений клиента нет; "
    "если чата не видно, причина не в этом списке.",
    108: "Клиент 108 есть в списке исключений, но в базах данных такого клиента нет: проверьте номер.",
    110: f"Чат поддержки у клиента 110 включён с 17.11.2023, {STILL_ON_RU}",
}


def test_the_answer_in_russian(built: Job) -> None:
    documents = explained(built, "--language", "ru", *map(str, IN_RUSSIAN))

    assert {document["client_id"]: document["answer"] for document in documents} == IN_RUSSIAN
    assert all(document["sentence"].startswith("Client") for document in documents)


def test_the_configured_language(waiting: Job) -> None:
    waiting.configure(records=RECORDS, limits=LIMITS, people={"language": "ru"})

    assert explained(waiting, "101")[0]["answer"].startswith("Чат поддержки у клиента 101 выключен")
    assert explained(waiting, "101", "--language", "en")[0]["answer"].startswith("The support chat has been off")


def test_a_language_that_nothing_is_written_in(waiting: Job) -> None:
    waiting.configure(people={"language": "fr"})

    result = waiting.run("explain", "101")

    assert result.code == 2
    assert "people.language" in result.err
    assert "en|ru" in result.err


def test_the_whole_document(built: Job) -> None:
    (document,) = explained(built, "110")

    by = {"user": "anna", "host": "cron1", "certain": True}
    undo = by | {
        "run": "20231117T231320.000000Z-00000003",
        "action": "turn_on",
        "started": "2023-11-17T23:13:20.000000Z",
        "undo_of": "20231116T231320.000000Z-00000002",
    }
    run = by | {
        "run": "20231116T231320.000000Z-00000002",
        "action": "turn_off",
        "started": "2023-11-16T23:13:20.000000Z",
        "undo_of": None,
    }
    assert document == {
        "client_id": 110,
        "chat": "on",
        "sentence": document["sentence"],
        "listed": True,
        "listed_since": {"run": run["run"], "list_modified": "2023-11-16T22:13:20.000000Z"},
        "rejected_rows": [],
        "shard": 1,
        "rows": {"1": "on"},
        "cause": "undo",
        "by": undo,
        "history": [undo, run],
        "next_run": {"outcome": "change", "action": "turn_off", "text": "turns it off"},
        "state_from": "databases",
        "next_state_from": None,
        "modtime": "2023-11-18T22:13:20.000000Z",
        "answer": document["answer"],
    }


def test_the_text(built: Job) -> None:
    result = built.run("explain", "103", "109")

    assert (result.code, result.err) == (0, "")
    first, second = result.out.replace(str(built.list_file), "LIST").split("\n\n")
    sentence, *facts, answer = first.splitlines()
    assert sentence == f"Client 103{SITUATIONS['off and no longer listed'][1]}"
    assert facts == [
        "  list        LIST, modified 2023-11-19 22:13:20 UTC: not listed",
        "  lives on    shard 2",
        "  rows        shard 2: off",
        "  changed by  run 20231114T231320.000000Z-00000000 by anna@cron1: turned off",
        "  next run    turns it on",
    ]
    assert answer == f"  answer      The support chat {SITUATIONS['off and no longer listed'][3]}"
    assert "  rows        shard 3: off (a stray row, not on its home shard: it is ignored)\n" in second


@pytest.mark.parametrize(("arguments", "stdin"), [(["-"], "107, 101\n107\n"), ([], "107\n101"), (["107", "-"], "101")])
def test_ids_from_standard_input(built: Job, arguments: list[str], stdin: str) -> None:
    result = built.run("explain", "--format", "json", *arguments, stdin=stdin)

    assert (result.code, result.err) == (0, "")
    assert [document["client_id"] for document in result.json] == [107, 101]


@pytest.mark.parametrize(
    ("arguments", "because"),
    [
        (["101", "abc", "0"], "not a client id: 'abc' (not an integer), '0' (zero)"),
        (["1.5"], "not a client id: '1.5' (fraction)"),
        ([str(2**63)], f"not a client id: '{2**63}' (too large)"),
    ],
)
def test_no_client_id(built: Job, arguments: list[str], because: str) -> None:
    result = built.run("explain", *arguments)

    assert (result.code, result.out) == (2, "")
    assert because in result.err


def test_nobody_asked_for(built: Job) -> None:
    result = built.process("explain")

    assert (result.code, result.out) == (2, "")
    assert "give one or more client ids; `-` reads them from standard input" in result.err


def test_an_id_that_no_row_can_hold(built: Job) -> None:
    (document,) = explained(built, str(2**32))

    assert (document["chat"], document["shard"], document["next_run"]["outcome"]) == ("unknown", None, "nothing to do")


# -- the state of the whole job; 101 is off and listed, 107 waits to be turned off --


@pytest.fixture
def waiting(job: Job) -> Job:
    job.configure(records=RECORDS, limits=LIMITS)
    job.settle({101: 1, 107: 2})
    sync(job, 0, [101])
    job.list([101, 107], modified=MODIFIED + DAY)
    return job


def outlook(job: Job) -> tuple[str, str, str]:
    """Say what comes next for 101 and 107, and the end of the answer about 107."""
    settled, waits = explained(job, "101", "107")
    return settled["next_run"]["outcome"], waits["next_run"]["outcome"], waits["answer"].partition("; ")[2]


def test_a_run_is_due(waiting: Job) -> None:
    assert outlook(waiting) == ("nothing to do", "change", "the next sync turns it off.")


@pytest.mark.parametrize(
    ("until", "words"), [("9999-12-31T00:00:00Z", "until further notice"), ("2099-01-01T00:00:00Z", "until 2099-01-01")]
)
def test_while_disabled(waiting: Job, until: str, words: str) -> None:
    waiting.set_property(until)

    later = f"the sync is switched off {words}, so nothing changes for now."
    assert outlook(waiting) == ("disabled", "disabled", later)
    assert (
        f"the job is disabled {words} (`chatsync set-modtime --reset` enables it)" in waiting.run("explain", "107").out
    )


def test_while_refused(waiting: Job) -> None:
    waiting.configure(records=RECORDS, limits={"must_contain": [4711]})

    assert outlook(waiting)[:2] == ("nothing to do", "refused")
    assert "(4711): it is the wrong list" in " ".join(waiting.run("explain", "107").out.split())


def test_the_list_is_read_once_also_where_a_whole_diff_is_made(job: Job, yt: YtProxy) -> None:
    yt.write(TABLE, ids=[1])
    job.keep_list_in(yt)
    job.configure(limits={"must_contain": [7]})
    job.settle({1: 1})

    (waits,) = explained(job, "1")

    assert waits["next_run"]["outcome"] == "refused"  # so that the limits were asked
    assert yt.commands.count("read_table") == 1


def test_records_that_may_not_be_read(waiting: Job) -> None:
    """The administrator, who may run the tests, may read any folder: a file in its place can't be listed either."""
    waiting.records_folder.rename(waiting.folder / "kept")
    waiting.records_folder.write_text("")

    result = waiting.run("explain", "101")

    assert result.code == 1
    assert result.out.startswith(
        "Client 101: the chat is OFF, because the client is on the exclusion list; "
        "the cause is not known, because the records can't be read.\n"
    )
    assert f"  changed by  not known: cannot read the records in {waiting.records_folder}: " in result.out
    assert result.err.startswith("chatsync: cannot read the records in ")


def test_while_locked(waiting: Job) -> None:
    with (waiting.folder / "ppcdict.db.chatsync-lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert outlook(waiting)[:2] == ("nothing to do", "change")


def test_drift_that_a_run_with_if_modified_does_not_see(waiting: Job) -> None:
    waiting.chain()
    waiting.row(2, 107, 1)

    assert outlook(waiting) == ("nothing to do", "full run only", "the next full sync turns it off.")


def test_a_shard_that_the_configuration_lacks(waiting: Job) -> None:
    waiting.settle({112: 9})
    waiting.list([101, 107, 112], modified=MODIFIED + DAY)

    (lost,) = explained(waiting, "112")

    assert (lost["chat"], lost["next_run"]["outcome"]) == ("unknown", "shard missing")
    assert "does not know shard 9" in lost["answer"]
    assert outlook(waiting)[1] == "refused"
    assert "shard 9 is missing from databases.shards" in waiting.run("explain", "107").out


def test_a_shard_that_is_away_hides_only_its_own_clients(waiting: Job) -> None:
    waiting.configure(records=RECORDS, limits=LIMITS, run={"retry_timeout": "0.1s"})
    waiting.settle({113: 1})
    (waiting.folder / "ppc2.db").unlink()

    result = waiting.run("explain", "101", "107", "113")

    assert result.code == 1
    assert result.err.startswith("chatsync: shard 2 (")
    settled, away, other = result.out.split("\n\n")
    assert settled.startswith(f"Client 101: the chat is OFF, {LISTED}; this job turned it")
    assert "  rows        shard 1: off, shard 2: can't be read\n" in settled
    assert "  next run    nothing to do for this client\n" in settled
    assert away.startswith(
        "Client 107 lives on shard 2, which can't be read: its chat is UNKNOWN, and the client is on the exclusion"
    )
    assert "  next run    fails as long as a shard can't be read\n" in away
    assert "the database where it lives can't be read at the moment: please ask again later." in away
    assert other.startswith("Client 113: the chat is ON, because the client is not on the exclusion list")


def test_a_shard_that_does_not_answer_is_not_waited_for(waiting: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that takes the connection and says nothing."""
    monkeypatch.setattr("chatsync.diagnostics.client_facts._ANSWER_SECONDS", 0.3)
    monkeypatch.setattr("chatsync.diagnostics.survey._ANSWER_SECONDS", 0.3)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"mysql://u:p@127.0.0.1:{silent.getsockname()[1]}/ppc"
        waiting.configure(records=RECORDS, databases={"shards": {**waiting.databases.shard_urls, "2": url}})

        result = waiting.run("explain", "101", "107")

    assert result.code == 1
    assert "Client 101: the chat is OFF, because the client is on the exclusion list" in result.out
    assert "shard 2: can't be read" in result.out
    assert result.err == f"chatsync: shard 2 ({url.partition('@')[2]}): no answer within 4s\n"


def test_a_list_that_cannot_be_read(waiting: Job) -> None:
    waiting.list_file.unlink()

    result = waiting.run("explain", "101", "--format", "json")

    assert result.code == 1
    assert "cannot read the list" in result.err
    (document,) = result.json
    assert (document["chat"], document["listed"], document["next_run"]["outcome"]) == ("off", None, "no list")
    assert document["sentence"].startswith(
        "Client 101: the chat is OFF, and the exclusion list can't be read; this job"
    )
    assert document["answer"].endswith(
        "; the list can't be read at the moment, so the reason is not known, nor when this will change."
    )


def test_a_modtime_that_is_no_time(waiting: Job) -> None:
    waiting.set_property("soon")

    result = waiting.run("explain", "107", "--format", "json")

    assert result.code == 1
    assert "holds 'soon', which is not a time" in result.err
    (document,) = result.json
    assert (document["chat"], document["next_run"]["outcome"]) == ("on", "no mod-time")
    assert document["answer"].endswith("so nothing changes until the operators have repaired it.")


def test_without_records(waiting: Job) -> None:
    waiting.configure(limits=LIMITS)

    (document,) = explained(waiting, "101")

    assert (document["cause"], document["by"]) == ("no record", None)
    assert "the cause is not known, because no records are kept (records.dir)" in document["sentence"]


def test_a_client_that_many_runs_changed(waiting: Job) -> None:
    for day in (2, 3, 4, 5):
        sync(waiting, day, [101, 107] if day % 2 else [107])

    lines = waiting.run("explain", "101").out.splitlines()

    changed = [line[14:].partition(" by ")[0] for line in lines if line.startswith(("  changed by", "      "))]
    assert [line[:12] for line in changed] == ["run 20231119", "run 20231118", "run 20231117", "… and 2 more"]


@pytest.mark.servers
def test_on_a_real_server(server_job: Job) -> None:
    said = explained(build(server_job), *(str(client) for client, *_ in SITUATIONS.values()))

    assert [(document["cause"], document["next_run"]["outcome"]) for document in said] == [
        (cause, outcome) for _, _, (cause, _, outcome), _ in SITUATIONS.values()
    ]
