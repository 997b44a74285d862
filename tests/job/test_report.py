"""`report` writes one page that needs no other file and shows the state of the job, and no cell becomes markup."""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import stat
import subprocess
import sys
from base64 import b64encode
from html import unescape
from typing import TYPE_CHECKING, Any

import html5lib
import pytest

from tests.harness.job import COMMAND, DAY, DISABLED, MODIFIED, RECORDS, UNMEASURED, Job, SqliteFiles
from tests.harness.page_world import REJECTED, SCRIPT, UNKNOWN, build, build_large
from tests.job import test_explain as explain

if TYPE_CHECKING:
    from pathlib import Path

    from tests.harness.yt_proxy import YtProxy

ALL = ("--clients", "all")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Job:
    """A job with a past of some days, for tests that only read."""
    return build(tmp_path_factory.mktemp("report"), days=4, clients=40)


@pytest.fixture
def synced(job: Job) -> Job:
    """A job that has synced a list of two clients."""
    job.configure(records=RECORDS)
    job.settle({101: 1, 102: 2, 103: 3})
    job.list([101, 102], modified=MODIFIED)
    assert job.chain("--force").code == 0
    return job


def page(job: Job, *arguments: str, code: int = 0) -> str:
    """Make the page on standard output."""
    result = job.run("report", *arguments)
    assert result.code == code, result.err
    return result.out


def headline(html: str) -> str:
    (text,) = re.findall(r"<h1>(.*)</h1>", html)
    return unescape(text)


def notes(html: str) -> list[str]:
    (head,) = re.findall(r"</h1>\n(.*?)</div>", html, re.DOTALL)
    return [unescape(note) for note in re.findall(r"<p>(.*)</p>", head)]


def numbers(html: str) -> list[str]:
    return re.findall(r"<dd[^>]*>(.*)</dd>", html)


def data(html: str) -> Any:
    (text,) = re.findall(r'<script type="application/json" id="data">(.*)</script>', html)
    return json.loads(text)


def look_up(html: str, client: int) -> str:
    """Answer as the page's script does."""
    known = data(html)
    found = [answer["text"] for answer in known["answers"] if str(client) in answer["ids"].split()]
    text: str = found[0] if found else known["otherwise"]
    return text.replace("{client}", str(client))


# -- the file --


@pytest.mark.parametrize("language", ["en", "ru"])
@pytest.mark.parametrize("clients", ["changed", "all", "none"])
def test_the_page_is_valid_and_loads_nothing(built: Job, language: str, clients: str) -> None:
    html = page(built, "--language", language, "--clients", clients)

    html5lib.HTMLParser(strict=True).parse(html)
    assert f'<html lang="{language}">' in html
    assert re.findall(r'(?:src|href|action|srcset|xlink:href)="([^"]*)"', html) == ["data:,"]
    assert "://" not in html
    assert "@import" not in html
    assert 'name="robots" content="noindex, nofollow"' in html


def test_the_policy_allows_only_what_is_in_the_page(built: Job) -> None:
    html = page(built)

    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="(.*)">', html)
    rules = dict(rule.split(" ", 1) for rule in unescape(policy).split("; "))
    parts = {"style-src": "<style>(.*?)</style>", "script-src": "<script>(.*?)</script>"}
    for rule, pattern in parts.items():
        (text,) = re.findall(pattern, html, re.DOTALL)
        assert rules[rule] == f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
    assert (rules["default-src"], rules["form-action"], rules["base-uri"]) == ("'none'",) * 3
    assert not re.search(r"\s(style|on\w+)=", html)  # what the policy would block


