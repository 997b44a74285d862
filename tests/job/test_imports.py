"""What a command pays before it does anything: the modules that it loads."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from datetime import UTC, datetime
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


# As the script does, but with what was loaded and counted on standard error.
RUN = "import sys; from chatsync import cli; code = cli.run(sys.argv[1:]); print(code, *sys.modules, file=sys.stderr)"
MAIN = """
import atexit, gc, sys
from chatsync import cli
before = [made["collections"] for made in gc.get_stats()]
atexit.register(lambda: print(before, [made["collections"] for made in gc.get_stats()], sep="\\n", file=sys.stderr))
cli.main()
"""
WAITING = """
import sys, time
from chatsync import cli
from chatsync.databases.dict_database import DictDatabase
answer = DictDatabase.state

def late(database):
    end = time.monotonic() + 20
    while "yt.wrapper.client" not in sys.modules and time.monotonic() < end:
        time.sleep(0.01)
    print("imported" if time.monotonic() < end else "not imported", file=sys.stderr)
    return answer(database)

DictDatabase.state = late
cli.main()
"""


@pytest.fixture
def listed_in_yt(synced_job: Job, yt: YtProxy) -> Job:
    """The job, whose list is in a table and older than the mod-time."""
    yt.write("//home/sales/exclusions", ids=[1], modified=datetime(2026, 9, 1, tzinfo=UTC))
    synced_job.keep_list_in(yt)
    return synced_job


def errors_of(job: Job, program: str, *arguments: str) -> list[str]:
    """Run a program that ends with 0 and return the lines that it wrote to standard error."""
    command = [sys.executable, "-c", program, "-c", str(job.config), *arguments]
    environment = os.environ | job.environment
    return subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=job.folder, env=environment
    ).stderr.splitlines()


def test_no_garbage_is_looked_for_while_a_command_starts(listed_in_yt: Job) -> None:
    before, after = errors_of(listed_in_yt, MAIN, "sync")

    assert after == before


def test_the_client_is_imported_while_the_dict_database_is_waited_for(listed_in_yt: Job) -> None:
    assert errors_of(listed_in_yt, WAITING, "diff", "--if-modified") == ["imported"]


def test_the_client_starts_no_program_to_describe_the_machine(listed_in_yt: Job, yt: YtProxy, tmp_path: Path) -> None:
    called = tmp_path / "called"
    for name in ("lsb_release", "uname"):
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\necho {name} >> {called}\n")
        program.chmod(0o755)
    listed_in_yt.environment["PATH"] = f"{tmp_path / 'bin'}:{os.environ['PATH']}"

    errors_of(listed_in_yt, RUN, "diff", "--if-modified")

    assert not called.exists()
    (started,) = [seen.params for seen in yt.requests if seen.command == "start_transaction"]
    assert {key: started["attributes"][key] for key in ("title", "hostname")} == {
        "title": "chatsync",
        "hostname": socket.gethostname(),
    }


def test_without_an_export_nothing_of_it_is_loaded(synced_job: Job, yt: YtProxy) -> None:
    yt.write("//home/sales/exclusions", ids=[1])
    synced_job.keep_list_in(yt)

    loaded = errors_of(synced_job, RUN, "diff")[-1].split()

    assert (loaded[0], "chatsync.exclusions.table" in loaded) == ("0", True)
    assert [name for name in loaded if name.startswith("chatsync.export") or "ytsaurus.export" in name] == []
