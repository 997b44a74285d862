"""`history` lists the recorded runs."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.harness.job import RECORDS

if TYPE_CHECKING:
    from typing import Any

    from tests.harness.job import Job

MODIFIED = 1_700_000_000


@pytest.fixture
def recorded_job(job: Job) -> Job:
    """Two runs: the first turned 2 and 3 off, the second turned 2 on again."""
    job.configure(records=RECORDS)
    job.settle_off({1: 1})
    job.settle({2: 1, 3: 2})
    for day, listed in enumerate(([1, 2, 3], [1, 3])):
        job.list(listed, modified=MODIFIED + day)
        assert job.chain().code == 0
    return job


def runs(job: Job) -> list[str]:
    return [record["id"] for record in job.records()]


def rewrite(job: Job, run: str, **fields: Any) -> None:
    file = job.records_folder / f"{run}.json"
    file.write_text(json.dumps(json.loads(file.read_bytes()) | fields), encoding="utf-8")


def short(job: Job) -> list[str]:
    """The runs as the table names them: by as much of their ids as tells them apart, and no less than the second."""
    names = runs(job)
    lengths = [
        next(n for n in range(15, 33) if sum(other.startswith(name[:n]) for other in names) == 1) for name in names
    ]
    return [name[:length] for name, length in zip(names, lengths, strict=True)]


def words(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_no_run(recorded_job: Job) -> None:
    recorded_job.configure(records={"dir": "other"})

    assert recorded_job.run("history").out == "No recorded run.\n"
    assert recorded_job.run("history", "--format", "json").json == []
    assert len(recorded_job.run("history", "--format", "csv").out.splitlines()) == 1


def test_no_folder(recorded_job: Job) -> None:
    recorded_job.configure()

    result = recorded_job.run("history")

    assert (result.code, result.out) == (2, "")
    assert result.err == ("chatsync: records.dir is not set, so no records are kept; name a folder in records.dir\n")


def test_the_table(recorded_job: Job) -> None:
    record = recorded_job.records()[0]
    who = f"{record['user']}@{record['host']}"

    result = recorded_job.run("history")

    assert (result.code, result.err) == (0, "")
    title, below, _, *rows = words(result.out)
    assert title == ["run", "outcome", "turned", "turned", "took", "by"]  # nothing missing, nothing undone
    assert below == ["off", "on"]
    assert rows == [
        [short(recorded_job)[0], "done", "0", "1", "0", "s", who],
        [short(recorded_job)[1], "done", "2", "0", "0", "s", who],
    ]


def test_limit(recorded_job: Job) -> None:
    result = recorded_job.run("history", "--limit", "1")

    assert short(recorded_job)[0] in result.out
    assert short(recorded_job)[1] not in result.out
    assert result.out.endswith("\n\n… and 1 more (--limit 2 shows all)\n")
    assert len(recorded_job.run("history", "--limit", "1", "--format", "json").json) == 1


def test_one_client(recorded_job: Job) -> None:
    both = recorded_job.run("history", "--client", "2", "--format", "json").json
    once = recorded_job.run("history", "--client", "3", "--limit", "5")

    assert [(run["run"], run["client_action"]) for run in both] == list(
        zip(runs(recorded_job), ["turn_on", "turn_off"], strict=True)
    )
    title, number, _, *rows = words(once.out)
    assert (title[:2], number[0]) == (["client", "run"], "3")
    assert once.out.splitlines()[2].rindex(" ") + len(" chatsync@jobs1") <= 80
    assert [row[:3] for row in rows] == [["turned", "off", short(recorded_job)[1]]]
    assert recorded_job.run("history", "--client", "1").out == "No recorded run changed client 1.\n"


@pytest.mark.parametrize("client", ["0", "-1", "abc", str(2**63)])
def test_no_client_id(recorded_job: Job, client: str) -> None:
    assert recorded_job.run("history", "--client", client).code == 2


def test_json(recorded_job: Job) -> None:
    record = recorded_job.records()[0]
    untouched = {"planned": 0, "changed": 0, "already": 0, "failed": 0, "refused": []}

    newest = recorded_job.run("history", "--format", "json").json[0]

    assert newest.pop("shards") == {
        str(shard): {
            "turn_off": untouched,
            "turn_on": untouched | ({"planned": 1, "changed": 1} if shard == 1 else {}),
            "error": None,
        }
        for shard in recorded_job.shards
    }
    shared = (
        "outcome",
        "exit_code",
        "started",
        "ended",
        "user",
        "host",
        "pid",
        "command",
        "trace_id",
        "undo_of",
        "error",
    )
    assert newest == {key: record[key] for key in shared} | {
        "run": record["id"],
        "turned_off": 0,
        "turned_on": 1,
        "already": 0,
        "failed": 0,
        "feature": "checked_support_chat",
        "list": str(recorded_job.list_file),
        "list_modified": "2023-11-14T22:13:21.000000Z",
    }


def test_csv(recorded_job: Job) -> None:
    rows = list(csv.DictReader(io.StringIO(recorded_job.run("history", "--format", "csv").out)))

    assert [(row["run"], row["turned_off"], row["turned_on"]) for row in rows] == [
        (runs(recorded_job)[0], "0", "1"),
        (runs(recorded_job)[1], "2", "0"),
    ]
    assert "client_action" not in rows[0]
    (row,) = csv.DictReader(io.StringIO(recorded_job.run("history", "--format", "csv", "--client", "3").out))
    assert (row["client_action"], row["client_certain"]) == ("turn_off", "True")


def test_an_undo_names_the_run(recorded_job: Job) -> None:
    undone = runs(recorded_job)[0]
    recorded_job.run("apply", "--undo", undone, "--yes")

    newest = recorded_job.run("history", "--format", "json").json[0]

    assert (newest["undo_of"], newest["list"], newest["turned_off"]) == (undone, None, 1)
    assert words(recorded_job.run("history").out)[3][-1] == short(recorded_job)[1]  # the undone one is the second now


def test_a_run_that_failed_says_why(recorded_job: Job) -> None:
    rewrite(
        recorded_job, runs(recorded_job)[0], outcome="failed", exit_code=1, error="1 change failed on shard 4: gone"
    )

    out = recorded_job.run("history").out

    assert f"\n\n{short(recorded_job)[0]}: 1 change failed on shard 4: gone\n" in out


def test_a_run_that_was_killed(recorded_job: Job) -> None:
    rewrite(recorded_job, runs(recorded_job)[1], outcome="started", ended=None, exit_code=None, shards={})

    out = recorded_job.run("history").out
    perhaps = recorded_job.run("history", "--client", "3", "--format", "json").json

    assert words(out)[4][1:5] == ["started", "?", "?", "?"]
    assert "how much of its plan it wrote is not known" in out
    assert [(run["client_action"], run["client_certain"], run["turned_off"]) for run in perhaps] == [
        ("turn_off", False, None)
    ]
    assert recorded_job.run("history", "--client", "3").out.splitlines()[3].startswith("perhaps turned off")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"version": 2}', '{"version": 1, "plan": {}}', "\udcff"])
def test_a_broken_record_is_left_out_with_a_warning(recorded_job: Job, content: str) -> None:
    newest, oldest = runs(recorded_job)
    (recorded_job.records_folder / f"{newest}.json").write_text(content, encoding="utf-8", errors="surrogateescape")

    result = recorded_job.run("history")

    assert result.code == 0
    assert len(words(result.out)) == 4  # three of the heading, one run
    assert oldest.startswith(words(result.out)[3][0])
    assert f"{newest}.json was cut short or edited, or is not a record" in result.err
    assert "more (--limit" not in result.out


def test_reads_nothing_but_the_records(recorded_job: Job) -> None:
    recorded_job.list_file.unlink()
    recorded_job.dict_sql("DROP TABLE features")

    assert recorded_job.run("history").code == 0


# -- all steps ---------------------------------------------------------------------------------------------------------


def test_all_steps(recorded_job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "me")  # a longer name leaves less room for the mod-time
    recorded_job.list([])
    recorded_job.diff()
    recorded_job.apply()
    recorded_job.run("set-modtime", "--disable", "--reason", "INC-7: the list is empty")

    result = recorded_job.run("history", "--all", "--limit", "5")

    _, _, *rows = result.out.splitlines()
    told: list[tuple[str, str, str]] = []
    for row in rows[:-2]:
        step, code, text = row[25:38].strip(), row[38:44].strip(), row[46:]
        if step:
            told.append((step, code, text))
        else:  # a text goes on
            told[-1] = (*told[-1][:2], f"{told[-1][2]} {text}")
    assert [step for step, *_ in told] == ["set-modtime", "apply", "diff", "set-modtime", "apply"]
    assert [code for _, code, _ in told] == ["0", "3", "0", "0", "0"]
    assert re.match(r"by \S+: mod-time 9999-12-31: INC-7: the list is empty$", told[0][2])
    assert told[1][2].startswith("refused, nothing was written: the exclusion list ")
    assert told[1][2].endswith(" …")
    assert [text for *_, text in told[2:]] == ["changes", "list marked as synced", "1 change"]
    assert max(map(len, rows)) <= 80
    assert result.out.endswith("… and 4 more (--limit 9 shows all)\n")


def test_all_steps_for_programs(recorded_job: Job) -> None:
    recorded_job.diff()

    newest, *others = recorded_job.run("history", "--all", "--format", "json").json
    rows = list(csv.DictReader(io.StringIO(recorded_job.run("history", "--all", "--format", "csv").out)))

    assert (newest["step"], newest["exit_code"], newest["verdict"]) == ("diff", 0, "in-sync")
    assert len(others) == 6
    assert [row["step"] for row in rows] == [step["step"] for step in (newest, *others)]
    assert json.loads(rows[0]["counts"]) == newest["counts"]


def test_no_step_yet(job: Job) -> None:
    job.configure(records=RECORDS)

    assert job.run("history", "--all").out == "No step has ended yet.\n"


def test_all_steps_are_not_those_of_a_client(recorded_job: Job) -> None:
    assert recorded_job.run("history", "--all", "--client", "2").code == 2
    recorded_job.configure()
    assert recorded_job.run("history", "--all").err.startswith("chatsync: records.dir is not set")


@pytest.fixture
def denied(job: Job, monkeypatch: pytest.MonkeyPatch) -> Job:
    """Two runs, of which this user may read the newer one only: client 1 was turned off by the older one."""
    job.configure(records=RECORDS)
    job.settle({1: 1, 2: 2})
    for listed, modified in (([1], 1_700_000_000), ([1, 2], 1_700_001_000)):
        job.list(listed, modified=modified)
        assert job.chain("--force").code == 0
    _, older = job.records()
    read = Path.read_bytes

    def read_bytes(path: Path) -> bytes:
        """The administrator, who may run the tests, may read anything: nothing real would refuse."""
        if path.stem == older["id"]:
            raise PermissionError(13, "Permission denied")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    return job


MAY_NOT = "records: this user may not read 1 of the records; run this as the user of the job\n"


def test_another_user_is_shown_what_it_may_read_and_told_what_it_may_not(denied: Job) -> None:
    result = denied.run("history")

    assert result.code == 1
    assert denied.records_folder.is_dir()
    assert result.out.count("done") == 1
    assert result.err == f"chatsync: {denied.folder}/{MAY_NOT}"


def test_a_record_that_may_not_be_read_is_not_taken_for_no_change(denied: Job) -> None:
    history, explain = denied.run("history", "--client", "1"), denied.run("explain", "1", "2")
    status = denied.run("status")

    assert (history.code, history.out) == (1, "")
    assert history.err == f"chatsync: {denied.folder}/{MAY_NOT}"
    first, second = explain.out.split("\n\n")
    assert explain.code == 1
    assert "the cause is not known, because the records can't be read" in first
    assert "this job turned it off at" in second
    assert status.code == 1
    assert status.out.count("done") == 1


def test_only_records_that_name_the_client_are_parsed(recorded_job: Job) -> None:
    """With thousands of records this is what makes it quick: one that is whole and names others is not looked into."""
    recorded_job.settle({220021: 1, 220022: 2})
    for day, listed in enumerate(([1, 3, 220021], [1, 3, 220021, 220022]), 2):
        recorded_job.list(listed, modified=MODIFIED + day)
        assert recorded_job.chain().code == 0
    newest, before = sorted(runs(recorded_job), reverse=True)[:2]
    file = recorded_job.records_folder / f"{newest}.json"
    file.write_text(file.read_text().replace('"command"', '"edited"'))

    found = {
        client: recorded_job.run("history", "--client", client, "--format", "json")
        for client in ("220021", "220022", "22")
    }

    assert {client: [run["run"] for run in json.loads(result.out)] for client, result in found.items()} == {
        "220021": [before], "220022": [], "22": []
    }  # fmt: skip
    assert "it is skipped" not in found["220021"].err
    assert f"{newest}.json was cut short or edited, or is not a record" in found["220022"].err


def test_a_record_that_was_cut_short_is_told_of_whomever_it_names(recorded_job: Job) -> None:
    newest = max(runs(recorded_job))
    file = recorded_job.records_folder / f"{newest}.json"
    file.write_bytes(file.read_bytes()[:40])

    assert "it is skipped" in recorded_job.run("history", "--client", "3").err
