"""What the log says of a run: the same story as text for people and as JSON for machines."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any

import pytest
from yt.logger import LOGGER as yt_logger  # noqa: N811  # an instance, whatever its name

from tests.harness.job import TABLE

if TYPE_CHECKING:
    from tests.harness.job import Job, Result
    from tests.harness.yt_proxy import YtProxy

TOKEN = "AQAD-a-token-that-nobody-may-see"
FIXED = (
    "log_time", "host", "service", "method", "step", "trace_id", "span_id", "prefix", "log_level", "class_name",
    "message",
)  # fmt: skip


def lines(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.err.splitlines()]


def settled(job: Job) -> Job:
    """Let the chain have one change of each kind to make."""
    job.settle_off({1: 1, 2: 2})
    job.settle({3: 3})
    job.list([1, 3])
    return job


def chain(job: Job, *options: str) -> list[Result]:
    return [job.run(*options, command, "--plan", str(job.plan_file)) for command in ("diff", "apply", "set-modtime")]


def test_a_run_with_nothing_to_say_logs_nothing(job: Job) -> None:
    assert [(result.code, result.err) for result in chain(settled(job))] == [(0, "")] * 3


@pytest.mark.parametrize(("options", "shown"), [([], False), (["-v"], False), (["-vv"], True)])
def test_the_yt_client_speaks_to_who_asks_for_everything(
    job: Job, yt: YtProxy, options: list[str], *, shown: bool
) -> None:
    job.keep_list_in(yt)
    yt.write(TABLE, ids=[1, 2])
    yt.on("read_table", lambda: yt_logger.error("the client's own words"))

    result = job.run(*options, "diff")

    assert (result.code, "the client's own words" in result.err) == (0, shown)


def test_a_failure_in_crons_log_has_time_level_and_trace_id(job: Job) -> None:
    job.list_file.unlink()

    # A shard that was asked meanwhile may still have its line after it.
    (told,) = (line for line in job.run("-v", "diff").err.splitlines() if "chatsync: " in line)

    assert re.match(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ ERROR   [0-9a-f]{8} chatsync: cannot read the list ", told)
    assert job.run("diff").err.startswith("chatsync: cannot read the list ")


def test_a_chain_that_finds_nothing_modified_leaves_three_lines_in_crons_log(job: Job) -> None:
    settled(job)
    chain(job, "-v")

    plan = str(job.plan_file)
    steps = (["diff", "--if-modified"], ["apply"], ["set-modtime"])
    results = [job.run("-v", *step, "--plan", plan) for step in steps]

    log = "".join(result.out + result.err for result in results).splitlines()
    assert [line.split("Z INFO ")[1].split(maxsplit=1)[1] for line in log] == [
        "diff: not-modified, nothing was read",
        "apply: nothing to do, the list was not modified since the last sync",
        "set-modtime: nothing to mark: the list was not modified since the last sync",
    ]


def test_one_search_for_the_trace_id_tells_the_story_of_the_chain(job: Job) -> None:
    results = chain(settled(job), "-v", "--log-format", "json")

    assert [result.code for result in results] == [0, 0, 0]
    steps = [lines(result) for result in results]
    assert {line["trace_id"] for step in steps for line in step} == {job.plan()["trace_id"]}
    assert [{line["span_id"] for line in step} for step in steps] == [{step[0]["span_id"]} for step in steps]
    assert len({step[0]["span_id"] for step in steps}) == 3
    assert [{line["method"] for line in step} for step in steps] == [{"diff"}, {"apply"}, {"set-modtime"}]
    said = [line["message"] for step in steps for line in step]
    for part in (
        f"{job.list_file}: 2 clients in 2 rows",
        "diff: changes, clients 2, off 2, turn off 1, turn on 1, unknown 0, rejected 0, strays 0",
        f"plan written to {job.plan_file}",
        "shard 2: turned off 0, turned on 1, already so 0, failed 0, after ",
        "shard 3: turned off 1, turned on 0, already so 0, failed 0, after ",
        "apply: turned off 1, turned on 1, already so 0, failed 0, after ",
        f": 2 changes in place, mod-time moved to {job.property()}",
    ):
        assert [part in message for message in said].count(True) == 1, part
    assert ["lock taken: " in message for message in said].count(True) == 2  # apply and set-modtime


def test_a_json_line_has_the_fixed_fields_and_those_of_its_event(job: Job) -> None:
    apply = chain(settled(job), "-v", "--log-format", "json")[1]

    (shard,) = [line for line in lines(apply) if line.get("shard") == 3]
    assert tuple(shard)[: len(FIXED)] == FIXED
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", shard["log_time"])
    assert re.fullmatch(r"[0-9a-f]{32} [0-9a-f]{16}", f"{shard['trace_id']} {shard['span_id']}")
    assert re.fullmatch(r"chatsync\[\d+\]", shard["prefix"])
    assert shard["host"] == os.uname().nodename
    assert (shard["service"], shard["log_level"], shard["class_name"]) == ("chatsync", "INFO", "chatsync.sync.applier")
    event = {key: value for key, value in shard.items() if key not in FIXED and key != "seconds"}
    assert event == {"shard": 3, "turned_off": 1, "turned_on": 0, "already": 0, "failed": 0}
    assert 0 <= shard["seconds"] < 60


def test_text_lines_are_aligned_and_name_the_chain(job: Job) -> None:
    said = chain(settled(job), "-v")[1].err.splitlines()

    trace = job.plan()["trace_id"][:8]
    assert len(said) == 4
    for line in said:
        assert re.fullmatch(rf"\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\dZ INFO    {trace} \S.*", line)


@pytest.mark.parametrize(
    ("arguments", "code", "method", "text"),
    [
        (("diff",), 1, "diff", "chatsync: cannot read the list"),
        (("diff", "--nonsense"), 2, "diff", "chatsync: No such option"),
        (("nonsense",), 2, "", "chatsync: No such command"),
    ],
)
def test_an_error_is_the_same_line_in_both_formats(
    job: Job, arguments: tuple[str, ...], code: int, method: str, text: str
) -> None:
    job.list_file.unlink()

    plain, as_json = job.run(*arguments), job.run("--log-format", "json", *arguments)

    assert (plain.code, as_json.code) == (code, code)
    (line,) = lines(as_json)
    assert plain.err == line["message"] + "\n"
    assert line["message"].startswith(text)
    assert (line["method"], line["exit_code"], line["log_level"]) == (method, code, "ERROR")


def test_tracebacks_are_shown_with_vv_only_and_stay_inside_their_line(job: Job) -> None:
    job.list_file.unlink()

    assert "Traceback" not in job.run("-v", "diff").err
    assert "Traceback" in job.run("-vv", "diff").err
    assert "Traceback" not in job.run("-v", "--log-format", "json", "diff").err
    told = lines(job.run("-vv", "--log-format", "json", "diff"))
    (failure,) = [line for line in told if "exit_code" in line]  # a shard that is still read may speak after it
    assert failure["traceback"].startswith("Traceback")


def test_a_bug_is_one_line_too_where_a_machine_reads(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("chatsync.commands.diff.make_plan", broken)

    (line,) = lines(result := job.run("--log-format", "json", "diff"))
    assert (result.code, line["message"]) == (1, "chatsync: a bug: ZeroDivisionError()")
    assert "in broken" in line["traceback"]
    with pytest.raises(ZeroDivisionError):
        job.run("diff")


def test_the_end_of_a_runs_id_finds_its_lines(job: Job) -> None:
    job.configure(records={"dir": "records"})

    apply = chain(settled(job), "-v")[1]

    (record,) = (job.folder / "records").glob("*.json")
    told = apply.err.splitlines()
    assert [line for line in told if record.stem[-8:] not in line] == []
    assert len(told) == 5


def test_a_retry_says_which_attempt_and_how_long_it_waits(job: Job, yt: YtProxy) -> None:
    yt.write(TABLE, ids=[])
    yt.overload("lock", times=2)
    job.keep_list_in(yt)

    result = job.run("-v", "--log-format", "json", "diff")

    assert result.code == 0
    retries = [line for line in lines(result) if "attempt" in line]
    assert [(line["attempt"], line["class_name"], line["log_level"]) for line in retries] == [
        (1, "chatsync.cancel_scope", "INFO"),
        (2, "chatsync.cancel_scope", "INFO"),
    ]
    assert [0 < line["seconds"] < 2 for line in retries] == [True, True]
    assert "trying again in" in retries[0]["message"]
    # The client's own lines are for -vv.
    assert {line["class_name"].partition(".")[0] for line in lines(result)} == {"chatsync"}
