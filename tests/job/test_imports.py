"""What a command pays before it does anything: the modules that it loads."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.harness.job import Job
    from tests.harness.yt_proxy import YtProxy

HEAVY = {"jinja2", "mysql", "numpy", "prometheus_client", "sqlalchemy", "yt"}
# What help can do without, beside these.
RULES = {"msgspec", "pyroaring", "tabulate"}


def loaded_by(job: Job, *arguments: str) -> set[str]:
    """Run a command to its good end in a process of its own and name the packages that it loaded."""
    command = [sys.executable, "-X", "importtime", "-m", "chatsync", "-c", str(job.config), *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=job.folder, env=os.environ | job.environment
    )
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}


@pytest.fixture
def synced_job(job: Job) -> Job:
    """A job with a plan that says: not modified."""
    job.list([1], modified=1_790_000_000)
    job.set_property("2026-10-01T00:00:00Z")
    assert job.diff("--if-modified").code == 0
    assert job.plan()["verdict"] == "not-modified"
    return job


def test_help_loads_nothing_heavy(tmp_path: Path, job: Job) -> None:
    job.config = tmp_path / "none.toml"

    assert not loaded_by(job, "--help") & (HEAVY | RULES)


@pytest.mark.parametrize("step", ["apply", "set-modtime"])
def test_a_step_with_nothing_to_do_loads_nothing_heavy(synced_job: Job, step: str) -> None:
    loaded = loaded_by(synced_job, step, "--plan", str(synced_job.plan_file))

    assert "msgspec" in loaded  # so that a test that sees nothing does not pass
    assert not loaded & HEAVY


def test_a_diff_with_nothing_to_do_needs_no_numbers(synced_job: Job, yt: YtProxy) -> None:
    yt.write("//home/sales/exclusions", ids=[1])
    synced_job.keep_list_in(yt)
    synced_job.set_property("2099-01-01T00:00:00Z")

    loaded = loaded_by(synced_job, "diff", "--if-modified")

    assert {"sqlalchemy", "yt"} <= loaded
    assert not loaded & {"mysql", "numpy", "prometheus_client"}


def test_without_an_export_nothing_of_it_is_loaded(synced_job: Job, yt: YtProxy) -> None:
    yt.write("//home/sales/exclusions", ids=[1])
    synced_job.keep_list_in(yt)
    run = (
        "import sys; from chatsync.cli import run; code = run(sys.argv[1:]); print(code, *sys.modules, file=sys.stderr)"
    )
    command = [sys.executable, "-c", run, "-c", str(synced_job.config), "diff"]

    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=synced_job.folder)

    loaded = done.stderr.splitlines()[-1].split()
    assert (loaded[0], "chatsync.exclusions.table" in loaded) == ("0", True), done.stderr
    assert [name for name in loaded if name.startswith("chatsync.export") or "ytsaurus.export" in name] == []
