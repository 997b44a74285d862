"""Five days on which the job breaks: who learns of it, from what, after how long. docs/reliability.md has the table.

Measured before the alerts on failures in a row, by the same days: only ChatsyncNotSucceeding, after 165 minutes, told
of a wrong path and of a renamed column; a full disk was told after 105.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.harness.broken_days import HALF_HOUR, Day
from tests.harness.job import TABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tests.harness.job import Job
    from tests.harness.yt_proxy import YtProxy

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
IDS = list(range(1, 3001))
SCHEMA: dict[str, Any] = {"schema": [{"name": "client_id", "type": "int64"}], "strict": True}
BROKEN_HALF_HOURS = 8


@dataclass
class Broken:
    """What breaks and what is seen of it: alerts by minutes, notify's states, the exit code of check, status' words."""

    by: Callable[[Day, YtProxy], None]
    row: str
    alerts: Mapping[str, int]
    told: list[tuple[str, str]]
    check: int
    status: str
    healthy: int = 2
    says: Mapping[str, str] = field(default_factory=dict)


def configure(day: Day, **sections: Any) -> None:
    day.job.configure(
        records={"dir": "records"},
        metrics={"textfile": "chatsync.prom"},
        notify={"command": day.notify},
        run={"retry_timeout": "0.2s"},
        limits={"unknown_percent": 100},
        **sections,
    )


def wrong_path(day: Day, yt: YtProxy) -> None:
    day.job.exclusions = {"proxy": yt.url, "path": "//home/sales/exclusion"}
    configure(day)


def disk_is_full(day: Day, _: YtProxy) -> None:
    day.limit = 0


def disk_of_the_plan_is_full(day: Day, yt: YtProxy) -> None:
    """The plan of a large list does not fit any more, the small files do."""
    day.limit = 12_000
    yt.write(TABLE, ids=IDS, modified=datetime.now(UTC), **SCHEMA)


def column_renamed(_: Day, yt: YtProxy) -> None:
    schema = [{"name": "client", "type": "int64"}]
    yt.write(TABLE, rows=[{"client": 1}], schema=schema, strict=True, modified=datetime.now(UTC))


def wrong_password(day: Day, _yt: YtProxy) -> None:
    url = day.job.databases.dict_url
    user, _, server = url.partition("@")
    configure(day, databases={"dict": f"{user}x@{server}"})


def list_emptied(_: Day, yt: YtProxy) -> None:
    yt.write(TABLE, ids=[], modified=datetime.now(UTC), **SCHEMA)


DAYS = {
    "wrong path": Broken(
        by=wrong_path,
        row="the path of the list is wrong, from the first day on",
        healthy=0,
        alerts={"ChatsyncStepFailing": 60, "ChatsyncNeverSucceeded": 180},
        told=[("well", "failing")],
        check=2,
        status="there is no such table",
        says={"ChatsyncStepFailing": "diff has failed 3 times in a row, last with exit code 1."},
    ),
    "full disk": Broken(
        by=disk_is_full,
        row="the whole disk is full",
        alerts={"ChatsyncNotRunning": 75, "ChatsyncNotSucceeding": 165},
        told=[("well", "failing")] * BROKEN_HALF_HOURS,  # the former state can't be kept
        check=0,
        status="All is well.",
    ),
    "full disk of the plan": Broken(
        by=disk_of_the_plan_is_full,
        row="the disk of the plan is full",
        alerts={"ChatsyncStepFailing": 60, "ChatsyncListWaiting": 120, "ChatsyncNotSucceeding": 165},
        told=[("well", "failing")],
        check=0,
        status="plan.json: File too large; nothing was written there",
    ),
    "renamed column": Broken(
        by=column_renamed,
        row="a column was renamed",
        alerts={"ChatsyncStepFailing": 60, "ChatsyncNotSucceeding": 165},
        told=[("well", "failing")],
        check=2,
        status="has no column 'client_id': it has client",
    ),
    "wrong password": Broken(
        by=wrong_password,
        row="the password is wrong",
        alerts={"ChatsyncDatabaseFailing": 45, "ChatsyncStepFailing": 60, "ChatsyncNotSucceeding": 165},
        told=[("well", "failing")],
        check=3,
        status="Access denied for user",
    ),
    "empty list": Broken(
        by=list_emptied,
        row="the list was emptied",
        alerts={
            "ChatsyncRefused": 0,
            "ChatsyncStepFailing": 60,
            "ChatsyncListWaiting": 120,
            "ChatsyncNotSucceeding": 165,
        },
        told=[("well", "refused")],
        check=0,
        status="apply was refused",
    ),
}


@pytest.fixture
def day(server_job: Job, yt: YtProxy) -> Iterator[Day]:
    """A job that has a list of forty clients in YT, and has not run yet."""
    yt.write(TABLE, ids=IDS[:40], modified=datetime.now(UTC) - timedelta(hours=1), **SCHEMA)
    server_job.exclusions = {"proxy": yt.url, "path": TABLE}
    server_job.settle({client: client % 4 + 1 for client in IDS[:40]})
    day = Day(server_job)
    configure(day)
    yield day
    day.close()


@pytest.mark.programs
@pytest.mark.slow
@pytest.mark.parametrize("name", DAYS)
def test_who_learns_of_it(day: Day, yt: YtProxy, name: str, tmp_path: Path) -> None:
    broken = DAYS[name]
    day.half_hours(broken.healthy, "--force")
    assert day.errors == []
    assert day.told == []
    began = (broken.healthy + 1) * HALF_HOUR

    broken.by(day, yt)
    day.half_hours(1)
    check, status = day.job.process("check"), day.job.process("status")
    day.half_hours(BROKEN_HALF_HOURS - 1)

    alerts = day.alerts(tmp_path)
    assert {alert: minutes - began for alert, (minutes, _) in alerts.items()} == broken.alerts
    assert [(told["before"], told["state"]) for told in day.told] == broken.told
    assert check.code == broken.check
    assert broken.status in " ".join(status.out.split())
    for alert, words in broken.says.items():
        assert words in alerts[alert][1]


@pytest.mark.parametrize("name", DAYS)
def test_the_table_says_what_is_seen(name: str) -> None:
    broken = DAYS[name]
    (row,) = (line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith(f"| {broken.row} |"))

    for alert, minutes in list(broken.alerts.items())[:2]:
        assert f"{alert} after {minutes} min" in row or (not minutes and f"{alert} at once" in row)
    assert ["OK", "WARNING", "CRITICAL", "UNKNOWN"][broken.check] in row
