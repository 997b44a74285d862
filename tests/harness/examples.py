"""Example jobs that several layers of tests start from, and how these tests read what a command has written."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from prometheus_client.parser import text_string_to_metric_families

from tests.harness.job import FEATURE, HOUR, MODIFIED, RECORDS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.harness.job import Job, Result

OK, WARNING, CRITICAL, UNKNOWN = range(4)  # how `check` ends
QUICK = {"retry_timeout": "0.1s"}
ANY_LIST = {"rejected_percent": 100, "unknown_percent": 100}

Samples = dict[tuple[str, tuple[str, ...]], float]


def plan_some(job: Job) -> Job:
    """Make a plan: turn off 1 and 2 on shard 1 and 3 on shard 3; turn on 4 on shard 4; 9 is unknown."""
    job.configure(limits={"unknown_percent": 100})
    job.settle({1: 1, 2: 1, 3: 3})
    job.settle_off({4: 4})
    job.list([1, 2, 3, 9], modified=MODIFIED)
    job.diff()
    return job


# -- check --


def make_synced(job: Job) -> Job:
    """Sync a list of two days ago: four clients off."""
    job.settle_off({1: 1, 2: 2, 3: 3, 4: 4})
    job.list([1, 2, 3, 4])
    age(job, 48 * HOUR)
    job.configure(run=QUICK)
    assert job.chain().code == 0
    return job


def ago(seconds: float) -> datetime:
    return datetime.now(UTC) - timedelta(seconds=seconds)


def age(job: Job, seconds: float) -> None:
    """Let the list file be this many seconds old."""
    moment = time.time() - seconds
    os.utime(job.list_file, (moment, moment))


def check(job: Job, *options: str) -> Result:
    return job.run("check", *options)


# -- metrics --


def make_measured(job: Job) -> Job:
    """Configure metrics; one client is to be turned off on shard 1, two on on shards 2 and 3."""
    job.settle_off({2: 2, 3: 3, 4: 4})
    job.settle({1: 1})
    job.list([1, 4, 99, "n/a"], modified=MODIFIED)
    job.configure(metrics={"textfile": "chatsync.prom"}, limits={"rejected_percent": 50, "unknown_percent": 50})
    return job


def textfile(job: Job) -> Path:
    return job.folder / "chatsync.prom"


def exported(job: Job) -> Samples:
    """Read the metrics file as a collector does: value by name and the values of its own labels."""
    families = text_string_to_metric_families(textfile(job).read_text(encoding="utf-8"))
    samples = [sample for family in families for sample in family.samples]
    assert {sample.labels["feature"] for sample in samples} <= {FEATURE}
    return {
        (sample.name, tuple(value for label, value in sample.labels.items() if label != "feature")): sample.value
        for sample in samples
    }


# -- records and status --


def make_known(job: Job) -> Job:
    """Configure records: client 1 is off on shard 1 and stays, 2 is to be turned on, 3 is to be turned off."""
    job.settle_off({1: 1, 2: 2})
    job.settle({3: 3})
    job.configure(records=RECORDS, run=QUICK, limits=ANY_LIST)
    job.list([1, 3, 3], modified=time.time() - 3 * HOUR)
    return job


def action(planned: int, changed: list[int], *, already: int = 0, failed: int = 0) -> dict[str, Any]:
    """Return what a record says of one action on one shard."""
    return {"planned": planned, "changed": changed, "already": already, "failed": failed, "in_doubt": [], "refused": []}