def test_the_file_is_written_whole_and_for_a_group(built: Job, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_text("the page of before")
    file.chmod(0o600)

    result = built.run("report", "-o", str(file))

    assert (result.code, result.out, result.err) == (0, "", "")
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert file.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert list(tmp_path.iterdir()) == [file]


def test_a_place_where_nothing_can_be_written(built: Job, tmp_path: Path) -> None:
    result = built.run("report", "-o", str(tmp_path / "none" / "page.html"))

    assert (result.code, result.out) == (1, "")
    assert result.err.startswith(f"chatsync: cannot write {tmp_path}/none/page.html: No such file or directory")


def test_it_writes_nothing_and_reads_the_list_once(job: Job, yt: YtProxy) -> None:
    yt.write("//home/sales/exclusions", ids=[1, 2])
    job.keep_list_in(yt)
    job.configure(records=RECORDS)
    job.settle({1: 1, 2: 2})
    before = job.rows(), job.property()

    page(job, *ALL)

    assert (job.rows(), job.property(), job.records_folder.exists()) == (*before, False)
    assert yt.commands.count("read_table") == 1


# -- the head --


def test_in_step(synced: Job) -> None:
    html = page(synced)

    assert re.fullmatch(r"All clients are as the list says, since 20\d\d-\d\d-\d\d( \d\d:\d\d UTC)?\.", headline(html))
    assert notes(html) == []
    assert numbers(html) == ["2", "0", "0"]
    assert "list exclusions.csv, changed 2026-09-21 14:13 UTC" in html
    assert "Every row of the list holds a client number." in html
    assert "Every client on the list is known." in html


def test_no_list_was_ever_synced(job: Job) -> None:
    job.settle({101: 1})
    job.list([101], modified=MODIFIED)

    html = page(job)

    assert headline(html) == (
        "The list has been waiting since 2026-09-21 14:13 UTC: no list was ever synced; 1 change to make."
    )
    assert html.count("No run has been recorded yet.") == 3


def test_a_list_waits(synced: Job) -> None:
    synced.list([101], modified=MODIFIED + DAY)

    waits = "The list has been waiting since 2026-09-22 14:13 UTC: {}; 1 change to make."
    assert headline(page(synced)) == waits.format("the next run has not started yet")
    synced.configure(records=RECORDS, databases={"shards": {}})
    synced.diff()
    synced.configure(records=RECORDS)
    failed = page(synced)
    assert re.search("runs have failed since", headline(failed))
    assert "did not succeed" in notes(failed)[0]
    assert notes(failed)[0].endswith(": failed: wrong configuration.")


@pytest.mark.parametrize(
    ("listed", "limits", "because"),
    [
        ([], {}, "the list is empty"),
        (["x", "y"], {}, "none of its 2 rows holds a client number"),
        ([101, 102, 103], {"must_contain": [7, 8]}, "2 clients that must be on the list are missing there"),
        ([101, 102, 103], {"turn_off_max": 0}, "it would turn the chat off for 1 client at once"),
        ([101], {"turn_on_max": 0}, "it would turn the chat on for 1 client at once"),
        ([101, 102, *"xyz"], {}, "3 rows hold no client number"),
        ([101, 102, 9, 10, 11], {}, "the databases do not know 3 clients of the list"),
    ],
)
def test_refused(synced: Job, listed: list[object], limits: dict[str, object], because: str) -> None:
    synced.configure(records=RECORDS, limits=limits)
    synced.list(listed, modified=MODIFIED + DAY)

    assert headline(page(synced)) == f"The next run will be refused, because {because}."
    assert synced.chain().code == 3
    refused = rf"The list has been refused since 20.* UTC, because {because}\. Nothing was changed\."
    assert re.fullmatch(refused, headline(page(synced)))
    assert notes(page(synced)) == []


def test_switched_off(synced: Job) -> None:
    assert synced.run("set-modtime", "--disable", "--reason", "the list is <b>wrong</b>").code == 0

    html = page(synced)

    assert re.fullmatch(
        r"The sync is switched off until further notice, by \S+ on 20\d\d-\d\d-\d\d: the list is <b>wrong</b>",
        headline(html),
    )
    assert "<b>" not in html
    synced.set_property(DISABLED.replace("31T", "30T"))
    assert headline(page(synced)) == "The sync is switched off until 9999-12-30."


def test_an_older_list(synced: Job) -> None:
    synced.list([101], modified=MODIFIED - DAY)

    assert headline(page(synced)).startswith("The list of 2026-09-20 14:13 UTC is older than the one that was synced")


def test_drift(synced: Job) -> None:
    synced.row(1, 101, 1)

    assert headline(page(synced)) == "1 client is not as the list says; the nightly full run corrects this."


# -- with a part away, and what never stands on the page --


def test_without_the_list(synced: Job) -> None:
    synced.list_file.unlink()

    html = page(synced, code=1)

    assert headline(html) == "The list can't be read at the moment. All clients stay as they are."
    assert numbers(html) == ["not known at the moment"] * 3
    assert look_up(html, 101).startswith("The support chat has been off for client 101 since 20")
    assert "the list can't be read at the moment" in look_up(html, 101)


def test_without_a_shard(synced: Job) -> None:
    url = "mysql://some_user:some_password@127.0.0.1:1/some_schema"
    synced.configure(
        records=RECORDS, run={"retry_timeout": "0.1s"}, databases={"shards": {**synced.databases.shard_urls, "2": url}}
    )

    result = synced.run("report", *ALL)

    assert result.code == 1
    assert result.err.startswith("chatsync: shard 2 (")
    assert headline(result.out).startswith("List and databases can't be compared at the moment.")
    assert notes(result.out) == ["A database can't be read at the moment: shard 2."]
    assert look_up(result.out, 101).startswith("The support chat has been off for client 101")
    assert "can't be read at the moment: please ask again later" in look_up(result.out, 102)
    assert not re.search(r"some_|127\.0\.0\.1|mysql", result.out)


def test_without_the_dict_database(synced: Job) -> None:
    (synced.folder / "ppcdict.db").unlink()

    html = page(synced, code=1)

    assert headline(html) == "The state is not known, because the main database can't be read at the moment."
    assert look_up(html, 101).startswith(
        "Client 101 is on the exclusion list, but the database where it lives can't be"
    )
    assert look_up(html, 103).startswith("There is no answer now")


def test_with_a_mod_time_that_is_no_time(synced: Job) -> None:
    """The dict database can be read, so the page does not say that it can't."""
    synced.dict_sql("UPDATE ppc_properties SET value = 'soon'")

    html = page(synced, code=1)

    assert headline(html) == "The state is not known, because the time of the last sync can't be read."
    assert notes(html) == ["The time of the last sync can't be read."]
    assert look_up(html, 101).startswith("The support chat has been off for client 101")


def test_no_host_no_folder_and_no_user_of_a_run_stand_on_it(
    job: Job, yt: YtProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "host-of-the-job")  # a real one may be any word
    yt.write("//home/sales/exclusions", ids=[1])
    job.keep_list_in(yt)
    job.configure(records=RECORDS)
    job.settle({1: 1})
    job.chain("--force")
    yt.remove("//home/sales/exclusions")
    assert job.diff().code == 1

    html = page(job, code=1)

    assert "list //home/sales/exclusions" in html
    assert not re.search(rf"localhost|127\.0\.0\.1|{job.folder}|ppc|@(?!media)|host-of-the-job", html)
    assert job.records()[0]["host"] == "host-of-the-job"


def test_without_the_records(synced: Job) -> None:
    synced.records_folder.rename(synced.folder / "kept")
    synced.records_folder.write_text("")

    html = page(synced, code=1)

    assert headline(html).startswith("All clients are as the list says, since 20")
    assert notes(html) == ["The records of earlier runs can't be read."]
    assert "No run has been recorded, so this page has no answers." in html


# -- clients --


def test_whose_numbers_stand_on_it(built: Job) -> None:
    everyone = set(map(int, re.findall(r"\b(?:10\d\d|9000\d\d\d)\b", page(built, *ALL))))
    none = page(built, "--clients", "none")

    assert len(everyone) >= len(built.off()) + len(UNKNOWN)
    assert not re.findall(r"\b(?:10[0-7]\d|9000\d\d\d|8811606)\b", none)
    assert numbers(none) == numbers(page(built, *ALL))
    assert "Look up" not in none


def test_the_look_up_knows_whom_the_runs_changed(synced: Job) -> None:
    synced.settle_off({104: 4})
    synced.list([101, 102, 104], modified=MODIFIED)

    changed, everyone = page(synced), page(synced, *ALL)

    assert look_up(changed, 101) == look_up(everyone, 101)
    assert look_up(changed, 104) == (
        "This page has no record of client 104. The operators can find out more: `chatsync explain 104`."
    )
    assert look_up(everyone, 104).startswith("The support chat is off for client 104, because the client is on the")
    assert look_up(everyone, 103) == (
        "Client 103 is not on the exclusion list, and the chat is not turned off. If the chat is not shown, this list "
        "is not the reason."
    )


@pytest.mark.parametrize("language", ["en", "ru"])
def test_the_look_up_answers_as_explain_does(tmp_path: Path, language: str) -> None:
    """Only clients of whom the page has nothing to tell are answered with fewer words."""
    job = explain.build(Job(tmp_path, SqliteFiles(tmp_path)))
    clients = sorted({client for client, *_ in explain.SITUATIONS.values()} - {105})
    html = page(job, *ALL, "--language", language)

    for document in explain.explained(job, "--language", language, *map(str, clients)):
        assert look_up(html, document["client_id"]).startswith(document["answer"]), document["client_id"]
        assert ("2023-" in look_up(html, 101).rpartition("list since")[2]) == (language == "en")


def test_a_number_in_a_row_to_repair_is_found(built: Job) -> None:
    line = built.list_file.read_text(encoding="utf-8").splitlines().index("client 8811606") + 1
    about = f"row {line} of the list holds 'client 8811606', which is not a client id"
    answer = f"Client 8811606: {about}: the owners of the list must correct it."
    assert look_up(page(built), 8811606) == answer


def test_too_many_clients_for_a_page(synced: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatsync.page.facts.MOST_CLIENTS", 1)

    html = page(synced, *ALL)

    many = "2 clients are too many for one page."
    assert f"{many} This page has answers for the clients that were changed since 20" in html
    assert look_up(html, 103).startswith("This page has no record of client 103")


def test_clients_that_are_off_and_not_listed_count_as_well(synced: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the list is empty by mistake: then all clients that are off stand on no list."""
    monkeypatch.setattr("chatsync.page.facts.MOST_CLIENTS", 2)
    synced.settle_off({104: 4})
    synced.list([101, 102], modified=MODIFIED)

    html = page(synced, *ALL)

    assert "3 clients are too many for one page." in html
    assert look_up(html, 104).startswith("This page has no record of client 104")


def test_more_clients_were_changed_than_a_page_takes(synced: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """It reads the newest records alone, and says from when on it knows who was changed."""
    synced.settle({104: 1})
    synced.list([101, 102, 104])
    assert synced.chain().code == 0
    newest, *older = synced.records()
    assert older
    monkeypatch.setattr("chatsync.page.facts.MOST_CHANGED", 1)

    html = page(synced)

    assert look_up(html, 104) != look_up(html, 101)
    assert look_up(html, 101).startswith("This page has no record of client 101")
    assert newest["started"][:10] in html


# -- rows to repair, unknown clients --


def test_every_row_to_repair_is_on_it_and_none_is_markup(built: Job) -> None:
    html = page(built)

    assert SCRIPT not in html
    rows = re.findall(r'<tr><td class="row">(\d+)</td><td class="cell">(.*)</td><td>(.*)</td></tr>', html)
    cells = [cell.strip('"') for cell in REJECTED]
    assert [unescape(value) for _, value, _ in rows] == [cell for cell in cells if cell]  # a blank line is no row
    assert [reason for *_, reason in rows][:5] == ["not a whole number"] * 3 + ["has a fraction", "negative"]
    (csv,) = re.findall(r'<textarea id="csv"[^>]*>\n(.*?)</textarea>', html, re.DOTALL)
    assert unescape(csv).splitlines()[0] == "row,value,reason"
    assert f"{rows[2][0]},'=2+5,not a whole number" in unescape(csv).splitlines()
    assert f"{rows[4][0]},'-4,negative" in unescape(csv).splitlines()


def test_more_rows_than_a_page_takes(built: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatsync.page.facts.MOST_ROWS", 2)

    html = page(built)

    assert html.count('class="cell"') == 2
    assert "The first 2 of 9 are shown" in html
    assert "The first 2 of 3 are shown" in html


def test_rows_of_a_table_count_from_0_and_null_is_named(job: Job, yt: YtProxy) -> None:
    yt.write("//home/sales/exclusions", ids=[None, "", 1.5, "7"])
    job.keep_list_in(yt)

    html = page(job, *ALL)

    rows = re.findall(r'<tr><td class="row">(.*?)</td><td class="cell">(.*)</td><td>(.*)</td></tr>', html)
    assert rows == [("#0", "NULL", "empty"), ("#1", "&#34;&#34;", "empty"), ("#2", "1.5", "has a fraction")]
    assert "Rows count from 0, as in the web interface." in html


# -- the last runs --


def test_the_last_runs(synced: Job) -> None:
    assert synced.chain().code == 0
    assert synced.chain().code == 0
    synced.list([101], modified=MODIFIED + DAY)
    synced.diff()
    synced.run("set-modtime", "--reset")
    synced.list([], modified=MODIFIED + 2 * DAY)
    synced.chain()

    html = page(synced)

    outcomes = re.findall(r'<td class="when">.*?</td><td[^>]*>(.*?)</td><td class="n">(.*?)</td>', html)
    assert [(re.sub(r" <span.*>(.*)</span>", r" (\1)", text), off) for text, off in outcomes] == [
        ("refused: over a limit", "–"),
        ("switched on: the next run syncs", "–"),
        ("compared, not applied", "–"),
        ("nothing to do (2 runs)", "–"),
        ("changed", "2"),
    ]


def test_a_run_that_was_killed_and_one_that_was_taken_back(synced: Job) -> None:
    (record,) = synced.records()
    file = synced.records_folder / f"{record['id']}.json"
    assert synced.run("apply", "--undo", record["id"], "--yes").code == 0
    killed = record | {"outcome": "started", "ended": None, "exit_code": None, "shards": {}}
    file.write_text(json.dumps(killed), encoding="utf-8")

    outcomes = re.findall(r'<td class="when">.*?</td><td[^>]*>(.*?)</td>', page(synced))

    assert outcomes == ["a run was undone by hand", "still running, or killed"]
    (synced.records_folder / "runs.jsonl").unlink()
    assert re.findall(r'<td class="when">.*?</td><td[^>]*>(.*?)</td>', page(synced)) == outcomes


# -- Russian --


def test_in_russian(built: Job) -> None:
    html = page(built, "--language", "ru", *ALL)

    markup = r"<(style|script|textarea).*?</\1>|<[^>]*>"
    text = unescape(re.sub(markup, " ", html, flags=re.DOTALL))
    for known in (*REJECTED, "checked_support_chat", "chatsync", "exclusions.csv", "UTC", "JavaScript", "CSV"):
        text = text.replace(known, "")
    assert re.findall(r"[A-Za-z]{2,}", text) == []
    assert headline(html).startswith("Всё соответствует списку с ")


# -- speed --


@pytest.mark.slow
def test_a_hundred_thousand_clients_and_a_thousand_runs_take_less_than_two_seconds(tmp_path: Path) -> None:
    job = build_large(tmp_path, clients=100_000, runs=1000)
    measured = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True); "
        "used = resource.getrusage(resource.RUSAGE_CHILDREN); print(used.ru_utime + used.ru_stime)"
    )
    command = [*COMMAND, "-c", str(job.config), "report", "-o", str(tmp_path / "page.html"), *ALL]

    done = subprocess.run(
        [sys.executable, "-c", measured, *command],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **UNMEASURED},
    )

    html = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert numbers(html)[0] == "100,000"
    assert len(" ".join(answer["ids"] for answer in data(html)["answers"]).split()) >= 100_000
    assert float(done.stdout) < 2
